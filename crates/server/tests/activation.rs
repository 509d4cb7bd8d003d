//! Socket activation: whoever starts Tidegate holds the listening socket, as systemd does, and
//! passes it on (`sd_listen_fds(3)`).

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use tidegate_testkit::client::get;
use tidegate_testkit::needs;

#[test]
fn a_socket_that_was_passed_on_is_served() {
    needs!("bash");
    // Blocking, like those of systemd.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tidegate.yaml");
    let text = format!(
        "admin: {{ address: 127.0.0.1:0 }}\nlisteners: [{{ address: {address} }}]\n\
         routes: [{{ path: /, redirect: {{ path: /elsewhere }} }}]\n"
    );
    fs::write(&config, text).expect("writes");

    // Of the shell's descriptors 3 is the first that is passed on; `exec` keeps its process id.
    let mut child = Command::new("bash")
        .args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" run -c \"$1\" 3<&0"])
        .arg(env!("CARGO_BIN_EXE_tidegate"))
        .arg(&config)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .spawn()
        .expect("it starts");
    // The kernel accepts before Tidegate does, so that this waits as long as it must.
    let response = get(address, "/");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(response.status, 308);
}
