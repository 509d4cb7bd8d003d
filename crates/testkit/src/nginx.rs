//! API pods played by a real nginx, each its own process with its own prefix folder.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{self, Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::{programs, wait};

/// A running nginx, or one that was killed and may be restarted on its port.
pub struct Nginx {
    address: SocketAddr,
    folder: TempDir,
    child: Option<Child>,
}

impl fmt::Debug for Nginx {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Nginx").field(&self.address).finish()
    }
}

impl Nginx {
    /// A pod that answers its name on every path; `/healthz` says `ok`, `/status/503` answers
    /// 503, `/whoami` tells what it saw of the request.
    #[track_caller]
    #[must_use]
    pub fn pod(name: &str) -> Self {
        Self::start(&format!(
            "location / {{ return 200 '{name}'; }}
             location = /healthz {{ return 200 'ok'; }}
             location /status/503 {{ return 503 'busy'; }}
             location /whoami {{ return 200 '$request_method $request_uri host=$http_host \
             xff=$http_x_forwarded_for proto=$http_x_forwarded_proto id=$http_x_request_id'; }}"
        ))
    }

    /// A server with these directives.
    #[track_caller]
    #[must_use]
    pub fn start(server: &str) -> Self {
        Self::listening("", server, &[])
    }

    /// A server whose `listen` has further parameters (`ssl`, `http2`, `proxy_protocol`), with
    /// files beside its configuration.
    #[track_caller]
    #[must_use]
    pub fn listening(parameters: &str, server: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Workers drop root and must still reach their temporary files.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.path(), open).expect("sets permissions");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("writes");
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut nginx = Self { address, folder, child: None };
        nginx.configure(parameters, server);
        nginx.restart();
        nginx
    }

    fn configure(&self, parameters: &str, server: &str) {
        let folder = self.folder.path().display();
        let address = self.address;
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid {folder}/pid;
             error_log {folder}/error.log warn;
             events {{ worker_connections 8192; }}
             http {{
               access_log off; default_type text/plain; keepalive_requests 1000000;
               client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
               fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
               scgi_temp_path {folder}/scgi;
               server {{ listen {address} {parameters}; {server} }}
             }}"
        );
        fs::write(self.file("nginx.conf"), text).expect("writes");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder, where files and logs are.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Ends it at once, as an out-of-memory kill does.
    #[track_caller]
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kills");
            child.wait().expect("waits");
        }
    }

    /// Stops it mid-way: it accepts in the kernel and never answers.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Undoes [`Self::freeze`].
    #[track_caller]
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("runs");
        rustix::process::kill_process(Pid::from_child(child), signal).expect("signals");
    }

    /// Starts it, again on its port, and waits until it accepts.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        let child = programs::command("nginx")
            .arg("-p")
            .arg(self.folder.path())
            .arg("-c")
            .arg(self.file("nginx.conf"))
            .arg("-e")
            .arg(self.file("error.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let child = self.child.insert(child);
        let address = self.address;
        let accepts = wait::holds_within(wait::PATIENCE, || {
            TcpStream::connect(address).is_ok() || child.try_wait().is_ok_and(|end| end.is_some())
        });
        let runs = child.try_wait().is_ok_and(|end| end.is_none());
        if !accepts || !runs {
            let log = fs::read_to_string(self.file("error.log")).unwrap_or_default();
            panic!("nginx does not start on {address}: {log}");
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// A port that was free a moment ago, outside the kernel's range for outgoing connections. For
/// programs that cannot say which port 0 became; ours can.
#[track_caller]
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    for _attempt in 0..1_000 {
        let step = NEXT.fetch_add(1, Ordering::SeqCst);
        // Processes of the same test run start at different places.
        let start = process::id().wrapping_mul(97) % u32::from(COUNT);
        let offset = (start + u32::from(step)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).expect("below the count");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::get;
    use crate::needs;

    #[test]
    fn a_pod_can_be_killed_and_comes_back_on_its_port() {
        needs!("nginx");
        let mut pod = Nginx::pod("a");
        assert_eq!(get(pod.address(), "/x").text(), "a");
        pod.kill();
        assert!(TcpStream::connect(pod.address()).is_err());
        pod.restart();
        assert_eq!(get(pod.address(), "/healthz").text(), "ok");
    }
}
