"""The stand that the scripts of this folder share: programs pinned to a core, what they cost by
/proc, configurations of the contenders, and what wrk and h2load print. Python's standard library
only. It starts nothing that it does not stop."""

import atexit
import contextlib
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROXY_CORE, LOAD_CORE = 0, 1 % (os.cpu_count() or 1)


def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
    path.chmod(0o755)
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def free_port():
    """A port outside the range of outgoing connections, so that none takes it before we do."""
    for _ in range(1000):
        port = 10_000 + int.from_bytes(os.urandom(2)) % 20_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise SystemExit("no free port")


def program(name):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise SystemExit(f"{name} is not installed; scripts/setup --tests installs it")
    return path


def raise_file_limit():
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Process:
    """A program on one core, with what it and its descendants cost."""

    def __init__(self, argv, core=None, log=None, **options):
        def pin():
            if core is not None:
                os.sched_setaffinity(0, {core})

        output = open(log, "wb") if log else subprocess.DEVNULL
        self.log = log
        self.child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=pin,
            start_new_session=True, **options,
        )
        atexit.register(self.stop)

    def stop(self):
        """Ends the group, so that processes it handed over to end as well."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def pids(self):
        """All processes of its group: workers, and those it handed over to."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    if int(stat(entry.name)[2]) == self.child.pid:
                        found.append(int(entry.name))
        return found

    def cpu_seconds(self):
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = stat(pid)
                total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def rss_kib(self):
        return sum(rss_kib(pid) for pid in self.pids())

    def wait_for(self, port, address="127.0.0.1"):
        """Waits until it accepts connections."""
        for _ in range(1500):
            if self.child.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
                return self
            time.sleep(0.01)
        text = pathlib.Path(self.log).read_text() if self.log else ""
        raise SystemExit(f"{self.child.args} does not start:\n{text}")


def stat(pid):
    """The fields of /proc/PID/stat from the state on; the name before may contain spaces."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def rss_kib(pid):
    with contextlib.suppress(OSError):
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE // 1024
    return 0


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def certificate(place):
    """A P-256 certificate for 127.0.0.1, which all contenders show."""
    subprocess.run(
        [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=bench",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", place / "key.pem",
         "-out", place / "cert.pem"],
        check=True, capture_output=True,
    )
    both = (place / "cert.pem").read_text() + (place / "key.pem").read_text()
    (place / "both.pem").write_text(both)


def nginx(place, name, http, core, ports, main=""):
    """An nginx with one worker, these http directives and these of its main block; a port may come
    with its address."""
    home = place / name
    home.mkdir(mode=0o755)
    (home / "nginx.conf").write_text(f"""
        {main}
        daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
        pid {home}/pid; error_log {home}/error.log crit;
        events {{ worker_connections 19000; }}
        http {{
          access_log off; server_tokens off; tcp_nodelay on;
          keepalive_timeout 300s; keepalive_requests 1000000000;
          client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
          fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
          {http}
        }}""")
    argv = [program("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]
    process = Process(argv, core, home / "log")
    for port in ports:
        process.wait_for(*(reversed(port) if isinstance(port, tuple) else (port,)))
    return process


def origin(place, name="origin", core=LOAD_CORE, ports=2, tls=None):
    """Pods that answer 100 B to 1 MB from memory, on several ports."""
    files = place / f"{name}-files"
    files.mkdir(mode=0o755)
    for path, size in (("100", 100), ("4k", 4096), ("100k", 102_400), ("1m", 1 << 20)):
        (files / path).write_bytes(b"x" * size)
    listen = [free_port() for _ in range(ports)]
    lines = " ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in listen)
    if tls:
        lines += (f" listen 127.0.0.1:{tls} ssl http2; ssl_certificate {place}/cert.pem;"
                  f" ssl_certificate_key {place}/key.pem; ssl_protocols TLSv1.3;")
    http = f"""open_file_cache max=100; sendfile on; tcp_nopush on;
        server {{ {lines} root {files};
          location = /100 {{ return 200 '{"x" * 100}'; }}
          location = / {{ return 200 'ok'; }}
          location = /healthz {{ return 200 'ok'; }} }}"""
    wait = listen + ([tls] if tls else [])
    return nginx(place, name, http, core, wait), listen


def tidegate_binary(given):
    path = pathlib.Path(given or ROOT / "target/release/tidegate").resolve()
    if not path.is_file():
        raise SystemExit(f"{path} is missing: cargo build --release -p tidegate")
    return path


def tidegate(place, name, binary, config, core=PROXY_CORE, admin=None):
    """A Tidegate with this configuration, waited for through its admin listener."""
    home = place / name
    home.mkdir(mode=0o755, exist_ok=True)
    admin = admin or free_port()
    file = home / "tidegate.yaml"
    file.write_text(f"admin: {{ address: 127.0.0.1:{admin} }}\n{config}")
    process = Process([binary, "run", "-c", file], core, home / "log", cwd=home)
    process.wait_for(admin)
    process.admin, process.file = admin, file
    for _ in range(1000):
        with contextlib.suppress(OSError):
            if fetch(f"http://127.0.0.1:{admin}/readyz")[0] == 200:
                return process
        time.sleep(0.01)
    raise SystemExit(f"{name} does not get ready:\n{(home / 'log').read_text()}")


def fetch(url, method="GET"):
    """Status and body; an error status is an answer too."""
    context = ssl._create_unverified_context()
    request = urllib.request.Request(url, method=method, data=b"" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


UNITS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}


def wrk(url, seconds, connections=64, headers=(), core=LOAD_CORE, script=None):
    """Requests, requests per second, p50 and p99 in µs, and errors, as wrk saw them."""
    argv = [program("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    for header in headers:
        argv += ["-H", header]
    if script:
        argv += ["-s", str(script)]
    text = run(argv, core)
    latency = {
        percent: float(value) * UNITS[unit]
        for percent, value, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s|m)\b", text)
    }
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    others = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return {
        "requests": int(re.search(r"(\d+) requests in", text)[1]),
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        "p50": latency.get("50", 0),
        "p99": latency.get("99", 0),
        "socket_errors": sum(map(int, errors.groups())) if errors else 0,
        "socket_error_text": errors[0] if errors else "",
        "bad_statuses": int(others[1]) if others else 0,
    }


def h2load(url, seconds, connections=16, streams=10, core=LOAD_CORE):
    """The same through h2load; the percentiles come from its log of each request."""
    with tempfile.NamedTemporaryFile() as log:
        argv = [program("h2load"), "-t1", f"-c{connections}", f"-m{streams}", "-D", str(seconds),
                f"--log-file={log.name}", url]
        text = run(argv, core)
        times = sorted(int(line.split()[2]) for line in log if line.count(b"\t") == 2)
    done = re.search(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed", text)
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", text)
    at = lambda share: times[int(len(times) * share)] if times else 0
    return {
        "requests": int(done[2]), "rate": float(rate[1]), "p50": at(0.5), "p99": at(0.99),
        "socket_errors": int(done[3]), "bad_statuses": 0, "socket_error_text": "",
    }


def run(argv, core):
    done = subprocess.run(
        argv, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {core})
    )
    if done.returncode:
        raise SystemExit(f"{argv}: {done.stderr or done.stdout}")
    return done.stdout


def spread(values, digits=1):
    """Median and range, for a table."""
    if not values:
        return "–"
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def versions(binary):
    """One line on what was measured, for the docs."""
    def first(argv):
        done = subprocess.run(argv, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0]

    return "; ".join([
        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        first([binary, "version"]),
        first([program("nginx"), "-v"]).partition(": ")[2],
        first([program("haproxy"), "-v"]).partition(" 20")[0],
        f"Linux {os.uname().release}, {os.cpu_count()} cores",
        "load average {:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
    ])
