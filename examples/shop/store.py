"""A store for machines without Redis: the few commands of its protocol (RESP2) that the shop needs.

Lists and hashes in memory; each change is appended to a file and synced before it is answered. At start the file is
replayed; a last line that was cut short was never answered, and is dropped.
"""

import json
import os
import socketserver
import sys
import threading

STORE_PORT = int(os.environ.get("STORE_PORT", "6390"))
MAX_WORDS, MAX_WORD = 16, 1 << 20
lists, hashes, lock = {}, {}, threading.Lock()


def lpush(key, value):
    lists.setdefault(key, []).insert(0, value)
    return len(lists[key])


def lmove(source, target, _from, _to):
    if not lists.get(source):
        return None
    value = lists[source].pop()
    lists.setdefault(target, []).insert(0, value)
    return value


def lrem(key, _count, value):
    if value not in lists.get(key, []):
        return 0
    lists[key].remove(value)
    return 1


def hset(key, field, value):
    new = field not in hashes.setdefault(key, {})
    hashes[key][field] = value
    return int(new)


def lindex(key, index):
    values, index = lists.get(key, []), int(index)
    return values[index] if -len(values) <= index < len(values) else None


WRITES = {"LPUSH": lpush, "LMOVE": lmove, "LREM": lrem, "HSET": hset}
READS = {
    "LINDEX": lindex,
    "LLEN": lambda key: len(lists.get(key, [])),
    "HLEN": lambda key: len(hashes.get(key, {})),
    "HGET": lambda key, field: hashes.get(key, {}).get(field),
}


def replay(path):
    """The journal, open for appending at the end of its last whole line."""
    journal = open(path, "a+b")
    journal.seek(0)
    whole = 0
    for line in journal:
        if not line.endswith(b"\n"):
            break
        command, *words = json.loads(line)
        WRITES[command](*words)
        whole += len(line)
    journal.truncate(whole)
    return journal


def execute(command, words):
    if command == "PING":
        return True
    with lock:
        if command in READS:
            return READS[command](*words)
        if command not in WRITES:
            raise ValueError(f"unknown command {command[:20]}")
        answer = WRITES[command](*words)
        if answer is not None:
            try:
                journal.write(json.dumps([command, *words]).encode() + b"\n")
                journal.flush()
                os.fsync(journal.fileno())
            except OSError as error:
                # Memory is ahead of the disk now. Start again from what is really there.
                print(f"cannot write {journal.name}: {error}", flush=True)
                os._exit(1)
        return answer


class Handler(socketserver.StreamRequestHandler):
    def words(self):
        """The next command, or None when the client hung up."""
        line = self.rfile.readline(32)
        if not line:
            return None
        if not line.startswith(b"*") or not 0 < int(line[1:]) <= MAX_WORDS:
            raise ValueError("protocol error")
        words = []
        for _ in range(int(line[1:])):
            length = int(self.rfile.readline(32)[1:])
            if not 0 <= length <= MAX_WORD:
                raise ValueError("protocol error")
            words.append(self.rfile.read(length + 2)[:-2].decode())
        return words

    def handle(self):
        while True:
            try:
                if not (words := self.words()):
                    return
                answer = execute(words[0].upper(), words[1:])
            except (ValueError, TypeError) as error:
                self.wfile.write(f"-ERR {error}\r\n".encode())
                return
            except OSError:
                return
            if answer is True:
                self.wfile.write(b"+PONG\r\n")
            elif answer is None:
                self.wfile.write(b"$-1\r\n")
            elif isinstance(answer, int):
                self.wfile.write(b":%d\r\n" % answer)
            else:
                data = answer.encode()
                self.wfile.write(b"$%d\r\n%s\r\n" % (len(data), data))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


journal = replay(sys.argv[1] if len(sys.argv) > 1 else "store.log")
print(f"store on port {STORE_PORT}, {len(hashes.get('shipped', {}))} orders shipped so far", flush=True)
Server(("127.0.0.1", STORE_PORT), Handler).serve_forever()
