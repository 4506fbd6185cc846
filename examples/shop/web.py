"""The shop's front: takes orders over HTTP and says how many are waiting and shipped.

An order is answered with 201 only when the store has it on disk. Then it is the worker's.
"""

import json
import os
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shop import Bus, Store

MAX_BODY = 64 * 1024
shipped_since_start = 0


class Handler(BaseHTTPRequestHandler):
    timeout = 10  # a client that says nothing does not keep its thread

    def setup(self):
        super().setup()
        self.store = Store()

    def reply(self, status, value):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        # Alive means only that this program answers; ready means that it can take an order.
        if self.path == "/livez":
            return self.reply(200, {"ok": True})
        try:
            if self.path == "/readyz":
                return self.reply(200, {"ok": self.store.call("PING") == "PONG"})
            if self.path == "/":
                waiting = self.store.call("LLEN", "orders") + self.store.call("LLEN", "working")
                count = self.store.call("HLEN", "shipped")
                return self.reply(200, {"waiting": waiting, "shipped": count, "news": shipped_since_start})
        except (OSError, RuntimeError) as error:
            return self.reply(503, {"error": str(error)})
        self.reply(404, {"error": "there is /, /orders, /livez and /readyz"})

    def do_POST(self):
        if self.path != "/orders":
            return self.reply(404, {"error": "orders go to /orders"})
        try:
            length = int(self.headers.get("Content-Length", ""))
            if not 0 < length <= MAX_BODY:
                raise ValueError("a body of at most 64 KiB is needed")
            order = json.loads(self.rfile.read(length))
            if not isinstance(order, dict) or not isinstance(order.get("item"), str):
                raise ValueError('expected {"item": "…"}')
        except ValueError as error:
            return self.reply(400, {"error": str(error)})
        identity = str(uuid.uuid4())
        try:
            self.store.call("LPUSH", "orders", json.dumps({"id": identity, "item": order["item"]}))
        except (OSError, RuntimeError) as error:
            return self.reply(503, {"error": str(error)})
        self.reply(201, {"id": identity})

    def log_message(self, *args):
        pass  # a line for each probe would drown the rest


def listen_to_news():
    global shipped_since_start
    while True:
        try:
            for _ in Bus().listen("shop.orders.>"):
                shipped_since_start += 1
        except (OSError, ValueError) as error:
            print(f"bus: {error}")
        time.sleep(1)


threading.Thread(target=listen_to_news, daemon=True).start()
port = int(os.environ.get("WEB_PORT", "8080"))
print(f"taking orders on http://127.0.0.1:{port}/orders")
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
