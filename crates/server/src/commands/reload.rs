//! `tidegate reload`: asks the admin listener of a running Tidegate to read its configuration
//! again, and tells what came of it. A signal (SIGHUP) does the same, but cannot answer.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::ReloadArgs;
use crate::terminal;

/// Compiling ten thousand routes takes well under a second; a file on a network may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn execute(args: &ReloadArgs) -> Result<ExitCode> {
    let answer = ask(args).with_context(|| format!("cannot ask {} to reload", args.admin))?;
    let (status, body) = read(&answer).context("the admin listener's answer is not HTTP")?;
    if (200..300).contains(&status) {
        terminal::say(body.trim_end())?;
        Ok(ExitCode::SUCCESS)
    } else {
        terminal::complain(&format!("tidegate: not reloaded ({status})\n{}", body.trim_end()));
        Ok(ExitCode::FAILURE)
    }
}

fn ask(args: &ReloadArgs) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&args.admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let authorization = match &args.token {
        Some(token) => format!("Authorization: Bearer {token}\r\n"),
        None => String::new(),
    };
    let head = format!(
        "POST /reload HTTP/1.1\r\nHost: {}\r\n{authorization}Content-Length: 0\r\nConnection: close\r\n\r\n",
        args.admin
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Status and body of an answer that ends with its connection.
fn read(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some((status.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        assert_eq!(read("HTTP/1.1 200 OK\r\nA: b\r\n\r\ndone\n"), Some((200, "done\n")));
        assert_eq!(read("HTTP/1.1 422 Unprocessable Content\r\n\r\n"), Some((422, "")));
        assert_eq!(read("SSH-2.0-x\r\n\r\n"), None);
        assert_eq!(read(""), None);
    }
}
