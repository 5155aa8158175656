#!/usr/bin/env python3
"""Carries Ethernet frames between two new TAP devices, each frame so many milliseconds late: delay.py DEVICE DEVICE MS

Ends when a device is taken away. A queue that is full loses frames, as a router does.
"""
import collections
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
QUEUE_FRAMES = 20000


def tap(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


def main():
    devices = [tap(sys.argv[1]), tap(sys.argv[2])]
    other = {devices[0]: devices[1], devices[1]: devices[0]}
    delay_s = float(sys.argv[3]) / 1000
    queue = collections.deque()  # (when it leaves, to which device, frame): one delay, so in the order of coming
    while True:
        wait_s = max(0.0, queue[0][0] - time.monotonic()) if queue else 1.0
        for device in select.select(devices, [], [], wait_s)[0]:
            try:
                while True:
                    frame = os.read(device, 65536)
                    if len(queue) < QUEUE_FRAMES:
                        queue.append((time.monotonic() + delay_s, other[device], frame))
            except BlockingIOError:
                pass
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, device, frame = queue.popleft()
            try:
                os.write(device, frame)
            except BlockingIOError:
                pass  # lost
            except OSError as error:
                if error.errno == 5:  # not up yet, or no longer
                    continue
                raise


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"delay.py: {error}")
