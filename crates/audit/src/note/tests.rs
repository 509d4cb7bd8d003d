//! Notes and keys against the examples of C2SP signed-note, and in the forms it refuses.

use super::*;

const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(name, [7; 32]).unwrap()
}

#[test]
fn the_example_of_the_specification_verifies() {
    let key = VerifyingKey::parse(KEY).unwrap();
    assert_eq!(key.to_string(), KEY);
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.verify(&key), Ok(()));
    assert_eq!(note.to_string(), NOTE);

    let changed = NOTE.replace("an example", "no example");
    let note = Note::parse(changed.as_bytes()).unwrap();
    assert_eq!(note.verify(&key), Err(NoteError::BadSignature));
}

#[test]
fn what_is_signed_verifies_with_its_key_only() {
    let (log, other) = (key("log.example"), key("other.example"));
    let mut note = Note::new("a\n\nb\n".to_owned()).unwrap();
    note.sign(&log);
    let note = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(note.text(), "a\n\nb\n");
    assert_eq!(note.verify(log.verifying_key()), Ok(()));
    assert_eq!(note.verify(other.verifying_key()), Err(NoteError::NotSigned));
}

#[test]
fn a_false_signature_beside_a_true_one_is_refused() {
    let log = key("log.example");
    let mut note = Note::new("a\n".to_owned()).unwrap();
    note.sign(&log);
    let mut second = note.signatures()[0].clone();
    second.bytes[0] ^= 1;
    note.add(second);
    assert_eq!(note.verify(log.verifying_key()), Err(NoteError::BadSignature));
}

#[test]
fn notes_that_were_appended_are_told_apart() {
    let log = key("log.example");
    let notes = ["a\n1\n", "a\n2\n"].map(|text| {
        let mut note = Note::new(text.to_owned()).unwrap();
        note.sign(&log);
        note.to_string().into_bytes()
    });
    assert_eq!(appended(&notes[0]), notes[..1]);
    let file = [notes[0].as_slice(), b"\n", &notes[1], b"\n"].concat();
    assert_eq!(appended(&file), notes);
    assert!(appended(b"").iter().all(|note| Note::parse(note).is_err()));
}

#[track_caller]
fn check_refused(note: &str, why: NoteError) {
    assert_eq!(Note::parse(note.as_bytes()), Err(why), "{note:?}");
}

#[test]
fn what_is_no_note_is_refused() {
    check_refused("", NoteError::Shape);
    check_refused("text\n", NoteError::Shape);
    check_refused("text\n\n", NoteError::Shape);
    check_refused("\n\n", NoteError::Shape);
    check_refused("text\r\n\n\u{2014} a AAAAAAA=\n", NoteError::NotText);
    check_refused("text\n\n\u{2014} a AAAAAAA=", NoteError::Shape);
    check_refused("text\n\n- a AAAAAAA=\n", NoteError::SignatureLine(1));
    check_refused("text\n\n\u{2014} a AAAAAAA=\n\u{2014} a AAAA\n", NoteError::SignatureLine(2));
    check_refused("text\n\n\u{2014} a AAAAAA=\n", NoteError::SignatureLine(1));
    check_refused("text\n\n\u{2014} a+b AAAAAAA=\n", NoteError::SignatureLine(1));
    check_refused("text\n\n\u{2014}  AAAAAAA=\n", NoteError::SignatureLine(1));
    let many = "\u{2014} a AAAAAAA=\n".repeat(MAX_SIGNATURES + 1);
    check_refused(&format!("text\n\n{many}"), NoteError::TooLarge);
    check_refused(&"x".repeat(MAX_NOTE + 1), NoteError::TooLarge);
    assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::NotText));
}

#[test]
fn keys_come_back_from_their_text() {
    let log = key("log.example/audit");
    let again = SigningKey::parse(&format!("{}\n", log.to_secret_text())).unwrap();
    assert_eq!(again.verifying_key(), log.verifying_key());
    let public = log.verifying_key().to_string();
    assert_eq!(VerifyingKey::parse(&public).as_ref(), Ok(log.verifying_key()));
    let secret = log.to_secret_text();
    let (_, seed) = secret.rsplit_once('+').unwrap();
    assert!(!format!("{log:?}").contains(seed));
}

#[track_caller]
fn check_no_key(text: &str, why: KeyError) {
    assert_eq!(VerifyingKey::parse(text), Err(why), "{text}");
}

#[test]
fn what_is_no_key_is_refused() {
    check_no_key("", KeyError::Shape);
    check_no_key("example.com/foo+530d903a", KeyError::Shape);
    check_no_key(&KEY.replace("530d903a", "530d903b"), KeyError::Id);
    check_no_key(&KEY.replace("530d903a", "530D903A"), KeyError::Id);
    check_no_key(&KEY.replace("AekyeR", "AekyeS"), KeyError::Id);
    check_no_key(&KEY.replace("Aeky", "Beky"), KeyError::Algorithm);
    check_no_key(&KEY.replace("foo", "f o"), KeyError::Name);
    check_no_key(KEY.strip_suffix("3U2k").unwrap(), KeyError::Shape);
    check_no_key(&key("a").to_secret_text(), KeyError::Private);
    assert_eq!(SigningKey::parse(KEY).unwrap_err(), KeyError::NotPrivate);
    assert_eq!(SigningKey::from_seed("", [7; 32]).unwrap_err(), KeyError::Name);
}
