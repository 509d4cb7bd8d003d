//! What is tried again, and what never is: a request that may have had an effect is sent once.

use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Connection, Origin, Reply};

use crate::{assert_problem, in_front_of};

/// An origin whose connections break at their second request, after it was read.
fn breaks_at_the_second() -> Origin {
    let seen = calls_by_connection();
    Origin::script(
        move |request| {
            if seen(request.connection) == 0 { Reply::ok("first") } else { Reply::Reset }
        },
    )
}

/// Counts calls per connection.
fn calls_by_connection() -> impl Fn(usize) -> usize + Send + Sync {
    let counts: [std::sync::atomic::AtomicUsize; 64] = std::array::from_fn(|_| 0.into());
    move |connection| counts[connection].fetch_add(1, std::sync::atomic::Ordering::SeqCst)
}

#[test]
fn a_get_on_a_stale_connection_is_sent_again() {
    let origin = breaks_at_the_second();
    let gateway = in_front_of(origin.address());
    for _request in 0..10 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
}

#[test]
fn a_post_on_a_stale_connection_is_not_sent_twice() {
    let origin = breaks_at_the_second();
    let gateway = in_front_of(origin.address());
    assert_eq!(get(gateway.address(), "/").status, 200);
    let response = Ask::new("POST", "/pay").body("amount=1").send(gateway.address());
    let sent = origin.received().iter().filter(|request| request.method == "POST").count();
    assert_eq!(sent, 1, "answered {}: a payment may have happened", response.status);
    assert_problem(&response, 502, "upstream_reset");
}

#[test]
fn a_fresh_connection_that_breaks_is_not_tried_again() {
    let origin = Origin::start(Reply::Close);
    let gateway = in_front_of(origin.address());
    let mut connection = Connection::open(gateway.address());
    let response = Ask::new("POST", "/pay").body("amount=1").send_on(&mut connection);
    assert_problem(&response, 502, "upstream_reset");
    assert_eq!(origin.received().len(), 1);
}

#[test]
fn an_origin_that_closes_without_saying_so_costs_no_request() {
    // The answer says keep-alive; the connection ends right after it.
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
    let origin = Origin::start(Reply::RawThenClose(answer));
    let gateway = in_front_of(origin.address());
    for number in 0..50 {
        assert_eq!(get(gateway.address(), "/").status, 200, "request {number}");
    }
}
