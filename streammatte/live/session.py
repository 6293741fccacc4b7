"""A live run: the newest frame, its alpha, its picture, everywhere it goes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from streammatte.errors import OutputError
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
_SAY_AFTER = 1.5  # seconds of silence
_DAMAGED = "the camera's stream is damaged: from each damage to its next whole keyframe, what was shown last is held"
_HELD = "the last picture is held for {seconds:.0f} seconds, then the background, until it is back"


class Display(Protocol):
    """What a run tells whoever is watching; from any thread."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def status(self, status: Status) -> None: ...
    def ended(self, status: Status) -> None: ...


def run_live(options: LiveOptions, display: Display) -> None:
    """Until the camera's file ends, the time is over, a key or a signal asks for the end.

    Nothing of a frame leaves but through ``Look``, with its own alpha. Until there is one, and when frames have stayed
    away for ten seconds, the background is shown; in shorter gaps, the last picture.

    Raises:
        StreammatteError: No camera, no model, an output that cannot be opened, or the last one that has failed.
    """
    from streammatte.live.look import Look, rounds
    from streammatte.live.matting import AdaptiveMatter, live_matter
    from streammatte.live.options import check_network
    from streammatte.live.outputs import Outputs, check_outputs
    from streammatte.live.source import LiveSource, path_of
    from streammatte.models.device import cores_left_to

    backgrounds = rounds(options.backgrounds)
    targets = options.outputs or ("camera",)
    check_outputs(
        targets,
        alpha="transparent" in backgrounds,
        overwrite=options.overwrite,
        json=options.json,
        read=[
            (path_of(options.camera or ""), "the camera itself"),
            *((name, "the background itself") for name in backgrounds),
        ],
    )
    check_network(options)
    session: Session | None = None
    with signals_heeded() as asked_to_stop, ExitStack() as running:
        waiting = threading.Timer(_SAY_AFTER, display.notice, (f"waiting for {options.camera or 'the camera'}",))
        waiting.start()
        try:
            source = LiveSource(options.camera, size=options.size, rate=options.rate)
        finally:
            waiting.cancel()
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
            assert session is not None
            matter = live_matter(options, on_progress=display.fetching, on_notice=display.notice)
            session.model, session.device = matter.name, str(matter.device)
            return AdaptiveMatter(matter, options.quality, info.frame_rate)

        outputs = Outputs(
            targets, info, controls, alpha=look.alpha, overwrite=options.overwrite, backgrounds=len(backgrounds)
        )
        try:
            with noting_what_is_kept(outputs), outputs:
                running.enter_context(cores_left_to(1))
                session = Session(capture, load, look, outputs, info, display, pinned=options.quality != "auto")
                running.callback(session.close)
                session.run(seconds=options.seconds, stopped=asked_to_stop.is_set)
        except OutputError as exc:
            if session is None:
                raise
            display.ended(session.status("stopped", whole=True))
            raise session.once_more(exc) from exc
        session.tell_what_is_left()
        display.ended(session.status("stopped", whole=True))


class Session:
    """The thread that composes and sends, while another one mattes the frame that comes next.

    Args:
        capture: Frames.
        load: Makes the matter ready.
        look: Makes pictures of cut-outs.
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
        self._interval = min(1 / float(info.frame_rate), _HOLD_AFTER)
        self._gauge = Gauge()
        self._last: Shown | None = None
        self._last_frame_at = time.monotonic()  # when the last frame was shown
        self._last_at = self._last_frame_at  # when anything was
        self._told: set[str] = set()
        self._was_gone = False
        self._left = self._noted = 0
        self._mattes = Mattes(capture, load)

    def close(self) -> None:
        self._mattes.close()

    def run(self, *, seconds: float | None, stopped: Callable[[], bool]) -> None:
        """Show pictures until there are no more, or an end is asked for; ``seconds`` count from the network's being
        ready.
        """
        begin: float | None = None
        next_status = time.monotonic()
        self._mattes.start()
        self._hold()
        while not (stopped() or self._outputs.ended or self._mattes.ended):
            now = time.monotonic()
            if begin is None and self._mattes.matter is not None:
                begin = now
            if seconds is not None and begin is not None and now - begin >= seconds:
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
        captured, cutout = matted
        self._outputs.before(captured.frame)
        shown = self._look(captured, cutout)
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
        if self._capture.damaged:
            self._once("damaged", _DAMAGED)
        gone = self._capture.state == "lost" and not self._capture.broken
        if gone != self._was_gone:
            self._was_gone = gone
            why = self._capture.gone or "the camera gives no pictures"
            self._display.notice(f"{why}; {_HELD.format(seconds=_HOLD_FOR)}" if gone else "the camera is back")
        self.tell_what_is_left("; the other outputs go on")
        if (trouble := self._mattes.trouble) is not None:
            kind, _, _ = trouble.partition(":")
            self._once(kind, f"a frame had no matte and was not shown ({trouble})")
        if self._mattes.matter is not None and self._mattes.matter.exhausted:
            lights, rate = self._look.lights, float(self._info.frame_rate)
            self._once("slow", too_slow(self.model, self.device, rate, lights=lights, pinned=self._pinned))
        self._display.status(self.status())

    def tell_what_is_left(self, after: str = "") -> None:
        """What outputs have to say that was not said yet."""
        for failure in self._outputs.failures[self._left :]:
            self._display.notice(f"{failure}{after}")
        self._left = len(self._outputs.failures)
        for note in self._outputs.notes[self._noted :]:
            self._display.notice(note)
        self._noted = len(self._outputs.notes)

    def once_more(self, failure: OutputError) -> OutputError:
        """The error that a run ends with: short, if it was told when it happened."""
        if failure not in self._outputs.failures[: self._left]:
            return failure
        lost = ", ".join(self._outputs.lost)
        return OutputError(f"the run ended without {lost}, as told above", hint=failure.hint)

    def _once(self, kind: str, text: str) -> None:
        """Say it, if nothing of its kind was said: what differs by a frame's number alone is the same."""
        if kind not in self._told:
            self._told.add(kind)
            self._display.notice(text)


def too_slow(model: str, device: str, rate: float, *, lights: bool, pinned: bool) -> str:
    """What to say, and what would help here.

    Args:
        model, device: The network, and where it computes.
        rate: Pictures a second that are asked for.
        lights: The background's light or colours are laid on.
        pinned: The user has chosen the setting.
    """
    helps = ["--quality auto"] if pinned else []
    if device.startswith("cpu"):
        helps.append("a GPU")
    if model not in ("", "birefnet-nano"):
        helps.append("--model birefnet-nano")
    helps.append("a smaller --size or --rate")
    if lights:
        helps.append("--light-wrap off and --match off")
    setting = "with the --quality asked for" if pinned else "even at the lowest setting"
    return f"this machine is too slow for {rate:.4g} pictures a second, {setting}; what helps: {', or '.join(helps)}"


@contextmanager
def noting_what_is_kept(outputs: Outputs) -> Iterator[None]:
    """A run that is interrupted says what there is of its files."""
    try:
        yield
    except KeyboardInterrupt as exc:
        for line in outputs.kept():
            exc.add_note(line)
        raise


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
