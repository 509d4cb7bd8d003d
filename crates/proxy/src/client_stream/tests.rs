//! A client's stream over a real loopback connection.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_guard::{ConnectionCounts, ConnectionLimits};
use tidegate_observe::{BuildInfo, Metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::timing::Pace;
use super::*;

async fn pair() -> (TcpStream, ClientStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, peer) = listener.accept().await.unwrap();
    (client, stream(accepted, peer))
}

fn stream(accepted: TcpStream, peer: SocketAddr) -> ClientStream {
    let counts = ConnectionCounts::new(ConnectionLimits { total: 8, per_client: 8 });
    let slot = counts.open(peer.ip()).unwrap();
    let metrics = Metrics::new(BuildInfo { version: "test", revision: "test" });
    let connection = Connection::new("127.0.0.1:0".into(), peer, None, (slot, metrics));
    let limits = LimitsSettings::default();
    ClientStream::new(Transport::Plain(accepted), Arc::new(connection), limits)
}

/// What Pingora could read of the present message, and no more.
async fn read_message(stream: &mut ClientStream, length: usize) -> Vec<u8> {
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.unwrap();
    message
}

/// Whether a read finds nothing to give out; it must not take from the next message.
async fn is_idle(stream: &mut ClientStream) -> bool {
    let mut byte = [0];
    let read = std::future::poll_fn(|cx| {
        let mut buf = ReadBuf::new(&mut byte);
        let pending = Pin::new(&mut *stream).poll_read(cx, &mut buf).is_pending();
        Poll::Ready(pending)
    });
    read.await
}

#[tokio::test]
async fn a_message_ends_where_its_framing_says() {
    let messages: [&[u8]; 4] = [
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET /d HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    let (mut client, mut stream) = pair().await;
    client.write_all(&messages.concat()).await.unwrap();
    let rules = ReadingRules::default();
    for message in messages {
        stream.readable().await.unwrap();
        stream.read_head(&rules).await.unwrap();
        assert_eq!(read_message(&mut stream, message.len()).await, message);
        assert!(is_idle(&mut stream).await, "nothing of the next message is given out");
    }
}

#[tokio::test]
async fn a_head_may_come_in_pieces() {
    let (mut client, mut stream) = pair().await;
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let sender = tokio::spawn(async move {
        for byte in head {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client
    });
    stream.read_head(&ReadingRules::default()).await.unwrap();
    assert_eq!(read_message(&mut stream, head.len()).await, head);
    drop(sender.await.unwrap());
}

#[tokio::test]
async fn a_head_has_its_limit() {
    let (mut client, mut stream) = pair().await;
    let rules = ReadingRules { header_bytes: 64, ..ReadingRules::default() };
    client.write_all(&[b'a'; 65]).await.unwrap();
    assert!(matches!(stream.read_head(&rules).await, Err(HeadError::TooLarge)));
}

#[tokio::test]
async fn a_broken_head_never_reaches_the_parser() {
    let (mut client, mut stream) = pair().await;
    client.write_all(b"GET / HTTP/1.1\nHost: a\n\n").await.unwrap();
    let read = stream.read_head(&ReadingRules::default()).await;
    assert!(matches!(read, Err(HeadError::Refused(_))), "{read:?}");
}

#[tokio::test]
async fn a_malformed_chunk_breaks_the_message_off() {
    let (mut client, mut stream) = pair().await;
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write_all(head).await.unwrap();
    client.write_all(b"3;a\nb\r\nabc\r\n0\r\n\r\n").await.unwrap();
    stream.read_head(&ReadingRules::default()).await.unwrap();
    assert_eq!(read_message(&mut stream, head.len()).await, head);
    let error = stream.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(stream.connection().broken(), Some(Broken::Malformed));
}

#[tokio::test]
async fn small_writes_leave_together() {
    let (mut client, mut stream) = pair().await;
    AsyncWriteExt::write_all(&mut stream, b"head ").await.unwrap();
    AsyncWriteExt::write_all(&mut stream, b"body").await.unwrap();
    assert_eq!(stream.unsent.len(), 9, "nothing leaves before the flush");
    AsyncWriteExt::flush(&mut stream).await.unwrap();
    assert_eq!(stream.unsent.capacity(), 0, "an idle connection owns no buffer");
    let mut received = [0; 9];
    client.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"head body");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_for_the_client() {
    let (client, mut stream) = pair().await;
    let deadline = Instant::now() + Duration::from_secs(5);
    stream.connection().set_deadline(Some(deadline));
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(stream.connection().broken(), Some(Broken::Overdue));
    drop(client);
}

#[test]
fn a_rate_counts_after_its_grace() {
    let mut pace = Pace::default();
    pace.bytes = 100;
    assert!(!pace.is_too_slow(Duration::from_secs(9), 512), "within the grace");
    assert!(pace.is_too_slow(Duration::from_secs(2), 512), "100 bytes in 11 seconds");
    pace.bytes = 512 * 12;
    assert!(!pace.is_too_slow(Duration::from_secs(1), 512), "512 bytes a second");
}
