//! Any bytes as a signed note, a checkpoint, a key. There is one form of each: what is read is
//! written as the same bytes. And nobody but the key's holder signs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_audit::checkpoint::{Checkpoint, Signed};
use tidegate_audit::note::{Note, SigningKey, VerifyingKey};

const TEXT: &str = "fuzz/audit\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

fuzz_target!(|bytes: &[u8]| {
    let key = SigningKey::from_seed("fuzz/audit", [1; 32]).expect("the name is one");
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        if note.verify(key.verifying_key()).is_ok() {
            assert_eq!(note.text(), TEXT, "the seeds have one note by this key");
        }
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert!(note.text().starts_with(&checkpoint.to_string()));
        }
    }
    if let Ok(signed) = Signed::open(bytes, key.verifying_key()) {
        assert_eq!(signed.checkpoint().to_string(), TEXT);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = VerifyingKey::parse(text) {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(key) = SigningKey::parse(text) {
        assert_eq!(key.to_secret_text(), text.trim());
    }
});
