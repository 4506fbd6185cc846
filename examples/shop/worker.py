"""Ships orders, one at a time, and tells its supervisor that it is alive.

An order moves from `orders` to `working`, is entered under `shipped` by its id, and only then leaves `working`. Killed at
any point, the next worker finds it in `working` and enters it again under the same id: it is shipped once.
"""

import json
import time

from shop import Bus, Store, heartbeat_seconds, notify


def ship(store, bus, text):
    order = json.loads(text)
    time.sleep(0.02)  # wrapping it up
    store.call("HSET", "shipped", order["id"], order["item"])
    store.call("LREM", "working", 1, text)
    bus.publish("shop.orders.shipped", order)


def main():
    store, bus = Store(), Bus()
    every, beat_at, ready = heartbeat_seconds(), 0.0, False
    while True:
        # The heartbeat comes from the loop that does the work: a loop that is stuck must stop beating.
        if time.monotonic() >= beat_at:
            notify("WATCHDOG=1")
            beat_at = time.monotonic() + every
        try:
            left = store.call("LINDEX", "working", -1)
            text = left or store.call("LMOVE", "orders", "working", "RIGHT", "LEFT")
            if not ready:
                ready = True
                notify("READY=1\nSTATUS=waiting for orders")
                print("shipping orders")
            if text:
                ship(store, bus, text)
                continue
        except (OSError, RuntimeError) as error:
            print(f"store: {error}")
        time.sleep(min(0.2, every))


main()
