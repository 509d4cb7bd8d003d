//! Checkpoints elsewhere: a file, an HTTP receiver, a witness. A dead anchor holds nobody up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_audit::checkpoint::Checkpoint;
use tidegate_audit::cosignature;
use tidegate_audit::hash::Hash;
use tidegate_audit::note::{Note, SigningKey};
use tidegate_audit::tree::verify_consistency;
use tidegate_testkit::client::get;
use tidegate_testkit::origin::{Received, closed_port};
use tidegate_testkit::{Ask, Origin, Reply, wait};

use super::{events, key, with_log};

const EVENT: &str = "{ event: read, durable: before_response }";

#[test]
fn checkpoints_reach_a_file_and_a_receiver_that_was_away() {
    let origin = Origin::start(Reply::ok("ok"));
    let away = Arc::new(AtomicBool::new(true));
    let gone = Arc::clone(&away);
    let receiver = Origin::script(move |_request| match gone.load(Ordering::SeqCst) {
        true => Reply::status(500, "away"),
        false => Reply::status(204, ""),
    });
    let more = ", anchors: [{ file: <dir>/elsewhere, every: 100ms }, \
                { http: 'http://<receiver>/in', token: '${file:hash.key}', every: 100ms }, \
                { http: 'http://<dead>/', every: 100ms }]";
    let mut gateway = with_log(more, &events(EVENT))
        .set("origin", origin.address())
        .set("receiver", receiver.address())
        .set("dead", closed_port())
        .start();
    for _ in 0..10 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
    wait::until("the receiver was asked", || !receiver.received().is_empty());
    let http = format!("http http://{}/in", receiver.address());
    wait::until("its failure is counted", || {
        let failures = gateway.metric("tidegate_audit_anchor_failures_total", &[("anchor", &http)]);
        failures.is_some_and(|failures| failures >= 1.0)
    });
    away.store(false, Ordering::SeqCst);
    wait::until("it has a checkpoint", || {
        let sent = gateway.metric("tidegate_audit_anchor_sent_total", &[("anchor", &http)]);
        sent.is_some_and(|sent| sent >= 1.0)
    });
    let last = receiver.received().pop().expect("a checkpoint");
    assert_eq!(last.header("authorization"), Some("Bearer 0123456789abcdef0123456789abcdef"));
    let note = Note::parse(&last.body).expect("a note");
    assert_eq!(note.verify(key().verifying_key()), Ok(()));
    gateway.terminate();
    assert!(gateway.wait_exit(Duration::from_secs(20)).success());
    let file = std::fs::read_to_string(gateway.folder().join("elsewhere")).expect("reads");
    let last = std::fs::read_to_string(gateway.folder().join("audit/checkpoint")).expect("reads");
    assert!(file.ends_with(&format!("{last}\n")), "the last checkpoint is anchored at exit");
    assert!(file.matches("edge-1.example/audit\n").count() >= 2, "{file}");
}

/// A witness as tlog-witness describes it, for one log.
#[derive(Default)]
struct Seen(Option<(u64, Hash)>);

impl Seen {
    fn add(&mut self, witness: &SigningKey, request: &Received) -> Reply {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let Some((head, note)) = body.split_once("\n\n") else { return Reply::status(400, "") };
        let mut lines = head.lines();
        let old = lines.next().and_then(|line| line.strip_prefix("old ")?.parse::<u64>().ok());
        let proof: Option<Vec<Hash>> = lines.map(Hash::from_base64).collect();
        let (Some(old), Some(proof)) = (old, proof) else { return Reply::status(400, "") };
        let note = Note::parse(note.as_bytes()).expect("a note");
        if note.verify(key().verifying_key()).is_err() {
            return Reply::status(403, "");
        }
        let now = Checkpoint::parse(note.text()).expect("a checkpoint");
        if let Some((size, root)) = self.0 {
            if old != size {
                let conflict = Reply::status(409, format!("{size}\n"));
                return conflict.with("content-type", "text/x.tlog.size");
            }
            if verify_consistency((old, root), (now.size, now.root), &proof).is_err() {
                return Reply::status(422, "");
            }
        }
        self.0 = Some((now.size, now.root));
        Reply::ok(format!("{}\n", cosignature::sign(witness, note.text(), 1_763_900_000)))
    }
}

#[test]
fn a_witness_sees_the_log_grow_and_its_cosignatures_are_kept() {
    let origin = Origin::start(Reply::ok("ok"));
    let witness = SigningKey::for_cosignatures("witness.example/w", [9; 32]).expect("a key");
    let (seen, signer) = (Arc::new(Mutex::new(Seen::default())), witness.clone());
    let known = Arc::clone(&seen);
    let server = Origin::script(move |request| match request.target.as_str() {
        "/w/add-checkpoint" => known.lock().add(&signer, request),
        _ => Reply::status(404, ""),
    });
    let more = ", anchors: [{ witness: 'http://<witness>/w', key: '<vkey>', every: 50ms }]";
    let gateway = with_log(more, &events(EVENT))
        .set("origin", origin.address())
        .set("witness", server.address())
        .set("vkey", witness.verifying_key())
        .start();
    let cosigned = || {
        let page = get(gateway.admin(), "/audit/witnessed");
        let note =
            (page.status == 200).then(|| Note::parse(page.text().as_bytes()).expect("a note"));
        note.map(|note| {
            assert_eq!(note.verify(key().verifying_key()), Ok(()));
            assert_eq!(note.verify(witness.verifying_key()), Ok(()));
            Checkpoint::parse(note.text()).expect("a checkpoint").size
        })
    };
    wait::until("the witness has signed", || cosigned().is_some());
    for _ in 0..30 {
        assert_eq!(Ask::new("GET", "/").send(gateway.address()).status, 200);
    }
    wait::until("it has signed for what came since", || cosigned().is_some_and(|size| size > 60));
    let kept = std::fs::read(gateway.folder().join("audit/cosigned/witness.example_w"));
    assert!(Note::parse(&kept.expect("kept")).is_ok());

    // Who forgot what the witness knows is told so by 409, and proves from there.
    std::fs::remove_dir_all(gateway.folder().join("audit/cosigned")).expect("removes");
    let before = server.received().len();
    let more = more.replace("50ms", "60ms");
    gateway.write_config(&format!("{}{more} }}\n{}", super::LOG, events(EVENT)));
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(get(gateway.address(), "/").status, 200);
    wait::until("it signs again", || cosigned().is_some_and(|size| size > 62));
    let asked: Vec<_> = server.received().split_off(before);
    assert!(asked.iter().any(|request| request.body.starts_with(b"old 0\n")), "{asked:?}");
    let size = seen.lock().0.map(|(size, _root)| size);
    assert!(size.is_some_and(|size| size > 62), "{size:?}");
    super::assert_verifies(gateway.folder());
}
