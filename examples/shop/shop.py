"""What the shop's programs share: the store's protocol, the bus, and systemd's notify protocol, each by hand.

Standard library only. `python3 shop.py ping` exits 0 when the store answers.
"""

import json
import os
import socket
import sys
import threading
import time
from urllib.parse import unquote, urlsplit

STORE_PORT = int(os.environ.get("STORE_PORT", "6390"))


class Store:
    """A client of Redis (RESP2). One call at a time; connects again after an error."""

    def __init__(self):
        self.lock = threading.Lock()
        self.file = None

    def call(self, *words):
        with self.lock:
            try:
                if self.file is None:
                    connection = socket.create_connection(("127.0.0.1", STORE_PORT), timeout=2)
                    self.file = connection.makefile("rwb")
                    connection.close()  # the file keeps it open
                parts = [str(word).encode() for word in words]
                self.file.write(b"*%d\r\n" % len(parts))
                for part in parts:
                    self.file.write(b"$%d\r\n%s\r\n" % (len(part), part))
                self.file.flush()
                return self.answer()
            except (OSError, ValueError):
                self.file = None
                raise

    def answer(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the store hung up")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise RuntimeError(f"the store says {rest}")
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        raise OSError(f"the store answers {line!r}")


def notify(message):
    """Sends `message` as sd_notify(3) does; does nothing when nobody asked for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        try:
            out.sendto(message.encode(), address)
        except OSError as error:
            print(f"notify: {error}", file=sys.stderr)


def heartbeat_seconds():
    """How often WATCHDOG=1 is due: at half of the interval that the supervisor allows."""
    return int(os.environ.get("WATCHDOG_USEC", "10000000")) / 2_000_000


class Bus:
    """The NATS protocol, as far as the shop needs it. Messages are news: when the bus is away they are dropped."""

    def __init__(self):
        self.connection = self.file = None
        self.retry_at = 0.0

    def connect(self):
        url = os.environ.get("NATS_URL")
        if not url:
            raise OSError("NATS_URL is not set")
        parts = urlsplit(url)
        self.connection = socket.create_connection((parts.hostname, parts.port or 4222), timeout=2)
        self.file = self.connection.makefile("rwb")
        if not self.file.readline().startswith(b"INFO "):
            raise OSError("this is no NATS server")
        options = {"verbose": False, "pedantic": False, "name": "shop", "lang": "python", "version": "1", "protocol": 1}
        if parts.username:
            options |= {"user": unquote(parts.username), "pass": unquote(parts.password or "")}
        self.file.write(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        self.file.flush()
        self.until_pong()

    def until_pong(self):
        """Reads up to the answer to our PING: everything that we sent before it has been taken in."""
        while (line := self.file.readline()) != b"PONG\r\n":
            if line == b"PING\r\n":
                self.file.write(b"PONG\r\n")
                self.file.flush()
            elif line.startswith(b"-ERR"):
                raise OSError(line.decode().strip())
            elif not line:
                raise OSError("the bus hung up")

    def publish(self, subject, value):
        """True when the bus took it. Asks a bus that is away only once a second."""
        if self.file is None and time.monotonic() < self.retry_at:
            return False
        data = json.dumps(value).encode()
        try:
            if self.file is None:
                self.connect()
            self.file.write(b"PUB %s %d\r\n%s\r\nPING\r\n" % (subject.encode(), len(data), data))
            self.file.flush()
            self.until_pong()
            return True
        except OSError as error:
            print(f"bus: {error}", file=sys.stderr)
            self.file = None
            self.retry_at = time.monotonic() + 1
            return False

    def listen(self, subject):
        """Yields the messages on `subject` until the bus hangs up."""
        self.connect()
        self.connection.settimeout(None)  # news may be rare
        self.file.write(b"SUB %s 1\r\n" % subject.encode())
        self.file.flush()
        while line := self.file.readline():
            if line == b"PING\r\n":
                self.file.write(b"PONG\r\n")
                self.file.flush()
            elif line.startswith(b"-ERR"):
                raise OSError(line.decode().strip())
            elif line.startswith(b"MSG "):
                yield json.loads(self.file.read(int(line.split()[-1]) + 2))


if __name__ == "__main__" and sys.argv[1:] == ["ping"]:
    try:
        sys.exit(0 if Store().call("PING") == "PONG" else 1)
    except (OSError, RuntimeError) as error:
        sys.exit(f"no answer from the store: {error}")
