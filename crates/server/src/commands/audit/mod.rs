//! `tidegate audit`: reading, verifying and proving an audit log, running or stopped, without
//! disturbing it. The commands, a file each; what they share stands in `source`.

mod args;
mod check_receipt;
mod erase;
mod export;
mod keygen;
mod prove;
mod search;
mod source;
mod tail;
mod verify;

use std::process::ExitCode;

use anyhow::Result;

pub(crate) use self::args::AuditCommand;

pub(crate) fn execute(command: Box<AuditCommand>) -> Result<ExitCode> {
    match *command {
        AuditCommand::CheckReceipt(args) => check_receipt::execute(&args),
        AuditCommand::Erase(args) => erase::execute(&args),
        AuditCommand::Export(args) => export::execute(&args),
        AuditCommand::Keygen(args) => keygen::execute(&args),
        AuditCommand::Prove(args) => prove::execute(&args),
        AuditCommand::Search(args) => search::execute(args),
        AuditCommand::Tail(args) => tail::execute(&args),
        AuditCommand::Verify(args) => verify::execute(args),
    }
}
