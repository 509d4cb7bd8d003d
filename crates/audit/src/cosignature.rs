//! What a witness adds to a checkpoint: a signature over the time and the text (C2SP
//! tlog-cosignature, Ed25519). It says that at this time the witness knew no larger tree of the
//! log, and that this one only appends to those it had seen.

use crate::note::{Algorithm, Signature, SigningKey, VerifyingKey};

const TIME_LEN: usize = 8;

/// The time at which `key`'s holder saw the text, in seconds since 1970: `None` unless the
/// signature is a true cosignature of it.
#[must_use]
pub fn verify(key: &VerifyingKey, text: &str, signature: &[u8]) -> Option<u64> {
    let (time, signature) = signature.split_first_chunk::<TIME_LEN>()?;
    let time = u64::from_be_bytes(*time);
    let sound = key.algorithm() == Algorithm::Cosignature
        && i64::try_from(time).is_ok()
        && key.verifies(message(time, text).as_bytes(), signature);
    sound.then_some(time)
}

/// Signs `text` as a witness at `time`, in seconds since 1970.
#[must_use]
pub fn sign(key: &SigningKey, text: &str, time: u64) -> Signature {
    let mut bytes = time.to_be_bytes().to_vec();
    bytes.extend(key.sign(message(time, text).as_bytes()));
    Signature { name: key.name().to_owned(), key_id: key.verifying_key().id(), bytes }
}

fn message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Note, NoteError};

    const TEXT: &str = "edge/audit\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn a_cosignature_holds_for_its_text_time_and_key() {
        let witness = SigningKey::for_cosignatures("witness.example", [9; 32]).unwrap();
        let key = witness.verifying_key();
        let signature = sign(&witness, TEXT, 1_679_315_147);
        assert_eq!(verify(key, TEXT, &signature.bytes), Some(1_679_315_147));
        assert_eq!(verify(key, &TEXT.replace('3', "4"), &signature.bytes), None);
        let mut later = signature.bytes.clone();
        later[7] ^= 1;
        assert_eq!(verify(key, TEXT, &later), None);
        assert_eq!(verify(key, TEXT, &signature.bytes[..8]), None);
        let as_log = SigningKey::from_seed("witness.example", [9; 32]).unwrap();
        assert_eq!(verify(as_log.verifying_key(), TEXT, &signature.bytes), None);
        assert_eq!(verify(key, TEXT, &sign(&witness, TEXT, u64::MAX).bytes), None);
    }

    #[test]
    fn it_stands_beside_the_log_s_own_signature() {
        let log = SigningKey::from_seed("edge/audit", [1; 32]).unwrap();
        let witness = SigningKey::for_cosignatures("witness.example", [9; 32]).unwrap();
        let mut note = Note::new(TEXT.to_owned()).unwrap();
        note.sign(&log);
        assert_eq!(note.verify(witness.verifying_key()), Err(NoteError::NotSigned));
        note.add(sign(&witness, TEXT, 5));
        let note = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(note.verify(witness.verifying_key()), Ok(()));
        assert_eq!(note.verify(log.verifying_key()), Ok(()));
    }
}
