"""The window of a live run under a virtual screen: keys pressed, and a sheet of screenshots to look at.

    python -m benchmarks.window samples/talking.mp4 -o sheet.png --bg beach.jpg --bg blur

Needs Xvfb and xdotool. Each picture of the sheet is the whole screen after a key, which stands at its left edge.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray

SCREEN = (800, 480)
KEYS = ("", "r", "m", "r", "b", "f", "h")

# In a process of its own: PyAV's and OpenCV's wheels each bring an X library, and one process bears one of them.
_GRAB = """
import sys, av
options = {"video_size": sys.argv[2], "draw_mouse": "0"}
with av.open(sys.argv[1], format="x11grab", options=options) as screen:
    sys.stdout.buffer.write(next(screen.decode(video=0)).to_ndarray(format="bgr24").tobytes())
"""


@contextmanager
def virtual_screen(size: tuple[int, int] = SCREEN) -> Iterator[dict[str, str]]:
    """Xvfb on a display that it chooses itself; yields the environment in which programs are on it."""
    screen = ["-screen", "0", f"{size[0]}x{size[1]}x24"]
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", "1", *screen], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert server.stdout is not None
        with server.stdout:
            yield {**os.environ, "DISPLAY": f":{server.stdout.readline().strip()}"}
    finally:
        server.terminate()
        server.wait()


def screenshot(screen: dict[str, str], size: tuple[int, int] = SCREEN) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, BGR."""
    arguments = [sys.executable, "-c", _GRAB, screen["DISPLAY"], f"{size[0]}x{size[1]}"]
    grabbed = subprocess.run(arguments, env=screen, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(grabbed.stdout, np.uint8).reshape(size[1], size[0], 3)


def press(key: str, screen: dict[str, str]) -> None:
    """In the window of a live run."""
    subprocess.run(
        ["xdotool", "search", "--onlyvisible", "--name", "^streammatte$", "windowfocus", "key", key],
        env=screen,
        check=True,
    )


def wait_for_window(screen: dict[str, str], patience: float = 60) -> None:
    """Until a live run has opened its window."""
    search = ["xdotool", "search", "--onlyvisible", "--name", "^streammatte$"]
    end = time.monotonic() + patience
    while subprocess.run(search, env=screen, stdout=subprocess.DEVNULL).returncode:
        if time.monotonic() > end:
            raise TimeoutError("no window has opened")
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camera")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--bg", action="append", default=[])
    parser.add_argument("--model", default="birefnet-nano")
    given = parser.parse_args()

    command = [sys.executable, "-m", "streammatte", "live", "--camera", given.camera, "--model", given.model]
    command += ["--to", "window", *(word for bg in given.bg for word in ("--bg", bg))]
    shots = []
    with virtual_screen() as screen:
        run = subprocess.Popen(command, env=screen, stdout=subprocess.DEVNULL)
        try:
            wait_for_window(screen)
            time.sleep(2)
            for key in KEYS:
                if key:
                    press(key, screen)
                    time.sleep(1)
                shot = screenshot(screen).copy()
                cv2.putText(shot, key or "-", (4, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 255, 255), 2)
                shots.append(shot)
            press("q", screen)
            print("exit code after q:", run.wait(30))
        finally:
            run.kill()
            run.wait()
    shots += [np.zeros_like(shots[0])] * (-len(shots) % 3)
    rows = [np.hstack(shots[place : place + 3]) for place in range(0, len(shots), 3)]
    cv2.imwrite(given.output, np.vstack(rows))


if __name__ == "__main__":
    main()
