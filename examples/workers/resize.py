"""A worker of one's own: runs tasks of the kind `resize`. The protocol is in docs/workers.md; it needs nats-py."""

import asyncio, json, os, uuid
import nats

NAME, RUN = os.environ.get("GRACE_COMPONENT", "resizer"), uuid.uuid4().hex


def resize(path, out, token):
    """Halves a grey picture (binary PGM). Run twice it does the same; the token keeps two runs out of each other's file."""
    with open(path, "rb") as file:
        magic, size, most, pixels = file.readline(), file.readline(), file.readline(), file.read()
    width, height = map(int, size.split())
    rows = [pixels[y * width : (y + 1) * width : 2] for y in range(0, height, 2)]
    with open(f"{out}.{token}", "wb") as file:
        file.write(b"%s%d %d\n%s%s" % (magic, len(rows[0]), len(rows), most, b"".join(rows)))
    os.replace(f"{out}.{token}", out)
    return {"width": len(rows[0]), "height": len(rows)}


async def main():
    bus = await nats.connect(os.environ["NATS_URL"], inbox_prefix=f"_INBOX.{NAME}".encode())

    async def ask(verb, command, wait=0):
        """Sends it until it is answered: it may arrive twice, and counts once."""
        body, headers = json.dumps({"command": command}).encode(), {"Grace-Wait-Ms": str(wait * 1000)}
        while True:
            try:
                answer = await bus.request(f"grace.work.{verb}.{NAME}", body, wait + 5, headers=headers)
                answer = json.loads(answer.data)
                if "error" not in answer:
                    return answer.get("done")
                print(answer["error"]["message"])
            except nats.errors.Error as error:
                print(f"the task manager is away: {error}")
            await asyncio.sleep(0.2)

    async def beat(every):
        while True:
            await asyncio.sleep(every)
            await ask("beat", {"beat": {"worker": NAME}})

    number = 0
    while True:
        offer = {"name": NAME, "incarnation": RUN, "kinds": ["resize"], "slots": 1}
        known = await ask("register", {"register": offer})
        beats = asyncio.create_task(beat(known["registered"]["beat_ms"] / 1000))
        while True:
            number += 1
            wanted = {"worker": NAME, "max": 1, "request": f"{RUN}-{number}"}
            grant = (await ask("lease", {"lease": {"asks": [wanted]}}, 10))["leased"]["grants"][0]
            if grant.get("refused"):
                break  # It was silent for too long: others have its tasks. It registers again.
            for task in grant["tasks"]:
                answer = {"task": task["task"], "token": task["token"]}
                try:
                    answer["output"] = await asyncio.to_thread(resize, **task["input"], token=task["token"])
                except Exception as error:
                    answer["failed"] = str(error)
                said = {"worker": NAME, "answers": [answer]}
                while (done := await ask("answer", {"answer": said})) and "later" in done["answered"]["verdicts"][0]:
                    await asyncio.sleep(2)  # The disk is almost full: it is put on record when there is room.
        beats.cancel()


asyncio.run(main())
