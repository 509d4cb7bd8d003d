//! Receipts of a small log, and what must not pass for one.

use super::*;
use crate::checkpoint::Checkpoint;
use crate::memory::Memory;
use crate::note::SigningKey;
use crate::proof::Prover;

fn key() -> SigningKey {
    SigningKey::from_seed("edge/audit", [5; 32]).unwrap()
}

fn entry(n: u64) -> Vec<u8> {
    format!("{{\"n\":{n}}}").into_bytes()
}

fn checkpoint(log: &Memory, size: u64) -> Signed {
    let root = Prover::new(log, size).root().unwrap();
    Checkpoint { origin: "edge/audit".to_owned(), size, root }.sign(&key()).unwrap()
}

fn inclusion(index: u64) -> Inclusion {
    let log = Memory::of((0..300).map(entry));
    let proof = Prover::new(&log, 300).inclusion(index).unwrap().unwrap();
    let checkpoint = checkpoint(&log, 300).to_string();
    Inclusion { extra: Some(entry(index)), index, proof, checkpoint }
}

#[test]
fn a_receipt_comes_back_from_its_file_and_proves_its_entry() {
    let receipt = inclusion(77);
    let text = receipt.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra eyJuIjo3N30=\nindex 77\n"), "{text}");
    let again = Inclusion::parse(text.as_bytes()).unwrap();
    assert_eq!(again, receipt);
    let signed = again.verify(&entry(77), key().verifying_key()).unwrap();
    assert_eq!(signed.checkpoint().size, 300);
    let other = again.verify(&entry(78), key().verifying_key());
    assert_eq!(other, Err(ReceiptError::Proof(ProofError::Root)));
    let moved = Inclusion { index: 78, ..again };
    assert!(moved.verify(&entry(77), key().verifying_key()).is_err());
}

#[test]
fn a_single_entry_s_receipt_has_no_hashes() {
    let log = Memory::of([entry(0)]);
    let checkpoint = checkpoint(&log, 1).to_string();
    let receipt = Inclusion { extra: None, index: 0, proof: Vec::new(), checkpoint };
    let again = Inclusion::parse(receipt.to_string().as_bytes()).unwrap();
    assert_eq!(again, receipt);
    again.verify(&entry(0), key().verifying_key()).unwrap();
}

#[track_caller]
fn check_refused(change: impl FnOnce(&str) -> String) {
    let text = change(&inclusion(77).to_string());
    let passed = Inclusion::parse(text.as_bytes())
        .is_ok_and(|receipt| receipt.verify(&entry(77), key().verifying_key()).is_ok());
    assert!(!passed, "{text}");
}

#[test]
fn what_is_no_receipt_is_refused() {
    check_refused(|text| text.replace("@v1", "@v2"));
    check_refused(|text| text.replace("index 77", "index 077"));
    check_refused(|text| text.replace("index 77\n", ""));
    check_refused(|text| text.replace("extra eyJ", "extra *yJ"));
    check_refused(|text| text.replace("extra eyJ", "extra eyJuIjo3N30=\nextra eyJ"));
    check_refused(|text| text.replacen("\n\n", "\n", 1));
    check_refused(|text| text.replacen("\n\n", "\n\n\n", 1));
    check_refused(|text| text.replacen("\n\n", "\nAAAA\n\n", 1));
    let hash = Hash::of_leaf(b"x");
    check_refused(|text| text.replacen("\n\n", &format!("\n{hash}\n\n"), 1));
    check_refused(|text| text.replacen("\n\n", &format!("\n{hash}").repeat(64), 1));
    check_refused(|text| text.replacen("\n\n", &format!("{}\n\n", "\n".repeat(MAX_RECEIPT)), 1));
    check_refused(|text| text.replace("300\n", "301\n"));
    check_refused(|text| text.replace('\n', "\r\n"));
}

#[test]
fn a_consistency_receipt_proves_that_nothing_but_appending_happened() {
    let log = Memory::of((0..300).map(entry));
    let proof = Prover::new(&log, 300).consistency(100).unwrap().unwrap();
    let checkpoint_now = checkpoint(&log, 300).to_string();
    let receipt = Consistency { old: 100, proof, checkpoint: checkpoint_now };
    let again = Consistency::parse(receipt.to_string().as_bytes()).unwrap();
    assert_eq!(again, receipt);
    let earlier = checkpoint(&log, 100);
    again.verify(&earlier, key().verifying_key()).unwrap();

    let wrong_size = again.verify(&checkpoint(&log, 99), key().verifying_key());
    assert_eq!(wrong_size, Err(ReceiptError::Size { receipt: 100, given: 99 }));
    let forked = Memory::of((0..300).map(|n| entry(n % 99)));
    let refused = again.verify(&checkpoint(&forked, 100), key().verifying_key());
    assert_eq!(refused, Err(ReceiptError::Proof(ProofError::Root)));
}
