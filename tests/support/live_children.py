"""Live outputs in processes of their own, which can be killed, or have a small disk or a display.

Run as a script it imports everything once, and forks for each job: a line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from streammatte.cli.main import main
from streammatte.errors import WriteFailed
from streammatte.frame import ColorSpec, Frame, StreamInfo
from streammatte.live.contracts import Controls, Shown
from streammatte.live.targets import Outputs
from support import clips

SIZE = (96, 72)
INFO = StreamInfo(*SIZE, Fraction(1, 1000), Fraction(25), None, ColorSpec())
LARGE = StreamInfo(640, 360, Fraction(1, 1000), Fraction(25), None, ColorSpec())  # more than a pipe holds


def command(*arguments: str) -> None:
    sys.exit(main(list(arguments)))


def killed(path: str) -> None:
    """Records eight seconds as fast as it can, and is killed."""
    outputs = Outputs([path], INFO, Controls()).__enter__()
    for index in range(200):
        outputs.show(Shown(clips.picture(index % 10, SIZE), index, index / 25))
        time.sleep(0.004)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def on_a_full_disk(path: str) -> None:
    """No file may grow beyond 300 kB: to a writer that is a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    noise = np.random.default_rng(1).integers(0, 256, (150, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    try:
        with Outputs([path], INFO, Controls()) as outputs:
            for index, each in enumerate(noise):
                outputs.show(Shown(each, index, index / 25))
                time.sleep(0.005)
    except WriteFailed as refused:
        assert "out.rescued" in str(refused.hint)
    else:
        raise AssertionError("the disk was not full")


def endless(target: str) -> None:
    """Sends until nobody is left to receive."""
    with Outputs([target], INFO, Controls()) as outputs:
        index = 0
        while not outputs.ended:
            outputs.show(Shown(clips.picture(0, SIZE), index, index / 25))
            index += 1
            time.sleep(0.002)


def with_keys(path: str) -> None:
    """A window and a file; prints what the keys have set once one has asked for the end."""
    controls = Controls()
    raw = Frame(torch.full((3, SIZE[1], SIZE[0]), 255, dtype=torch.uint8), 0, 0)
    with Outputs(["window", path], INFO, controls, backgrounds=2) as outputs:
        index = 0
        while not outputs.ended:
            outputs.before(raw)
            outputs.show(Shown(clips.picture(index % 10, SIZE), index, index / 25))
            index += 1
            time.sleep(0.02)
    print(controls.background, controls.mirror, controls.frozen, controls.quit, flush=True)


def with_a_stopped_window(path: str) -> None:
    """A window whose process hangs, and a file: all pictures are shown, and it ends."""
    folder = Path(path).parent
    (folder / "cv2.py").write_text("raise RuntimeError('the folder of the run was imported from')")
    os.chdir(folder)
    with Outputs(["window", path], LARGE, Controls()) as outputs:
        for index in range(10):
            outputs.show(Shown(clips.picture(index, (640, 360)), index, index / 25))
            time.sleep(0.1)
            if index == 3:
                (window,) = (int(pid) for pid in _children())
                assert os.getpgid(window) != os.getpgrp()  # Ctrl-C in a terminal is for the run alone
                os.kill(window, signal.SIGSTOP)


def _children() -> list[str]:
    return [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


class Child:
    """A running job."""

    def __init__(self, children: Children, pid: int, err: Path) -> None:
        self.err = err
        self._children, self._pid = children, pid

    def wait(self) -> int:
        return self._children.ask({"pid": self._pid})


class Children:
    """Runs functions of this module in processes of their own."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder

    def start(self, name: str, *arguments: str, out: Path | None = None, env: dict[str, str] | None = None) -> Child:
        err = self._folder / f"{name}.err"
        job = {"name": name, "arguments": arguments, "env": env or {}, "out": str(out or os.devnull), "err": str(err)}
        return Child(self, self.ask(job), err)

    def ask(self, job: dict[str, object]) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def children_in(folder: Path) -> Iterator[Children]:
    paths = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    with subprocess.Popen(
        [sys.executable, "-m", "support.live_children"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        yield Children(process, folder)
        assert process.stdin is not None
        process.stdin.close()


def serve() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        job = json.loads(line)
        if "pid" in job:
            print(os.waitstatus_to_exitcode(os.waitpid(job["pid"], 0)[1]), flush=True)
            continue
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        os.environ.update(job["env"])
        for number, path in ((2, job["err"]), (1, job["out"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        code = 0
        try:
            globals()[job["name"]](*job["arguments"])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        except BaseException:
            traceback.print_exc()
            code = 70
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
