#!/usr/bin/env python3
"""The rehearsal: a running Tidegate with the shipped policy enforced, nginx pods behind it, 500
normal clients, and beside them sqlmap, somebody with stolen passwords and a distributed prober.

It prints what happened as Markdown and fails if an attacker was not blocked, if a normal client
was hit, or if a block cannot be followed through log, metric, sink and audit log.

    tests/rehearsal/rehearse.py target/debug/tidegate [--clients 500] [--seconds 60]

docs/rehearsal.md says what it shows. Needs nginx and sqlmap; Python's own library is enough."""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path

from clients import Connection, Tally, normal, normal_addresses, prober, stuffer

NGINX = """
daemon off; worker_processes 1; pid {dir}/nginx-{name}.pid; error_log {dir}/nginx-{name}.log;
events {{ worker_connections 2048; }}
http {{
  access_log off; keepalive_requests 100000; default_type text/html;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{
    listen 127.0.0.1:{port};
    location = /login {{ if ($http_x_password != "right") {{ return 401 "no"; }} return 200 "welcome"; }}
    location = /healthz {{ return 200 "ok"; }}
    location = /about {{ return 200 "about us"; }}
    location /shop/ {{ return 200 "<html><body>{name}: a page of the shop</body></html>"; }}
    location / {{ return 404 "nothing"; }}
  }}
}}
"""

CONFIG = """
listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
trusted_proxies: [127.0.0.1/32]
access_log: {{ path: {dir}/access.log }}
audit: {{ path: {dir}/audit, origin: rehearsal.example.com/audit, key: {dir}/audit.key, head: {dir}/audit.head, checkpoint_every: 1s }}
sinks:
  soc: {{ format: json, events: security, file: {{ path: {dir}/soc.ndjson }} }}
response: {{ builtin: enforce }}
defaults: {{ waf: {{ mode: block }} }}
routes:
  - {{ id: login, path: {{ exact: /login }}, to: shop }}
  - {{ id: shop, path: /, to: shop }}
upstreams:
  shop: {{ endpoints: ["127.0.0.1:{pod1}", "127.0.0.1:{pod2}"], health: {{ path: /healthz, interval: 1s }} }}
"""

SQLMAP, STUFFER = "203.0.113.7", "192.0.2.9"


def free_ports(count):
    import socket
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Gateway:
    def __init__(self, binary, folder, pods):
        self.binary, self.folder = binary, folder
        subprocess.run([binary, "audit", "keygen", "rehearsal.example.com/audit", "-o",
                        f"{folder}/audit.key"], check=True, capture_output=True)
        self.config = f"{folder}/tidegate.yaml"
        Path(self.config).write_text(CONFIG.format(dir=folder, pod1=pods[0], pod2=pods[1]))
        self.stderr = open(f"{folder}/stderr.log", "w")
        self.process = subprocess.Popen([binary, "run", "-c", self.config], stderr=self.stderr)
        self.port = self.admin = None
        deadline = time.time() + 20
        while time.time() < deadline and not (self.port and self.admin):
            for line in Path(f"{folder}/stderr.log").read_text().splitlines():
                said = json.loads(line) if line.startswith("{") else {}
                if said.get("message") == "listening":
                    port = int(said["listener"].rsplit(":", 1)[1])
                    self.port, self.admin = (port, self.admin) if said["kind"] == "http" else (self.port, port)
            if self.process.poll() is not None:
                sys.exit(f"tidegate does not start: {Path(f'{folder}/stderr.log').read_text()}")
            time.sleep(0.1)

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics") as page:
            return page.read().decode()

    def audit(self, *arguments):
        found = subprocess.run([self.binary, "audit", *arguments, "-c", self.config],
                               capture_output=True, text=True)
        return found.returncode, [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]


def start_pods(folder, ports):
    pods = []
    for number, port in enumerate(ports):
        name = f"pod-{number + 1}"
        path = f"{folder}/{name}.conf"
        Path(path).write_text(NGINX.format(dir=folder, name=name, port=port))
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        pods.append(subprocess.Popen([nginx, "-p", folder, "-c", path], stderr=subprocess.DEVNULL))
    return pods


async def sqlmap(port, seconds, folder):
    """sqlmap as it comes, but with a browser's name: it is known by what it does. Whenever it gives
    up, it begins again."""
    until = time.time() + seconds
    command = ["sqlmap", "-u", f"http://127.0.0.1:{port}/shop/item?id=1", "--batch", "--level", "2",
               "--flush-session", "--random-agent", "--headers", f"X-Forwarded-For: {SQLMAP}",
               "--host", "shop.example.com", "--output-dir", f"{folder}/sqlmap", "--threads", "2",
               "--ignore-code", "401,403,429", "--timeout", "10", "--retries", "0"]
    with open(f"{folder}/sqlmap.log", "w") as log:
        while time.time() < until:
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
            try:
                await asyncio.wait_for(process.wait(), until - time.time())
            except asyncio.TimeoutError:
                process.kill()
                await process.wait()
            await asyncio.sleep(5)


async def act(gateway, options, probers, tallies):
    """Everybody at once; the attackers begin when the normal clients have warmed up."""
    until = time.time() + options.warm_up + options.seconds
    people = [normal(gateway.port, n, address, options.pause, until, tallies["normal"])
              for n, address in enumerate(normal_addresses(options.clients))]
    tasks = [asyncio.create_task(one) for one in people]
    await asyncio.sleep(options.warm_up)
    tasks.append(asyncio.create_task(sqlmap(gateway.port, options.seconds, gateway.folder)))
    tasks.append(asyncio.create_task(stuffer(gateway.port, STUFFER, 0.2 / options.haste, until, tallies["stuffer"])))
    for number, address in enumerate(probers):
        tasks.append(asyncio.create_task(prober(gateway.port, address, number, 1.0 / options.haste, until, tallies["prober"])))
    await asyncio.gather(*tasks)


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def bad(line):
    """Whether a line of the access log is one that a rule of the policy may count."""
    return line["status"] in (400, 401, 403, 404) and (line.get("measure") or {}).get("name") != "block"


def timelines(log, attackers):
    """For each attacker: the first bad request, the first that was blocked, and what passed, in the
    order of their arrival: they are logged when they end."""
    found = {}
    for line in sorted(log, key=lambda line: seconds(line["time"])):
        client = line["client"]
        if client not in attackers:
            continue
        one = found.setdefault(client, {"bad": None, "touched": None, "blocked": None, "before": 0, "after": 0, "rules": set()})
        measure = line.get("measure") or {}
        at = seconds(line["time"])
        if measure:
            one["rules"].add(measure.get("rule"))
            one["touched"] = one["touched"] or at
        if measure.get("name") == "block" or line.get("reason") == "banned":
            one["blocked"] = one["blocked"] or at
            one["after"] += 1
        elif bad(line) and one["bad"] is None:
            one["bad"] = at
        if one["blocked"] is None:
            one["before"] += 1
        elif line.get("upstream_status") is not None:
            one.setdefault("leaked", []).append(line)
    return found


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines() if line]


def trail(gateway, log, address):
    """Whether the block of an address is in the log, the metrics, the sink and the audit log."""
    refused = any(line["client"] == address and (line.get("measure") or {}).get("name") == "block" for line in log)
    stderr = Path(f"{gateway.folder}/stderr.log").read_text()
    told = any(address in line and '"decided"' in line for line in stderr.splitlines())
    sink = Path(f"{gateway.folder}/soc.ndjson")
    sink = sink.read_text().splitlines() if sink.exists() else []
    decided = any(address in line and '"decided"' in line for line in sink)
    _code, records = gateway.audit("search", "--kind", "decision", "-n", "100000")
    recorded = [one for one in records if address in json.dumps(one)]
    evidence = any("samples" in json.dumps(one) for one in recorded)
    return {"access log": refused, "log": told, "sink": decided, "audit": bool(recorded), "evidence": evidence}


def spread(values):
    """Median and slowest, in seconds."""
    values = sorted(values)
    return f"{values[len(values) // 2]:.1f} s, {values[-1]:.1f} s" if values else "none was"


def report(gateway, options, tallies, probers, title):
    log = lines(f"{gateway.folder}/access.log")
    attackers = {SQLMAP, STUFFER, *probers}
    found = timelines(log, attackers)
    problems = []
    print(f"\n### {title}\n")
    normals = [line for line in log if line["client"].startswith("198.18.")]
    hit = [line for line in normals if line.get("measure") or line["status"] in (403, 429) or line["status"] >= 500]
    tally = tallies["normal"]
    print(f"- {len(normals)} requests of {options.clients} normal clients from "
          f"{len({line['client'] for line in normals})} addresses: {dict(sorted(tally.statuses.items()))}; "
          f"{len(hit)} were hit, {len(tally.unexpected)} were not answered as they had to be")
    for one in (hit[:3] + tally.unexpected[:3]):
        problems.append(f"a normal client was harmed: {one}")
    rows = [("sqlmap", [SQLMAP]), ("credential stuffing", [STUFFER]), (f"prober, {len(probers)} addresses", probers)]
    print("\n| attacker | addresses blocked | first bad request to the first blocked one: median, slowest | requests before, after | reached a pod after the block | by |")
    print("|---|---|---|---|---|---|")
    for name, addresses in rows:
        ours = [found[a] for a in addresses if a in found]
        blocked = [one for one in ours if one["blocked"]]
        times = [one["blocked"] - (one["bad"] or one["blocked"]) for one in blocked]
        rules = sorted({rule for one in ours for rule in one["rules"] if rule})
        print(f"| {name} | {len(blocked)} of {len(addresses)} | {spread(times)} "
              f"| {sum(o['before'] for o in ours)}, {sum(o['after'] for o in ours)} "
              f"| {sum(len(o.get('leaked', [])) for o in ours)} | {', '.join(rules)} |")
    return log, found, problems


def check_trail(gateway, log, addresses, problems):
    print("\n| block of | access log | log | sink | audit | with evidence |")
    print("|---|---|---|---|---|---|")
    for name, address in addresses:
        kept = trail(gateway, log, address)
        print(f"| {name} ({address}) | " + " | ".join("yes" if kept[k] else "NO" for k in kept) + " |")
        problems += [f"{address}: not in the {place}" for place, there in kept.items() if not there]
    shown = [line for line in gateway.metrics().splitlines()
             if re.match(r"tidegate_(decisions_total|measures|measured_requests_total)\{", line) and not line.endswith(" 0")]
    print("\n```\n" + "\n".join(shown) + "\n```")
    if not any('standing="enforced"' in line and 'measure="block"' in line for line in shown):
        problems.append("no metric counts an enforced block")
    code, _ = gateway.audit("verify")
    print(f"\n`tidegate audit verify`: {'the log is what it signed' if code == 0 else 'FAILED'}")
    if code != 0:
        problems.append("the audit log does not verify")


def stage(options, title, probers, judge):
    folder = tempfile.mkdtemp(prefix="rehearsal-")
    *pod_ports, = free_ports(2)
    pods = start_pods(folder, pod_ports)
    gateway = None
    try:
        gateway = Gateway(options.binary, folder, pod_ports)
        time.sleep(1.5)
        tallies = {name: Tally() for name in ("normal", "stuffer", "prober")}
        asyncio.run(act(gateway, options, probers, tallies))
        time.sleep(2.5)
        log, found, problems = report(gateway, options, tallies, probers, title)
        judge(gateway, probers, log, found, problems)
        return problems
    finally:
        for process in [gateway.process if gateway else None, *pods]:
            if process:
                process.send_signal(signal.SIGTERM)
        for process in [gateway.process if gateway else None, *pods]:
            if process:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def first_act(gateway, probers, log, found, problems):
    for address in (SQLMAP, STUFFER, *probers):
        if not found.get(address, {}).get("blocked"):
            problems.append(f"{address} was not blocked")
        for line in found.get(address, {}).get("leaked", []):
            problems.append(f"{address} reached a pod after its block: {line}")
    check_trail(gateway, log, [("sqlmap", SQLMAP), ("credential stuffing", STUFFER), ("a prober", probers[0])], problems)


def second_act(gateway, _probers, _log, found, problems):
    told = Path(f"{gateway.folder}/stderr.log").read_text().splitlines()
    held = [line for line in told if '"decided"' in line and "measure=alert" not in line]
    blocked = sum(1 for one in found.values() if one["blocked"])
    free = [one for one in found if not any(f"target={one} standing=enforced" in line for line in held)]
    print(f"\n{blocked} of {len(found)} attackers' addresses are blocked, "
          f"{len(found) - blocked - len(free)} are throttled so far")
    problems += [f"{address} is not held" for address in free]


MANY = 150


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=60, help="how long the attackers try")
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--pause", type=float, default=4.0, help="between two requests of a normal client")
    parser.add_argument("--probers", type=int, default=18, help="the first act's addresses; the cap is 5 %% of all")
    parser.add_argument("--haste", type=float, default=1.0, help="how many times as fast attackers are")
    parser.add_argument("--act", choices=["1", "2", "both"], default="both")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)
    for program in ("nginx", "sqlmap"):
        if not (shutil.which(program) or os.path.exists(f"/usr/sbin/{program}")):
            print(f"skipped: {program} is not installed")
            return 0
    problems = []
    if options.act in ("1", "both"):
        few = [f"100.64.{n}.{10 + n}" for n in range(options.probers)]
        problems += stage(options, f"Attackers within the cap: {options.probers + 2} addresses", few, first_act)
    if options.act in ("2", "both"):
        many = [f"100.{65 + n // 250}.{n % 250}.7" for n in range(MANY)]
        problems += stage(options, f"More addresses than the cap: {MANY + 2}", many, second_act)
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
