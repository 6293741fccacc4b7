"""The real command, run many times by a process that has imported everything once: each run is a fork of it.

Run as a script it reads jobs from standard input, one JSON object a line, and answers each with one. Nothing computes
in the process itself, so that no thread is lost in a fork.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        arguments: The command's.
        timeout: Seconds after which it is killed.
        when: A file; once it has ``size`` bytes the run is sent ``signal``, or the file ``cut`` is halved.
        largest: Bytes that a file may have: a full disk.
        collect: Garbage is collected early, and once more at the end: what was freed twice shows then.
    """

    arguments: list[str]
    timeout: float = 60
    when: str | None = None
    size: int = 0
    signal: int = signal.SIGKILL
    cut: str | None = None
    largest: int | None = None
    collect: bool = False


@dataclass(frozen=True)
class End:
    """How a run ended: its exit code, or minus the signal's number, or ``None`` if it hung; and what it printed."""

    code: int | None
    err: str
    out: str


class Forks:
    """Runs jobs, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, job: Job) -> End:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        return End(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def forks() -> Iterator[Forks]:
    """The process that forks; it ends with the ``with`` statement."""
    command = [sys.executable, "-W", "ignore", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forks(process)
        assert process.stdin is not None
        process.stdin.close()


def _child(job: Job, out: Path, err: Path) -> None:
    from streammatte.cli.main import main

    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if job.largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.largest, job.largest))
    if job.collect:
        gc.set_threshold(50)
    try:
        code = main(job.arguments)
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 70
    if job.collect:
        gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watched(job: Job, child: int) -> int | None:
    deadline = time.monotonic() + job.timeout
    struck = job.when is None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        if not struck and job.when is not None:
            with contextlib.suppress(OSError):
                struck = Path(job.when).stat().st_size >= job.size
            if struck and job.cut is not None:
                os.truncate(job.cut, Path(job.cut).stat().st_size // 2)
            elif struck:
                os.kill(child, job.signal)
        time.sleep(0.002)


def _serve() -> None:
    import tempfile

    # All that a run imports, so that no fork has to; building a network makes torch import the most.
    import rich.progress  # noqa: F401
    import safetensors.numpy  # noqa: F401
    import torch

    import streammatte.cli.run_display
    import streammatte.media.write.picture_writer
    import streammatte.media.write.video_writer
    import streammatte.quality
    import streammatte.run
    import streammatte.stages

    torch.set_num_threads(1)  # no pool of threads that a fork would wait for
    streammatte.load_model("birefnet-nano", device="cpu")

    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        for line in sys.stdin:
            job = Job(**json.loads(line))
            child = os.fork()
            if not child:
                _child(job, out, err)
            code = _watched(job, child)
            end = End(code, err.read_text(errors="replace"), out.read_text(errors="replace"))
            print(json.dumps(asdict(end)), flush=True)


if __name__ == "__main__":
    _serve()
