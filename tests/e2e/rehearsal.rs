//! The rehearsal in short (docs/rehearsal.md): sqlmap, somebody with stolen passwords and probers,
//! in more of a hurry than usual, beside a hundred normal clients.

use std::path::Path;
use std::process::Command;

use tidegate_testkit::gateway::binary;
use tidegate_testkit::{needs, programs};

#[test]
fn attackers_are_blocked_and_nobody_else_is_hit() {
    needs!("nginx", "python3", "sqlmap");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rehearsal/rehearse.py");
    let mut rehearse = Command::new("python3");
    rehearse.arg(script).arg(binary()).args(["--act", "1", "--clients", "100", "--probers", "3"]);
    rehearse.args(["--seconds", "30", "--warm-up", "5", "--haste", "2.5"]);
    let output = programs::output(&mut rehearse);
    eprintln!("{}", output.stdout);
    assert!(output.status.success(), "{}\n{}", output.stdout, output.stderr);
}
