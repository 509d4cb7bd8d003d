//! The audit log's settings, as far as they can be checked without opening the log.

use tidegate_audit::note::SigningKey;
use tidegate_audit::settings::{AuditSettings, check};
use tidegate_core::SettingsError;
use tidegate_core::units::ByteSize;

use crate::config::read_file;

/// Larger files are no keys.
const MAX_KEY: ByteSize = ByteSize::kib(4);

/// Notes what is wrong with the log's settings and the files that they name.
pub(super) fn check_log(settings: &AuditSettings, errors: &mut Vec<SettingsError>) {
    let mut own = Vec::new();
    check(settings, &mut own);
    if let Err(error) = check_key(settings) {
        own.push(error);
    }
    let folders =
        [(Some(&settings.path), "path"), (settings.redaction.subjects.as_ref(), "subjects")];
    for (folder, field) in folders {
        if let Some(folder) = folder.filter(|folder| folder.exists() && !folder.is_dir()) {
            let path = if field == "path" { vec![field] } else { vec!["redaction", field] };
            let message = format!("`{}` is no folder", folder.display());
            own.push(SettingsError::new(path, message));
        }
    }
    errors.extend(own.into_iter().map(|error| error.under(["audit"])));
}

fn check_key(settings: &AuditSettings) -> Result<(), SettingsError> {
    let wrong = |message: String| {
        SettingsError::new(["key"], message)
            .with_hint(format!("tidegate audit keygen {} --output <file>", settings.origin))
    };
    let text = read_file(&settings.key, MAX_KEY).map_err(wrong)?;
    let key = SigningKey::parse(text.trim())
        .map_err(|error| wrong(format!("`{}` holds no key: {error}", settings.key.display())))?;
    if key.name() == settings.origin {
        return Ok(());
    }
    Err(wrong(format!("the key belongs to `{}`, not to `{}`", key.name(), settings.origin)))
}
