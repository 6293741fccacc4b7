"""A live run: the newest frame, its alpha, its picture, everywhere it goes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from streammatte.live.capture import Capture
from streammatte.live.contracts import LiveMatter, Shown
from streammatte.live.controls import Controls
from streammatte.live.network import Mattes
from streammatte.live.status import Gauge, State, Status

if TYPE_CHECKING:
    from streammatte.frame import StreamInfo
    from streammatte.live.look import Look
    from streammatte.live.options import LiveOptions
    from streammatte.live.outputs import Outputs

_HOLD_AFTER = 0.5  # seconds without a frame, after which the last picture is sent again
_HOLD_FOR = 10.0  # seconds; then the background alone: nobody stands so still
_STATUS_EVERY = 0.25  # seconds
_HELD = "the last picture is held for {seconds:.0f} seconds, then the background, until it is back"


class Display(Protocol):
    """What a run tells whoever is watching; from any thread."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def status(self, status: Status) -> None: ...


def run_live(options: LiveOptions, display: Display) -> Status:
    """Until the camera's file ends, the time is over, a key or a signal asks for the end.

    Nothing of a frame leaves but through ``Look``, with its own alpha. Until there is one, and when frames have stayed
    away for ten seconds, the background is shown; in shorter gaps, the last picture.

    Returns:
        How it did, over all of the run.

    Raises:
        StreammatteError: No camera, no model, an output that cannot be opened, or the last one that has failed.
    """
    from streammatte.live.look import Look, rounds
    from streammatte.live.matting import AdaptiveMatter, live_matter
    from streammatte.live.outputs import Outputs, check_outputs
    from streammatte.matting import cores_left_to
    from streammatte.media.live_source import LiveSource

    backgrounds = rounds(options.backgrounds)
    targets = options.outputs or ("camera",)
    check_outputs(
        targets,
        alpha="transparent" in backgrounds,
        overwrite=options.overwrite,
        json=options.json,
        read=[(options.camera or "", "the camera itself"), *((name, "the background itself") for name in backgrounds)],
    )
    with signals_heeded() as asked_to_stop, ExitStack() as running:
        source = LiveSource(options.camera, size=options.size, rate=options.rate)
        # The threads are entered first, and left last: files are whole before anybody waits for a network.
        capture = running.enter_context(closing(Capture(source)))
        for note in source.notes:
            display.notice(note)
        info = source.info
        controls = Controls(mirror=options.mirror)
        look = Look(
            info,
            backgrounds,
            controls,
            light_wrap=options.light_wrap == "on",
            match=options.match == "on",
            feather=options.feather,
        )
        running.callback(look.close)

        def load() -> LiveMatter:
            matter = live_matter(options, on_progress=display.fetching, on_notice=display.notice)
            session.model, session.device = matter.name, str(matter.device)
            return AdaptiveMatter(matter, options.quality, info.frame_rate)

        with Outputs(
            targets, info, controls, alpha=look.alpha, overwrite=options.overwrite, backgrounds=len(backgrounds)
        ) as outputs:
            running.enter_context(cores_left_to(1))
            session = Session(capture, load, look, outputs, info, display, pinned=options.quality != "auto")
            running.callback(session.close)
            session.run(seconds=options.seconds, stopped=asked_to_stop.is_set)
        return session.status("stopped", whole=True)


class Session:
    """The thread that composes and sends, while another one mattes the frame that comes next.

    Args:
        capture: Frames.
        load: Makes the matter ready.
        look: Makes pictures of plates.
        outputs: Where they go.
        info: Of the frames.
        display: Told how it goes.
        pinned: The matter's setting was asked for.
    """

    def __init__(
        self,
        capture: Capture,
        load: Callable[[], LiveMatter],
        look: Look,
        outputs: Outputs,
        info: StreamInfo,
        display: Display,
        *,
        pinned: bool = False,
    ) -> None:
        self.model, self.device = "", ""
        self._pinned = pinned
        self._capture, self._look, self._outputs, self._display = capture, look, outputs, display
        self._info = info
        self._interval = 1 / float(info.frame_rate)
        self._gauge = Gauge()
        self._last: Shown | None = None
        self._last_frame_at = time.monotonic()  # when the last frame was shown
        self._last_at = self._last_frame_at  # when anything was
        self._told: set[str] = set()
        self._was_gone = False
        self._left = 0
        self._mattes = Mattes(capture, load)

    def close(self) -> None:
        self._mattes.close()

    def run(self, *, seconds: float | None, stopped: Callable[[], bool]) -> None:
        """Show pictures until there are no more, or an end is asked for."""
        begin = time.monotonic()
        next_status = begin
        self._mattes.start()
        self._hold()
        while not (stopped() or self._outputs.ended or self._mattes.ended):
            now = time.monotonic()
            if seconds is not None and now - begin >= seconds:
                return
            self._show_next(now)
            if time.monotonic() >= next_status:
                next_status = time.monotonic() + _STATUS_EVERY
                self._tell()

    def status(self, state: State | None = None, *, whole: bool = False) -> Status:
        """How it does of late, or did over the whole run."""
        latency, p95 = self._gauge.latencies(whole=whole)
        if state is None:
            state = "lost" if self._capture.state == "lost" else "live" if self._gauge.shown else "starting"
        matter = self._mattes.matter
        return Status(
            state,
            self._gauge.seconds,
            self._capture.whole_rate if whole else self._capture.rate,
            self._gauge.rate(whole=whole),
            latency,
            p95,
            self._gauge.shown,
            self._capture.dropped,
            self._outputs.dropped,
            self._gauge.held,
            self._mattes.failed,
            self._capture.damaged,
            self._capture.reconnections,
            "" if matter is None else matter.setting,
            self.model,
            self.device,
        )

    def _show_next(self, now: float) -> None:
        holding = self._last is None or now - self._last_frame_at > _HOLD_AFTER
        due = self._last_at + self._interval if holding else self._last_frame_at + _HOLD_AFTER
        matted = self._mattes.take(max(0.0, min(due - now, _STATUS_EVERY)))
        if matted is None:
            if time.monotonic() >= due:
                self._hold()
            return
        captured, plate = matted
        self._outputs.before(captured.frame)
        shown = self._look(captured, plate)
        self._send(shown)
        self._last = shown
        self._last_frame_at = self._last_at
        if shown.held:  # frozen by a key
            self._gauge.held += 1
        else:
            self._gauge.picture(captured.at)

    def _hold(self) -> None:
        """The last picture once more or, if there is none or it is old, the background."""
        now = time.monotonic()
        if self._last is None or now - self._last_frame_at > _HOLD_FOR:
            index = -1 if self._last is None else self._last.index
            shown = Shown(self._look.empty(now), index, now, held=True)
        else:
            shown = replace(self._last, at=now, held=True)
        self._send(shown)
        self._gauge.held += 1

    def _send(self, shown: Shown) -> None:
        self._outputs.show(shown)
        self._last_at = time.monotonic()

    def _tell(self) -> None:
        gone = self._capture.state == "lost"
        if gone != self._was_gone:
            self._was_gone = gone
            why = self._capture.gone or "the camera gives no pictures"
            self._display.notice(f"{why}; {_HELD.format(seconds=_HOLD_FOR)}" if gone else "the camera is back")
        for failure in self._outputs.failures[self._left :]:
            self._display.notice(f"{failure}; the other outputs go on")
        self._left = len(self._outputs.failures)
        if (trouble := self._mattes.trouble) is not None:
            kind, _, _ = trouble.partition(":")
            self._once(kind, f"a frame had no matte and was not shown ({trouble})")
        if self._mattes.matter is not None and self._mattes.matter.exhausted:
            self._once("slow", self._too_slow())
        self._display.status(self.status())

    def _once(self, kind: str, text: str) -> None:
        """Say it, if nothing of its kind was said: what differs by a frame's number alone is the same."""
        if kind not in self._told:
            self._told.add(kind)
            self._display.notice(text)

    def _too_slow(self) -> str:
        helps = ["--quality auto"] if self._pinned else []
        if self.device.startswith("cpu"):
            helps.append("a GPU")
        if self.model not in ("", "birefnet-nano"):
            helps.append("--model birefnet-nano")
        helps.append("a smaller --size or --rate")
        if self._look.lights:
            helps.append("--light-wrap off and --match off")
        setting = "with the --quality asked for" if self._pinned else "even at the lowest setting"
        rate = float(self._info.frame_rate)
        late = f"this machine is too slow for {rate:.4g} pictures a second, {setting}"
        return f"{late}; what helps: {', or '.join(helps)}"


@contextmanager
def signals_heeded() -> Iterator[threading.Event]:
    """The event is set when the process is asked to end, so that files are finished; asked twice, it ends as ever."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # no signal reaches another one
        yield asked
        return
    before = {}

    def heed(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    for number in (getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup, say
            before[number] = signal.signal(number, heed)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
