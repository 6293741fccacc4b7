"""Check the promises of docs/live.md: python -m benchmarks.live [--minutes 10] [-o benchmarks/results/live.json]

Each part (``--parts``) writes its entries as soon as they are measured, and its progress to standard error. A
promise that does not hold is named under ``error``, and the exit code is 1.

``pairing``    A 640×360 camera at 30 fps in real time, bundled model, light wrap and match over a picture, sent out.
               Rates, latency (until the stream's queue gets a picture), memory; and for every picture that is shown,
               from its pixels alone, whether its alpha belongs to the frame whose number is drawn into it. ``shifted``
               repeats this for some seconds with each frame given the previous one's alpha: the check must fail there.
``privacy``    ``talking`` and ``walk`` over a colour and a picture, live and as files: pixels that differ from the
               background where ground truth is background. And what is shown when no frame is.
``steps``      ``fast``, ``still``, ``walk`` and ``talking`` with each setting of ``auto``, pinned, frame by frame.
``breaking``   What a file contains after the model broke.
``vanishing``  A camera that is killed three times for five seconds.

Ctrl-C ends a part early; what was measured so far is written.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch

from benchmarks.live_privacy import DIFFERS, breaking, in_real_time, step_by_step
from benchmarks.live_run import Keyed, Log, Watched, free_port, nano, of_room, played
from benchmarks.live_scene import LOOP, SIZE, STRIP, Mask, Picture, Scene, overlap, read_number, small
from benchmarks.report import ROOT, CheckFailed, Report, machine, require
from streammatte.frame import Frame
from streammatte.live.adaptive_model import AdaptiveModel
from streammatte.live.contracts import Controls, LiveModel, Shown
from streammatte.live.over_background import Look
from streammatte.live.reconnecting import Capture
from streammatte.live.session import Session, signals_heeded
from streammatte.live.source import LiveSource
from streammatte.live.targets import Outputs
from streammatte.models.device import cores_left_to

SAMPLES = ROOT / "samples"
ANOTHERS = 0.05  # more overlap with another frame's ground truth than with its own; a frame's shift costs 0.1
PARTS = ("pairing", "privacy", "steps", "breaking", "vanishing")
LEAST_RATE = 15  # frames a second
MOST_LATENCY = 250  # milliseconds, 95th percentile
MORE_MEMORY = 0.05  # of what it was at the first minute


class WithStrip:
    """A model that keeps the strip as well, so that the number is shown.

    Args:
        shifted: Give each frame the previous one's alpha, which is wrong.
    """

    def __init__(self, model: LiveModel, *, shifted: bool = False) -> None:
        self._model, self._shifted = model, shifted
        self.took = model.took
        self._before: torch.Tensor | None = None

    @property
    def setting(self) -> str:
        return self._model.setting

    @property
    def exhausted(self) -> bool:
        return self._model.exhausted

    def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
        (alpha,) = self._model(frames)
        alpha = alpha.clone()
        alpha[: STRIP[0], : STRIP[1]] = 1
        before, self._before = self._before, alpha
        return [before if self._shifted and before is not None else alpha]


class Pairing:
    """Whether each picture is cut out by its own frame's alpha, judged from pixels alone."""

    def __init__(self, truths: list[Mask], background: Picture) -> None:
        self._truths, self._background = truths, background.astype(np.int16)
        self._last: int | None = None
        self.looked_at = self.unread = self.out_of_order = self.unlike_index = self.nearer = self.others = 0
        self.overlaps = 0.0

    def __call__(self, shown: Shown) -> None:
        if shown.held:
            return
        number = read_number(shown.rgb)
        if number is None or number >= LOOP:
            self.unread += 1
            return
        self.unlike_index += number != shown.index % LOOP
        last, self._last = self._last, number
        step = 2 if last is None else (number - last) % LOOP
        self.out_of_order += not 0 < step < LOOP // 2
        step = min(max(step, 1), 8)
        silhouette = small(np.abs(shown.rgb[..., :3] - self._background).max(axis=-1) > DIFFERS)
        own, earlier, later = (overlap(silhouette, self._truths[(number + by) % LOOP]) for by in (0, -step, step))
        self.looked_at += 1
        self.overlaps += own
        self.nearer += max(earlier, later) > own
        self.others += max(earlier, later) > own + ANOTHERS

    def figures(self) -> dict[str, object]:
        return {
            "pictures_looked_at": self.looked_at,
            "of_another_frames_alpha": self.others,
            "nearer_to_another_frames_truth": self.nearer,
            "number_unlike_index": self.unlike_index,
            "number_not_read": self.unread,
            "out_of_order": self.out_of_order,
            "mean_overlap_with_own_truth": round(self.overlaps / max(1, self.looked_at), 3),
        }


def pairing(minutes: float, folder: Path, stopped: Callable[[], bool], *, shifted: bool = False) -> dict[str, Any]:
    """Part ``pairing``."""
    clip = folder / "scene.mp4"
    truths = Scene(SAMPLES).write(clip)
    backdrop = backdrop_in(folder)
    log = Log()
    with ExitStack() as stack:
        # A file that never ends, so that it is one camera for ten minutes.
        source = LiveSource(f"lavfi:movie={clip}:loop=0,setpts=N/(30*TB)")
        capture = stack.enter_context(closing(Capture(source)))
        look = stack.enter_context(closing(Look(source.info, [str(backdrop)], Controls())))
        check = Pairing(truths, look.empty(0.0))
        outputs = Outputs([f"udp://127.0.0.1:{free_port()}?pkt_size=1316"], source.info, Controls())
        sending = stack.enter_context(outputs)
        stack.enter_context(cores_left_to(1))

        def load() -> LiveModel:
            return WithStrip(AdaptiveModel(nano()), shifted=shifted)

        watched = cast(Outputs, Watched(check, sending))
        session = Session(capture, load, look, watched, log, float(source.info.frame_rate))
        computed = time.process_time()
        with closing(session):
            session.run(seconds=60 * minutes, stopped=stopped)
        computed = time.process_time() - computed
        status = session.status("stopped", whole=True)
    figures = {
        "seconds": round(status.seconds, 1),
        "cores_used": round(computed / status.seconds, 2),
        "rate_in": round(status.rate_in, 2),
        "rate_out": round(status.rate_out, 2),
        "latency_ms": status.latency_ms,
        "latency_p95_ms": status.latency_p95_ms,
        "dropped": status.dropped,
        "dropped_by_outputs": status.dropped_by_outputs,
        "held": status.held,
        "failed": status.failed,
        "setting_at_the_end": status.setting,
        **check.figures(),
    }
    first = next((entry for entry in log.memory if entry[0] >= 60), None)
    if first is not None:
        figures["memory_mib"] = {f"at_{first[0]:.0f}_s": round(first[1]), "at_the_end": round(log.memory[-1][1])}
    return figures


def vanishing(times: int, seconds: float, stopped: Callable[[], bool]) -> dict[str, Any]:
    """Part ``vanishing``."""
    address = f"udp://127.0.0.1:{free_port()}"
    shown_of_room = pictures = held = 0

    def count(shown: Shown) -> None:
        nonlocal shown_of_room, pictures, held
        pictures += 1
        held += shown.held
        shown_of_room += of_room(shown.rgb)

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "benchmarks.live_scene", f"{address}?pkt_size=1316"])

    camera: subprocess.Popen[bytes] | None = begin()
    found, change, gone = 0, 0.0, 0

    def script(session: Session) -> bool:
        nonlocal camera, found, change, gone
        now, status = time.monotonic(), session.status()
        if camera is None and now >= change:
            camera = begin()
        elif camera is not None and status.reconnections == gone and status.rate_in > 5:
            change = change if change > now else now + 3
            if found != gone:
                found, change = gone, now + 3
        if camera is not None and status.reconnections == gone and change and now >= change - 0.1:
            if gone == times:
                return True
            camera.kill()
            camera.wait()
            camera, change, gone = None, now + seconds, gone + 1
        return stopped()

    try:
        session = played(LiveSource(address), Keyed, count, script_of=script)
        reconnections = session.status().reconnections
    finally:
        if camera is not None:
            camera.kill()
            camera.wait()
    return {
        "vanished": times,
        "seconds_each": seconds,
        "reconnections": reconnections,
        "pictures": pictures,
        "held": held,
        "pixels_of_the_room": shown_of_room,
    }


def backdrop_in(folder: Path) -> Path:
    """A picture as a background."""
    path = folder / "backdrop.png"
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    cv2.imwrite(str(path), np.stack([200 - x // 8, 60 + y // 4, 30 + x // 10], axis=-1).astype(np.uint8))
    return path


def check_pairing(figures: dict[str, Any]) -> None:
    """Raises ``CheckFailed`` for the first promise that does not hold."""
    if not figures["pictures_looked_at"]:
        raise CheckFailed("no picture was looked at")
    for wrong in ("of_another_frames_alpha", "number_unlike_index", "number_not_read", "out_of_order", "failed"):
        require(figures[wrong], 0, wrong)
    require(LEAST_RATE - figures["rate_out"], 0, f"what is missing of {LEAST_RATE} pictures a second")
    require(figures["latency_p95_ms"], MOST_LATENCY, "the 95th percentile of latency in milliseconds")
    if "memory_mib" in figures:
        first, last = figures["memory_mib"].values()
        require(last / first, 1 + MORE_MEMORY, "memory at the end, to that at the first minute,")


def check_no_more(live: dict[str, float], as_a_file: dict[str, float], what: str) -> None:
    require(live["share_of_pixels"], as_a_file["share_of_pixels"], f"the room shown {what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="length of pairing (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="that the camera is gone for (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/live.json")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="these only, added to the file")
    given = parser.parse_args()
    report = Report(given.output)
    report.facts(**machine())
    with tempfile.TemporaryDirectory() as name, signals_heeded() as asked:
        folder, stopped = Path(name), asked.is_set
        if "pairing" in given.parts:
            with report.entry("pairing", "own alphas") as entry:
                entry.update(pairing(given.minutes, folder, stopped))
                check_pairing(entry)
            with report.entry("pairing", "shifted, must be seen") as entry:
                entry.update(pairing(min(given.minutes, 0.25), folder, stopped, shifted=True))
                if entry["of_another_frames_alpha"] < max(1, entry["pictures_looked_at"] / 2):
                    raise CheckFailed("alphas of other frames went unseen")
        if "privacy" in given.parts:
            for clip in ("talking", "walk"):
                for background in ("0,177,64", str(backdrop_in(folder))):
                    with report.entry("privacy", f"{clip} before {Path(background).name}") as entry:
                        entry.update(in_real_time(clip, background, stopped))
                        require(entry["pixels_beside_frames"], 0, "pixels beside frames")
                        check_no_more(entry["live"], entry["as_a_file"], "live")
        if "steps" in given.parts:
            for clip in ("fast", "still", "walk", "talking"):
                with report.entry("steps", clip) as entry:
                    entry.update(step_by_step(clip))
                    for setting, share in list(entry.items()):
                        check_no_more(share, entry["as_a_file"], setting)
        if "breaking" in given.parts:
            with report.entry("breaking", "a model that breaks") as entry:
                entry.update(breaking(folder))
                require(entry["pixels_of_the_room"], 0, "pixels of the room")
                if entry["ended_by"] != "broken on purpose" or entry["frames_shown"] != 10:
                    raise CheckFailed("it did not break as intended")
        if "vanishing" in given.parts:
            with report.entry("vanishing", "a stream") as entry:
                entry.update(vanishing(3, given.seconds, stopped))
                require(entry["pixels_of_the_room"], 0, "pixels of the room")
                require(abs(entry["reconnections"] - entry["vanished"]), 0, "reconnections missing")
    for failure in report.failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if report.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
