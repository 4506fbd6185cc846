"""The broker as nats-py sees it. Usage: nats_py.py HOST:PORT

Prints the name of each part that passed; prints `restart` and waits for a line when it wants the broker restarted.
"""

import asyncio
import sys

try:
    import nats
    from nats import errors
except ImportError:
    sys.exit("nats-py is missing: install the PyPI package nats-py")

DEADLINE = 20


async def connect(address, user, **more):
    return await nats.connect(
        f"nats://{user}:{user}@{address}",
        inbox_prefix=f"_INBOX.{user}".encode(),
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
        **more,
    )


async def publish_and_subscribe(a, b):
    sub = await a.subscribe("app.one")
    await a.flush()
    await b.publish("app.one", b"hello")
    message = await sub.next_msg(DEADLINE)
    assert (message.subject, message.data) == ("app.one", b"hello"), message
    await sub.unsubscribe()


async def wildcards(a, b):
    star, rest = await a.subscribe("app.*.x"), await a.subscribe("app.>")
    await a.flush()
    for subject in ("app.1.x", "app.1.y", "app.1.x.z"):
        await b.publish(subject)
    assert (await star.next_msg(DEADLINE)).subject == "app.1.x"
    seen = [(await rest.next_msg(DEADLINE)).subject for _ in range(3)]
    assert seen == ["app.1.x", "app.1.y", "app.1.x.z"], seen
    assert star.pending_msgs == 0
    for sub in (star, rest):
        await sub.unsubscribe()


async def queue_groups(a, b):
    counts, done = [0, 0, 0], asyncio.Event()

    def member(index):
        async def count(_message):
            counts[index] += 1
            if sum(counts) == 90:
                done.set()

        return count

    subs = [await a.subscribe("app.job", queue="workers", cb=member(n)) for n in range(3)]
    await a.flush()
    for _ in range(90):
        await b.publish("app.job")
    await asyncio.wait_for(done.wait(), DEADLINE)
    assert sum(counts) == 90 and min(counts) > 5, counts
    for sub in subs:
        await sub.unsubscribe()


async def headers(a, b):
    sub = await a.subscribe("app.headed")
    await a.flush()
    await b.publish("app.headed", b"body", headers={"Trace": "a: b"})
    message = await sub.next_msg(DEADLINE)
    assert (message.headers, message.data) == ({"Trace": "a: b"}, b"body"), message
    await sub.unsubscribe()


async def request_and_reply(a, b):
    async def answer(message):
        await message.respond(message.data[::-1])

    sub = await b.subscribe("app.echo", cb=answer)
    await b.flush()
    answers = await asyncio.gather(*(a.request("app.echo", b"%03d" % n, timeout=DEADLINE) for n in range(50)))
    assert [m.data for m in answers] == [(b"%03d" % n)[::-1] for n in range(50)]
    await sub.unsubscribe()


async def no_responders(a, _b):
    try:
        await a.request("app.nobody", b"", timeout=DEADLINE)
    except errors.NoRespondersError:
        return
    raise AssertionError("no error")


async def permission_errors(address):
    seen = asyncio.Queue()

    async def note(error):
        # nats-py gives errors in lower case.
        await seen.put(str(error))

    app = await connect(address, "app", error_cb=note)
    await app.publish("other", b"x")
    got = await asyncio.wait_for(seen.get(), DEADLINE)
    assert 'permissions violation for publish to "other"' in got, got
    await app.subscribe("other.>")
    got = await asyncio.wait_for(seen.get(), DEADLINE)
    assert 'permissions violation for subscription to "other.>"' in got, got
    assert app.is_connected
    await app.close()
    try:
        await nats.connect(f"nats://app:wrong@{address}", allow_reconnect=False, max_reconnect_attempts=1)
    except errors.Error as error:
        assert "authorization violation" in str(error).lower(), error
        return
    raise AssertionError("a wrong password was let in")


async def max_payload(a, _b):
    sub = await a.subscribe("app.large")
    await a.publish("app.large", b"x" * a.max_payload)
    assert len((await sub.next_msg(DEADLINE)).data) == a.max_payload
    try:
        await a.publish("app.large", b"x" * (a.max_payload + 1))
    except errors.MaxPayloadError:
        await sub.unsubscribe()
        return
    raise AssertionError("too large, yet sent")


async def reconnect(address):
    back = asyncio.Event()

    async def note():
        back.set()

    a = await connect(address, "all", reconnected_cb=note)
    sub = await a.subscribe("app.again")
    await a.flush()
    print("restart", flush=True)
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    assert line == "restarted\n", line
    await asyncio.wait_for(back.wait(), DEADLINE)
    await a.publish("app.again", b"still here")
    assert (await sub.next_msg(DEADLINE)).data == b"still here"
    await a.close()


async def main(address):
    a, b = await connect(address, "all"), await connect(address, "app")
    parts = [
        publish_and_subscribe, wildcards, queue_groups, headers, request_and_reply, no_responders,
    ]
    for part in parts:
        await part(a, b)
        print(part.__name__.replace("_", " "), flush=True)
    await permission_errors(address)
    print("permission errors", flush=True)
    await max_payload(a, b)
    print("max payload", flush=True)
    await a.close()
    await b.close()
    await reconnect(address)
    print("reconnect", flush=True)


asyncio.run(main(sys.argv[1]))
