//! Asks the admin listener of a running Tidegate, for the commands that do so.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cli::AdminArgs;
use crate::terminal;

/// Compiling ten thousand routes takes well under a second; a file on a network may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the admin listener answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Prints the body: as it is if all went well, and else as a complaint that begins with `what`.
    pub(super) fn print(&self, what: &str) -> Result<ExitCode> {
        let body = self.body.trim_end();
        if self.is_success() {
            terminal::say(body)?;
            Ok(ExitCode::SUCCESS)
        } else {
            terminal::complain(&format!("tidegate: {what} ({})\n{body}", self.status));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Sends one request without a body. `target` is a path with its query, encoded.
///
/// # Errors
/// Nobody answers, or what answers is not HTTP.
pub(super) fn ask(admin: &AdminArgs, method: &str, target: &str) -> Result<Answer> {
    let text = exchange(admin, method, target)
        .with_context(|| format!("cannot ask the admin listener at {}", admin.admin))?;
    read(&text).context("the admin listener's answer is not HTTP")
}

fn exchange(admin: &AdminArgs, method: &str, target: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin.admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let authorization = match &admin.token {
        Some(token) => format!("Authorization: Bearer {token}\r\n"),
        None => String::new(),
    };
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {}\r\n{authorization}Content-Length: 0\r\nConnection: close\r\n\r\n",
        admin.admin
    );
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Status and body of an answer that ends with its connection.
fn read(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?;
    Some(Answer { status: status.parse().ok()?, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(u16, &str)>) {
        let answer = expected.map(|(status, body)| Answer { status, body: body.to_owned() });
        assert_eq!(read(text), answer);
    }

    #[test]
    fn an_answer_is_read() {
        check("HTTP/1.1 200 OK\r\nA: b\r\n\r\ndone\n", Some((200, "done\n")));
        check("HTTP/1.1 422 Unprocessable Content\r\n\r\n", Some((422, "")));
        check("SSH-2.0-x\r\n\r\n", None);
        check("", None);
    }
}
