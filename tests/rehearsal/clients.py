"""The people of the rehearsal: normal clients, and three sorts of attackers. All of them come from
127.0.0.1, which is never banned; who they are stands in X-Forwarded-For, which the gateway takes
from its trusted proxy. An address of 198.18.0.0/15 (RFC 2544) is a normal client, one of
203.0.113.0/24, 192.0.2.0/24 or 198.51.100.0/24 (RFC 5737) or of 100.64.0.0/10 an attacker."""

import asyncio
import random
import time

AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "okhttp/5.1.0",
]
PAGES = ["/shop/", "/shop/shoes", "/shop/shoes/42", "/shop/cart", "/about", "/shop/terms?lang=en"]
SEARCHES = ["O%27Brien", "select+a+size", "50%25+off", "union+jack+mug", "a+or+b", "%3C3+gifts"]
SECRETS = ["/.env", "/.git/config", "/wp-login.php", "/phpmyadmin/", "/backup.sql", "/.aws/credentials"]


class Connection:
    """A kept connection that sends one request after the other."""

    def __init__(self, port, client, agent):
        self.port, self.client, self.agent = port, client, agent
        self.reader = self.writer = None

    async def ask(self, method, target, fields=(), body=b""):
        """The status, or 0 if there was no answer."""
        for attempt in (1, 2):
            try:
                if self.writer is None:
                    self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
                return await asyncio.wait_for(self._exchange(method, target, fields, body), 20)
            except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError):
                self.close()
                if attempt == 2:
                    return 0
        return 0

    async def _exchange(self, method, target, fields, body):
        lines = [f"{method} {target} HTTP/1.1", "Host: shop.example.com", f"User-Agent: {self.agent}",
                 f"X-Forwarded-For: {self.client}", "Accept: */*", *fields]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
            lines.append("Content-Type: application/x-www-form-urlencoded")
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await self._body(method, status, fields)
        if fields.get("connection") == "close":
            self.close()
        return status

    async def _body(self, method, status, fields):
        if method == "HEAD" or status in (204, 304):
            return
        if fields.get("transfer-encoding") == "chunked":
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                await self.reader.readexactly(size + 2)
                if size == 0:
                    return
        await self.reader.readexactly(int(fields.get("content-length", 0)))

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


class Tally:
    """What one kind of client was answered, and when."""

    def __init__(self):
        self.statuses, self.first, self.blocked, self.unexpected = {}, None, None, []

    def count(self, status, is_bad=False, expected=(), what=""):
        now = time.time()
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if is_bad and self.first is None:
            self.first = now
        if expected and status not in expected:
            self.unexpected.append((now, status, what))


def normal_addresses(count):
    """Addresses for so many clients; one in ten shares one with four others, as behind a NAT."""
    own = [f"198.18.{n // 250}.{n % 250 + 1}" for n in range(count)]
    return [own[n - n % 5] if n % 50 < 5 else address for n, address in enumerate(own)]


async def normal(port, number, address, pause, until, tally):
    """Browses, searches for odd things, mistypes a password, and now and then finds nothing."""
    dice = random.Random(number)
    connection = Connection(port, address, AGENTS[number % len(AGENTS)])
    await asyncio.sleep(dice.random() * pause)
    mistyped = number % 4 == 0
    while time.time() < until:
        chance = dice.random()
        if mistyped:
            mistyped = False
            status = await connection.ask("POST", "/login", ["X-Password: wrnog"], b"user=a&password=b")
            tally.count(status, expected=(401,), what=f"{address} mistyped")
        elif chance < 0.06:
            status = await connection.ask("POST", "/login", ["X-Password: right"], b"user=a&password=b")
            tally.count(status, expected=(200,), what=f"{address} login")
        elif chance < 0.2:
            target = f"/shop/search?q={dice.choice(SEARCHES)}"
            tally.count(await connection.ask("GET", target), expected=(200,), what=f"{address} {target}")
        elif chance < 0.23:
            status = await connection.ask("GET", "/favicon-old.ico")
            tally.count(status, expected=(404,), what=f"{address} favicon")
        else:
            target = dice.choice(PAGES)
            tally.count(await connection.ask("GET", target), expected=(200,), what=f"{address} {target}")
        await asyncio.sleep(pause * (0.5 + dice.random()))
    connection.close()


async def stuffer(port, address, pause, until, tally):
    """Tries one stolen password after the other, as a browser would."""
    connection = Connection(port, address, AGENTS[0])
    number = 0
    while time.time() < until:
        number += 1
        body = f"user=user{number}%40example.com&password=leaked{number}".encode()
        status = await connection.ask("POST", "/login", [f"X-Password: leaked{number}"], body)
        tally.count(status, is_bad=True)
        await asyncio.sleep(pause)
    connection.close()


async def prober(port, address, number, pause, until, tally):
    """One of many that share out the search for what should not be there."""
    dice = random.Random(number)
    connection = Connection(port, address, AGENTS[number % len(AGENTS)])
    await asyncio.sleep(dice.random() * pause)
    while time.time() < until:
        target = dice.choice(SECRETS) if dice.random() < 0.5 else f"/admin{dice.randrange(10**6)}"
        tally.count(await connection.ask("GET", target), is_bad=True)
        await asyncio.sleep(pause * (0.5 + dice.random()))
    connection.close()
