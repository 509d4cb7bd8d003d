//! What may be typed after `tidegate audit`.

use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use tidegate_audit::note::VerifyingKey;

use crate::cli::{AdminArgs, DEFAULT_CONFIG, Format};

/// `tidegate audit`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Compute the whole log again and compare it with everything that was signed
    Verify(VerifyArgs),
    /// Write a receipt: that a record is in the log, or that the log only ever appended
    Prove(ProveArgs),
    /// Check a receipt; needs nothing but the log's public key
    CheckReceipt(CheckReceiptArgs),
    /// Print the records that have all of what is asked for, as lines of JSON
    Search(SearchArgs),
    /// Print the last records, and those that come
    Tail(TailArgs),
    /// Print records with their indexes, as lines of JSON
    Export(ExportArgs),
    /// Make the key that signs a log's checkpoints, and print the public one
    Keygen(KeygenArgs),
    /// Destroy a subject's key: what was encrypted with it can never be read again
    Erase(EraseArgs),
}

/// Which log is meant.
#[derive(Args, Clone, Debug)]
pub(crate) struct WhichLog {
    /// The configuration whose `audit` section names the log and its key
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,

    /// The log's directory, or a copy of it; nothing is read from the configuration then
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) log: Option<PathBuf>,

    /// The log's public key, as `keygen` printed it; with --log
    #[arg(long, value_name = "KEY", value_parser = VerifyingKey::parse, requires = "log")]
    pub(crate) key: Option<VerifyingKey>,
}

/// `tidegate audit verify`
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) which: WhichLog,

    /// The head file, if it is not the configuration's
    #[arg(long, value_name = "FILE")]
    pub(crate) head: Option<PathBuf>,

    /// An earlier checkpoint that the log has to begin with, or a file with many, as an anchor
    /// writes it; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Vec<PathBuf>,

    /// Only these records, and the hashes above them
    #[arg(long, value_name = "FROM..TO", value_parser = range)]
    pub(crate) range: Option<Range<u64>>,

    /// The record from which on everything has to be there; by default, what the log itself says
    #[arg(long, value_name = "INDEX")]
    pub(crate) kept_from: Option<u64>,

    /// A witness that has to have signed one of the log's checkpoints; may be repeated
    #[arg(long, value_name = "KEY", value_parser = VerifyingKey::parse)]
    pub(crate) witness: Vec<VerifyingKey>,

    /// A public key that the log had before; may be repeated
    #[arg(long, value_name = "KEY", value_parser = VerifyingKey::parse)]
    pub(crate) former_key: Vec<VerifyingKey>,

    /// Where to put the checkpoint if all is well, for the next --since
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,

    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// `tidegate audit prove`
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["index", "since"])))]
pub(crate) struct ProveArgs {
    /// The record that is in the log
    pub(crate) index: Option<u64>,

    /// An earlier checkpoint that the log begins with
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Option<PathBuf>,

    /// Use the last checkpoint that this witness signed, so that its signature is in the receipt
    #[arg(long, value_name = "KEY", value_parser = VerifyingKey::parse)]
    pub(crate) witness: Option<VerifyingKey>,

    /// Where to put the receipt; by default it is printed
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) which: WhichLog,
}

/// `tidegate audit check-receipt`
#[derive(Args, Debug)]
pub(crate) struct CheckReceiptArgs {
    /// The receipt
    pub(crate) receipt: PathBuf,

    /// The log's public key
    #[arg(long, value_name = "KEY", value_parser = VerifyingKey::parse)]
    pub(crate) key: VerifyingKey,

    /// The record, if it is not in the receipt or must be this one
    #[arg(long, value_name = "FILE", conflicts_with = "since")]
    pub(crate) record: Option<PathBuf>,

    /// The earlier checkpoint, for a receipt that the log only appended
    #[arg(long, value_name = "FILE")]
    pub(crate) since: Option<PathBuf>,

    /// A witness that has to have signed the checkpoint; may be repeated
    #[arg(long, value_name = "KEY", value_parser = VerifyingKey::parse)]
    pub(crate) witness: Vec<VerifyingKey>,
}

/// `tidegate audit search`
#[derive(Args, Debug)]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(crate) which: WhichLog,

    /// Not before this time: RFC 3339, or a date in UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) from: Option<String>,

    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) to: Option<String>,

    /// What sort of thing happened: request, outcome, refusal, config, start, …
    #[arg(long)]
    pub(crate) kind: Option<String>,

    /// What happened: a route's event, or a word of the gateway's
    #[arg(long)]
    pub(crate) event: Option<String>,

    /// Whom it concerns: a pseudonym (hmac:…), or the plain text if the configuration has the key
    #[arg(long)]
    pub(crate) subject: Option<String>,

    /// The request's id
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,

    /// Why it was refused
    #[arg(long)]
    pub(crate) reason: Option<String>,

    /// The route's id
    #[arg(long)]
    pub(crate) route: Option<String>,

    /// The client's address
    #[arg(long)]
    pub(crate) client: Option<String>,

    /// Only among these records
    #[arg(long, value_name = "FROM..TO", value_parser = range)]
    pub(crate) range: Option<Range<u64>>,

    /// Stop after so many
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
}

/// `tidegate audit tail`
#[derive(Args, Debug)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) which: WhichLog,

    /// How many of the last records
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10)]
    pub(crate) last: u64,

    /// Go on with those that are signed from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// `tidegate audit export`
#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) which: WhichLog,

    /// Only these records
    #[arg(long, value_name = "FROM..TO", value_parser = range)]
    pub(crate) range: Option<Range<u64>>,
}

/// `tidegate audit keygen`
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["origin", "of"])))]
pub(crate) struct KeygenArgs {
    /// The log's name, as `audit.origin` has it: edge-1.example.com/audit
    #[arg(requires = "output")]
    pub(crate) origin: Option<String>,

    /// Where to put the secret key; the file must not exist
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Make none, and print the public key of this one
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    pub(crate) of: Option<PathBuf>,
}

/// `tidegate audit erase`
#[derive(Args, Debug)]
pub(crate) struct EraseArgs {
    /// Whom it concerns: a pseudonym (hmac:…), or the plain text if the configuration has the key
    pub(crate) subject: String,

    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(crate) config: PathBuf,

    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("a range looks like 1000..2000")?;
    let number = |text: &str, missing| {
        if text.is_empty() { Ok(missing) } else { text.parse::<u64>().map_err(|e| e.to_string()) }
    };
    let range = number(from, 0)?..number(to, u64::MAX)?;
    if range.is_empty() { Err("it is empty".to_owned()) } else { Ok(range) }
}

fn time(text: &str) -> Result<String, String> {
    let time = tidegate_audit::search::time(text);
    time.ok_or_else(|| "a time looks like 2026-11-23T12:00:00Z or 2026-11-23".to_owned())
}
