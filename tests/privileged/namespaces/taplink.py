#!/usr/bin/env python3
"""A bad cable between two TAP interfaces, in user space, since not every kernel has netem.

usage: taplink.py TAP TAP DELAY_MS LOSS

Each frame comes out at the other end DELAY_MS later; the part LOSS of them, 0 to 1, never does. Prints "up" when it works, and
runs until it is killed.
"""
import collections
import fcntl
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
FRAME = 65536


def tap(name):
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TAP | IFF_NO_PI))
    return file


def main():
    one, other = tap(sys.argv[1]), tap(sys.argv[2])
    delay, loss = float(sys.argv[3]) / 1000, float(sys.argv[4])
    peer = {one: other, other: one}
    # When, where to, what: in the order of their times, as the delay is the same for all.
    on_the_way = collections.deque()
    print("up", flush=True)
    while True:
        now = time.monotonic()
        while on_the_way and on_the_way[0][0] <= now:
            _, to, frame = on_the_way.popleft()
            try:
                os.write(to, frame)
            except OSError:
                pass  # The interface is down, or full: the frame is lost, as on any cable.
        wait = max(0, on_the_way[0][0] - time.monotonic()) if on_the_way else None
        for ready in select.select([one, other], [], [], wait)[0]:
            try:
                frame = os.read(ready, FRAME)
            except OSError:
                continue
            if random.random() >= loss:
                on_the_way.append((time.monotonic() + delay, peer[ready], frame))


main()
