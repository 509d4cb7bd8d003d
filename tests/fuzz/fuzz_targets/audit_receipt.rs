//! Any bytes as a receipt. There is one form of each; and whatever its hashes are, one verifies
//! only for what the log really has, at its place.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate_audit::checkpoint::{Checkpoint, Signed};
use tidegate_audit::hash::Hash;
use tidegate_audit::note::SigningKey;
use tidegate_audit::receipt::{Consistency, Inclusion};
use tidegate_audit::tree::{root_of, verify_consistency, verify_inclusion};

const SIZE: u64 = 11;

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed("fuzz/audit", [1; 32]).expect("the name is one"));

fn entry(index: u64) -> Vec<u8> {
    format!("{{\"n\":{index}}}").into_bytes()
}

fn root(size: u64) -> Hash {
    root_of(&(0..size).map(|index| Hash::of_leaf(&entry(index))).collect::<Vec<_>>())
}

fn signed(size: u64) -> Signed {
    let checkpoint = Checkpoint { origin: "fuzz/audit".to_owned(), size, root: root(size) };
    checkpoint.sign(&KEY).expect("the key has the origin's name")
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = Inclusion::parse(bytes) {
        assert_eq!(receipt.to_string().as_bytes(), bytes);
        let extra = receipt.extra.clone().unwrap_or_default();
        if let Ok(signed) = receipt.verify(&extra, KEY.verifying_key()) {
            assert_eq!(signed.checkpoint().size, SIZE);
            assert_eq!(extra, entry(receipt.index));
        }
    }
    if let Ok(receipt) = Consistency::parse(bytes) {
        assert_eq!(receipt.to_string().as_bytes(), bytes);
        let earlier = signed(receipt.old.min(SIZE));
        let verified = receipt.verify(&earlier, KEY.verifying_key());
        assert!(verified.is_err() || receipt.old <= SIZE);
    }
    prove_anything(bytes);
});

/// The bytes as two numbers and a proof, against the real tree.
fn prove_anything(bytes: &[u8]) {
    let Some((&[index, old], rest)) = bytes.split_first_chunk() else { return };
    let (index, old) = (u64::from(index), u64::from(old));
    let (chunks, _) = rest.as_chunks::<{ Hash::LEN }>();
    let proof: Vec<_> = chunks.iter().map(|chunk| Hash::from_bytes(*chunk)).collect();
    let tree = (SIZE, root(SIZE));
    let forged = Hash::of_leaf(b"forged");
    assert!(verify_inclusion(forged, index, tree, &proof).is_err());
    let consistent = verify_consistency((old, forged), tree, &proof);
    assert!(consistent.is_err());
    let huge = (u64::MAX - index, forged);
    assert!(verify_inclusion(forged, u64::MAX - old, huge, &proof).is_err());
    assert!(verify_consistency((old + 1, forged), huge, &proof).is_err());
}
