//! PEM files that the settings name: whether they are there, readable, and what they should be.
//! Whether a key fits its certificate is found out when TLS is set up.

use std::path::Path;

use tidegate_core::SettingsError;
use tidegate_core::units::ByteSize;

use crate::config::read_file;

/// Larger files are no certificates.
const MAX_PEM: ByteSize = ByteSize::mib(16);

/// What a PEM file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pem {
    Certificate,
    Key,
}

/// Notes what is wrong with a file.
pub(super) fn check(file: &Path, pem: Pem, path: &[&str], errors: &mut Vec<SettingsError>) {
    if let Err(message) = read(file, pem) {
        errors.push(SettingsError::new(path.iter().copied(), message));
    }
}

fn read(file: &Path, pem: Pem) -> Result<(), String> {
    let shown = file.display();
    let text = read_file(file, MAX_PEM)?;
    let has = |end: &str| {
        text.lines().any(|line| {
            line.strip_prefix("-----BEGIN ").is_some_and(|rest| rest.trim_end().ends_with(end))
        })
    };
    let (certificate, key) = (has("CERTIFICATE-----"), has("PRIVATE KEY-----"));
    match pem {
        Pem::Certificate if certificate => Ok(()),
        Pem::Key if has("ENCRYPTED PRIVATE KEY-----") => {
            Err(format!("the key in `{shown}` is encrypted; a service cannot ask for a password"))
        }
        Pem::Key if key => Ok(()),
        Pem::Certificate if key => Err(format!("`{shown}` holds a key, not a certificate")),
        Pem::Key if certificate => Err(format!("`{shown}` holds a certificate, not a key")),
        Pem::Certificate => Err(format!("`{shown}` holds no certificate in PEM form")),
        Pem::Key => Err(format!("`{shown}` holds no private key in PEM form")),
    }
}
