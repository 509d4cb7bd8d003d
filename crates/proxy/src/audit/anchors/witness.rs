//! A C2SP witness (tlog-witness): it sees that our log only grows, and signs for it. What it signed
//! is kept beside the log's checkpoint.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::StatusCode;
use tidegate_audit::checkpoint::Checkpoint;
use tidegate_audit::cosignature;
use tidegate_audit::log::Published;
use tidegate_audit::note::{Note, Signature, VerifyingKey};
use tidegate_audit::proof::Prover;
use tidegate_audit::receipt::Consistency;
use tidegate_audit::tiles::Directory;
use tokio::task::spawn_blocking;

use super::send::{SendError, Sender};
use crate::audit::Auditor;
use crate::outbound::Answer;

/// What is known of a witness.
pub(super) struct Witness {
    key: VerifyingKey,
    /// The size of the last checkpoint that it signed, as far as we know.
    known: u64,
    /// Where the checkpoint with its cosignature is kept.
    file: PathBuf,
}

impl Witness {
    /// Begins where the last process ended. `None` if the key is none.
    pub(super) fn new(log: &Path, key: &str, auditor: &Auditor) -> Option<Self> {
        let key = VerifyingKey::parse(key).ok()?;
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let name: String = key.name().chars().map(plain).collect();
        let file = log.join("cosigned").join(name);
        let kept = fs::read(&file).ok().and_then(|bytes| Note::parse(&bytes).ok());
        let kept = kept.and_then(|note| Some((Checkpoint::parse(note.text()).ok()?.size, note)));
        let known = kept.as_ref().map_or(0, |(size, _)| *size);
        if let Some((size, note)) = kept {
            auditor.anchors.keep_witnessed(size, note);
        }
        Some(Self { key, known, file })
    }

    /// Sends a checkpoint, and keeps the cosignature. If the witness knows another size than we
    /// thought, it is asked once more from there.
    pub(super) async fn add(
        &mut self,
        sender: &Sender,
        url: &str,
        latest: &Published,
    ) -> Result<(), SendError> {
        let url = format!("{url}/add-checkpoint");
        let mut answer = self.ask(sender, &url, latest).await?;
        if answer.status == StatusCode::CONFLICT {
            let text = String::from_utf8_lossy(&answer.body);
            let Ok(known) = text.trim().parse() else {
                return Err(SendError::Status(answer.status.as_u16()));
            };
            self.known = known;
            answer = self.ask(sender, &url, latest).await?;
        }
        if answer.status != StatusCode::OK {
            return Err(SendError::Status(answer.status.as_u16()));
        }
        let note = self.cosigned(&answer.body, latest)?;
        self.known = latest.size;
        let (file, text) = (self.file.clone(), note.to_string());
        sender.auditor.anchors.keep_witnessed(latest.size, note);
        let kept = spawn_blocking(move || keep(&file, &text));
        Ok(kept.await.map_err(|_cancelled| SendError::Ended)??)
    }

    async fn ask(
        &self,
        sender: &Sender,
        url: &str,
        latest: &Published,
    ) -> Result<Answer, SendError> {
        let (old, size) = (self.known, latest.size);
        if old > size {
            return Err(SendError::Ahead { witness: old, ours: size });
        }
        let log = sender.auditor.log().map(|log| log.path().to_owned()).unwrap_or_default();
        let checkpoint = latest.note.to_string();
        let made = spawn_blocking(move || {
            if old == 0 || old == size {
                return Ok(Some(Vec::new()));
            }
            Prover::new(&Directory::new(log), size).consistency(old)
        });
        let proof = made.await.map_err(|_cancelled| SendError::Ended)?;
        let proof = proof.map_err(|error| SendError::Proof(error.to_string()))?;
        let proof = proof.ok_or_else(|| SendError::Proof(format!("from {old} to {size}")))?;
        let body = Consistency { old, proof, checkpoint }.to_string();
        sender.post(url, Bytes::from(body)).await
    }

    /// The checkpoint with the signatures of the answer that are the witness's own.
    fn cosigned(&self, answer: &[u8], latest: &Published) -> Result<Note, SendError> {
        let mut note =
            Note::parse(latest.note.as_bytes()).map_err(|_error| SendError::NotSigned)?;
        let answer = String::from_utf8_lossy(answer);
        let own = answer.lines().filter_map(Signature::parse).filter(|signature| {
            signature.key_id == self.key.id()
                && cosignature::verify(&self.key, note.text(), &signature.bytes).is_some()
        });
        let own: Vec<_> = own.collect();
        if own.is_empty() {
            return Err(SendError::NotSigned);
        }
        for signature in own {
            note.add(signature);
        }
        Ok(note)
    }
}

/// Replaces the file as a whole.
fn keep(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, text)?;
    fs::rename(&new, file)
}
