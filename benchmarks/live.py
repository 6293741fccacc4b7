"""What a live run must hold: python -m benchmarks.live [--minutes 10] [-o benchmarks/results/live.json]

Three parts, each an entry of the file as soon as it is done, with its progress on standard output:

``pairing``    A camera of 640×360 at 30 frames a second in real time, the embedded model, light wrap and match before a
               picture, a stream out. Rates, latency, memory; and of every picture that is shown, from its pixels
               alone, whether its alpha is that of the number that is drawn into it. ``shifted`` is the same for some
               seconds with each frame given the alpha of the one shown before: there the check must fail.
``privacy``    ``talking`` and ``walk`` before a colour, live and as files: pixels where the truth says background and
               the picture something else. And what is shown before the first matte, when it breaks, and at the end.
``vanishing``  A camera that is killed three times for five seconds.

Ctrl-C ends a part early; what was measured till then is on file.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch

import streammatte
from benchmarks.live_scene import LOOP, ROOM, SIZE, STRIP, Mask, Picture, Scene, overlap, read_number, small
from benchmarks.report import ROOT, CheckFailed, Report, machine
from streammatte.frame import Frame, Plate
from streammatte.live.capture import Capture
from streammatte.live.contracts import Captured, LiveMatter, Shown
from streammatte.live.controls import Controls
from streammatte.live.look import Look
from streammatte.live.matting import AdaptiveMatter
from streammatte.live.outputs import Outputs
from streammatte.live.session import Session, signals_heeded
from streammatte.live.status import Status
from streammatte.matting import BiRefNetMatter, cores_left_to
from streammatte.media.background import open_background
from streammatte.media.composing import at_depth, colors
from streammatte.media.live_source import LiveSource
from streammatte.stages import stages_for

SAMPLES = ROOT / "samples"
GREEN = (0, 177, 64)
ANOTHERS = 0.05  # more overlap with another frame's truth than with the own; a frame's shift costs 0.1 and more
DIFFERS = 24  # levels from the background, of 255: more than coding and light leave


class Log:
    """Says how it goes every ten seconds, and keeps what memory was at the first minute and last."""

    def __init__(self) -> None:
        self._begin = self._said = time.monotonic()
        self.memory: list[tuple[float, float]] = []

    def notice(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def fetching(self, done: int, total: int | None) -> None: ...

    def status(self, status: Status) -> None:
        now = time.monotonic()
        if now - self._said >= 10:
            self._said = now
            self.memory.append((now - self._begin, resident_mib()))
            print(f"  {now - self._begin:5.0f} s  {status.line()}, {self.memory[-1][1]:.0f} MiB", flush=True)


class Watched:
    """Outputs that look at what is shown before it goes on."""

    def __init__(self, look_at: Callable[[Shown], None], outputs: Outputs | None = None) -> None:
        self._look_at, self._outputs = look_at, outputs
        self.failures: list[Any] = [] if outputs is None else outputs.failures
        self.notes: list[str] = [] if outputs is None else outputs.notes

    @property
    def ended(self) -> bool:
        return self._outputs is not None and self._outputs.ended

    @property
    def dropped(self) -> int:
        return 0 if self._outputs is None else self._outputs.dropped

    def before(self, frame: Frame) -> None: ...

    def show(self, shown: Shown) -> None:
        self._look_at(shown)
        if self._outputs is not None:
            self._outputs.show(shown)


class WithStrip:
    """A matter that keeps the strip, too, so that the number is shown.

    Args:
        shifted: Give each frame the alpha of the one before, which is wrong.
    """

    def __init__(self, matter: LiveMatter, *, shifted: bool = False) -> None:
        self._matter, self._shifted = matter, shifted
        self._before: torch.Tensor | None = None

    @property
    def setting(self) -> str:
        return self._matter.setting

    @property
    def exhausted(self) -> bool:
        return self._matter.exhausted

    def __call__(self, captured: Captured) -> Plate:
        plate = self._matter(captured)
        alpha = plate.alpha.clone()
        alpha[: STRIP[0], : STRIP[1]] = 1
        before, self._before = self._before, alpha
        return replace(plate, alpha=before if self._shifted and before is not None else alpha)


class Pairing:
    """Whether what is shown is cut out by the alpha of the frame that it shows: told from pixels alone."""

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
    """The first part."""
    clip = folder / "scene.mp4"
    truths = Scene(SAMPLES).write(clip)
    backdrop = folder / "backdrop.png"
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    cv2.imwrite(str(backdrop), np.stack([200 - x // 8, 60 + y // 4, 30 + x // 10], axis=-1).astype(np.uint8))
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

        def load() -> LiveMatter:
            return WithStrip(AdaptiveMatter(nano()), shifted=shifted)

        session = Session(capture, load, look, cast(Outputs, Watched(check, sending)), source.info, log)
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
    if log.memory:
        first = next((entry for entry in log.memory if entry[0] >= 60), log.memory[0])
        figures["memory_mib"] = {f"at_{first[0]:.0f}_s": round(first[1]), "at_the_end": round(log.memory[-1][1])}
    return figures


def privacy(name: str, stopped: Callable[[], bool]) -> dict[str, Any]:
    """The second part: one clip live, and the same frames as a file."""
    clip = SAMPLES / f"{name}.mp4"
    with streammatte.open_source(SAMPLES / f"{name}.alpha.mkv") as source:
        # Only what is nobody's for certain; pixels at the edge belong to both.
        rooms = [plate.alpha.numpy() == 0 for plate in source.plates()]
    kept: dict[int, Picture] = {}
    beside = 0

    def keep(shown: Shown) -> None:
        nonlocal beside
        if shown.held:
            again = shown.index in kept and np.array_equal(shown.rgb, kept[shown.index])
            beside += 0 if again else differing(shown.rgb)
        else:
            kept[shown.index] = shown.rgb.copy()

    played(LiveSource(str(clip)), lambda: AdaptiveMatter(nano()), keep, stopped)
    matter = nano()
    as_file: dict[int, Picture] = {}
    with streammatte.open_source(clip) as source:
        green = open_background("0,177,64", source.info)
        for plate in streammatte.matte(source, matter, stages_for(matter.size)):
            as_file[plate.frame.index] = cast(Picture, at_depth(colors(plate, "straight", green), 8))
    return {
        "frames": len(kept),
        "of_the_truths_background_live": share_of_room(kept, rooms),
        "of_the_truths_background_as_a_file": share_of_room({index: as_file[index] for index in kept}, rooms),
        "pixels_beside_frames": beside,
    }


def share_of_room(pictures: dict[int, Picture], rooms: list[Mask]) -> dict[str, float]:
    """Of the truth's background: the share of pixels that show something else than the background, and by how much."""
    pixels = sum(int(rooms[index].sum()) for index in pictures)
    apart = [np.abs(rgb.astype(int) - GREEN).max(axis=-1)[rooms[index]] for index, rgb in pictures.items()]
    return {
        "share_of_pixels": round(sum(int((each > DIFFERS).sum()) for each in apart) / pixels, 5),
        "mean_levels_off": round(sum(int(each.sum()) for each in apart) / pixels, 3),
    }


class Breaking:
    """Right for ten frames, then fails for good."""

    exhausted = False
    setting = "breaking"

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, captured: Captured) -> Plate:
        self._count += 1
        if self._count > 10:
            raise RuntimeError("broken on purpose")
        return Plate(captured.frame, loud_alpha(captured.frame))


class Keyed(Breaking):
    """The room is one colour, and the matter knows it: whatever of it is shown is the session's fault."""

    setting = "by colour"

    def __call__(self, captured: Captured) -> Plate:
        return Plate(captured.frame, loud_alpha(captured.frame))


def loud_alpha(frame: Frame) -> torch.Tensor:
    return ((frame.rgb.int() - torch.tensor(ROOM)[:, None, None]).abs().amax(0) > 120).float()


def of_room(rgb: Picture) -> int:
    return int((np.abs(rgb[..., :3].astype(int) - ROOM).max(axis=-1) < 90).sum())


def vanishing(times: int, seconds: float, stopped: Callable[[], bool]) -> dict[str, Any]:
    """The third part."""
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
    if reconnections != times or shown_of_room:
        raise CheckFailed(f"{reconnections} reconnections, {shown_of_room} pixels of the room")
    return {
        "vanished": times,
        "seconds_each": seconds,
        "reconnections": reconnections,
        "pictures": pictures,
        "held": held,
        "pixels_of_the_room": shown_of_room,
    }


def breaking() -> dict[str, Any]:
    """What is shown when the matter fails midway: nothing new, and nothing of the room."""
    address = "lavfi:color=c=0xff00ff:size=320x180:rate=30,drawbox=x=60:y=40:w=80:h=80:color=white:t=fill,format=gbrp"
    pictures: list[tuple[bool, int]] = []
    error = ""
    try:
        played(LiveSource(address), Breaking, lambda shown: pictures.append((shown.held, of_room(shown.rgb))))
    except RuntimeError as exc:
        error = str(exc)
    return {
        "ended_by": error,
        "frames_shown": sum(not held for held, _ in pictures),
        "held": sum(held for held, _ in pictures),
        "pixels_of_the_room": sum(count for _, count in pictures),
    }


def played(
    source: LiveSource,
    load: Callable[[], LiveMatter],
    look_at: Callable[[Shown], None],
    stopped: Callable[[], bool] = lambda: False,
    *,
    script_of: Callable[[Session], bool] | None = None,
) -> Session:
    """A session over green until the source ends, or it is stopped."""
    with closing(Capture(source)) as capture, closing(Look(source.info, ["0,177,64"], Controls())) as look:
        session = Session(capture, load, look, cast(Outputs, Watched(look_at)), source.info, Log())
        with closing(session):
            session.run(seconds=None, stopped=stopped if script_of is None else lambda: script_of(session))
        return session


def differing(rgb: Picture) -> int:
    return int((np.abs(rgb.astype(int) - GREEN).max(axis=-1) > 0).sum())


def nano() -> BiRefNetMatter:
    return streammatte.load_matter("birefnet-nano", device="cpu")


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of the first part (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="that the camera is gone for (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/live.json")
    parser.add_argument("--only", choices=("pairing", "privacy", "vanishing"), action="append")
    given = parser.parse_args()
    wanted = given.only or ("pairing", "privacy", "vanishing")
    report = Report(given.output)
    report.facts(**machine())
    with tempfile.TemporaryDirectory() as name, signals_heeded() as asked:
        folder, stopped = Path(name), asked.is_set
        if "pairing" in wanted:
            with report.entry("pairing", "own alphas") as entry:
                entry.update(pairing(given.minutes, folder, stopped))
            with report.entry("pairing", "shifted, must be seen") as entry:
                entry.update(pairing(min(given.minutes, 0.25), folder, stopped, shifted=True))
                if entry["of_another_frames_alpha"] < entry["pictures_looked_at"] / 2:
                    raise CheckFailed("alphas of other frames went unseen")
        if "privacy" in wanted:
            for clip in ("talking", "walk"):
                with report.entry("privacy", clip) as entry:
                    entry.update(privacy(clip, stopped))
            with report.entry("privacy", "a matter that breaks") as entry:
                entry.update(breaking())
        if "vanishing" in wanted:
            with report.entry("vanishing", "a stream") as entry:
                entry.update(vanishing(3, given.seconds, stopped))
    return 1 if report.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
