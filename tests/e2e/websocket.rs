//! WebSockets pass, live through a reload, and are not kept open for ever without their client.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tidegate_testkit::programs::output;
use tidegate_testkit::{Connection, Origin, Reply, needs, wait};
use tungstenite::{Message, WebSocket};

use crate::{ALL_TO_API, in_front_of};

fn connect(address: SocketAddr) -> WebSocket<Connection> {
    let stream = Connection::open(address);
    let (socket, response) =
        tungstenite::client(format!("ws://{address}/chat"), stream).expect("the upgrade succeeds");
    assert_eq!(response.status(), 101);
    socket
}

#[track_caller]
fn assert_echoes(socket: &mut WebSocket<Connection>, text: &str) {
    socket.send(Message::text(text)).expect("sends");
    assert_eq!(socket.read().expect("reads"), Message::text(text));
}

#[test]
fn messages_of_all_sizes_come_back() {
    let origin = Origin::start(Reply::WebSocketEcho);
    let gateway = in_front_of(origin.address());
    let mut socket = connect(gateway.address());
    for size in [0, 1, 125, 126, 70_000, 1 << 20] {
        assert_echoes(&mut socket, &"x".repeat(size));
    }
    socket.send(Message::binary(vec![0, 255, 13, 10])).expect("sends");
    assert_eq!(socket.read().expect("reads"), Message::binary(vec![0, 255, 13, 10]));
    socket.close(None).expect("closes");
    while socket.read().is_ok() {}
    gateway.logged(|line| line["path"] == "/chat" && line["status"] == 101);
}

#[test]
fn an_answer_that_overtakes_the_end_of_the_request_does_not_end_the_socket() {
    // A fast origin's 101 races the proxy's own bookkeeping of the request that asked for it.
    let origin = Origin::start(Reply::WebSocketEcho);
    let gateway = in_front_of(origin.address());
    let address = gateway.address();
    let open_many = move || {
        for _socket in 0..100 {
            let mut socket = connect(address);
            assert_echoes(&mut socket, "first");
        }
    };
    let clients: Vec<_> = (0..4).map(|_| std::thread::spawn(open_many)).collect();
    let failed = clients.into_iter().filter_map(|client| client.join().err()).count();
    let reasons: Vec<_> =
        gateway.access_log().into_iter().filter(|l| !l["reason"].is_null()).collect();
    assert_eq!(failed, 0, "{reasons:#?}");
}

#[test]
fn an_open_socket_survives_a_reload() {
    let origin = Origin::start(Reply::WebSocketEcho);
    let gateway = in_front_of(origin.address());
    let mut socket = connect(gateway.address());
    assert_echoes(&mut socket, "before");
    gateway.write_config(&format!(
        "defaults: {{ response_headers: {{ set: {{ x-a: b }} }} }}\n{ALL_TO_API}"
    ));
    assert!(gateway.reload().status < 300);
    assert_echoes(&mut socket, "after");
}

#[test]
fn an_origin_that_goes_ends_the_clients_socket() {
    let origin = Origin::start(Reply::WebSocketEcho);
    let gateway = in_front_of(origin.address());
    let mut socket = connect(gateway.address());
    assert_echoes(&mut socket, "hello");
    drop(origin);
    let (took, ended) = wait::timed(|| socket.read().is_err());
    assert!(ended && took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer() {
    let origin = Origin::start(Reply::status(403, "no"));
    let gateway = in_front_of(origin.address());
    let stream = Connection::open(gateway.address());
    let refused = tungstenite::client(format!("ws://{}/chat", gateway.address()), stream);
    assert!(refused.is_err());
    gateway.logged(|line| line["path"] == "/chat" && line["status"] == 403);
}

const PYTHON: &str = "
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1]) as socket:
        for number in range(100):
            await socket.send(str(number))
            assert await socket.recv() == str(number)
        await (await socket.ping())
    print('done')
asyncio.run(main())
";

#[test]
fn a_client_of_another_language_agrees() {
    needs!("python3");
    let mut command = Command::new("/usr/bin/python3");
    if !output(command.args(["-c", "import websockets"])).status.success() {
        assert!(std::env::var_os("CI").is_none(), "python3-websockets is not installed");
        eprintln!("skipped: python3-websockets is not installed");
        return;
    }
    let origin = Origin::start(Reply::WebSocketEcho);
    let gateway = in_front_of(origin.address());
    let url = format!("ws://{}/chat", gateway.address());
    let said = output(Command::new("/usr/bin/python3").args(["-c", PYTHON, &url]));
    assert_eq!(said.stdout.trim(), "done", "{}", said.stderr);
}
