"""The process that a window lives in: it reads pictures from standard input and prints what was drawn and pressed.

A window has a process to itself because Qt, which draws OpenCV's windows on Linux, ends a process that has no display;
because PyAV's and OpenCV's wheels each bring an X library, and one process can bear only one; and because window
systems need a process's main thread. It is run as ``python -P window_process.py NAME WIDTH HEIGHT``, so that nothing is
imported from the current folder; it imports nothing of the package either.

Input: for each picture its height and width as two little-endian 32-bit numbers, and its pixels, BGR in 8 bits. Output:
lines of ``open``, ``drawn``, ``key N`` and ``closed``.
"""

from __future__ import annotations

import queue
import signal
import struct
import sys
import threading
from typing import BinaryIO

import cv2
import numpy as np

HEAD = struct.Struct("<II")
_WAIT = 10  # milliseconds to wait for a key


def _read(pictures: queue.Queue[np.ndarray | None], stream: BinaryIO) -> None:
    while len(head := stream.read(HEAD.size)) == HEAD.size:
        height, width = HEAD.unpack(head)
        pixels = stream.read(3 * height * width)
        if len(pixels) < 3 * height * width:
            break
        pictures.put(np.frombuffer(pixels, np.uint8).reshape(height, width, 3))
    pictures.put(None)


def main(name: str, width: int, height: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the run, which closes the window
    cv2.namedWindow(name, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    cv2.resizeWindow(name, width, height)
    print("open", flush=True)
    pictures: queue.Queue[np.ndarray | None] = queue.Queue(1)
    threading.Thread(target=_read, args=(pictures, sys.stdin.buffer), daemon=True).start()
    shown = False
    while True:
        try:
            picture = pictures.get_nowait()
            if picture is None:
                return
            cv2.imshow(name, picture)
            shown = True
            print("drawn", flush=True)
        except queue.Empty:
            pass
        key = cv2.waitKey(_WAIT)
        if key >= 0:
            print("key", key & 0xFF, flush=True)
        if shown and cv2.getWindowProperty(name, cv2.WND_PROP_VISIBLE) < 1:
            print("closed", flush=True)
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
