"""A live run: the newest frame, its alpha, its picture, and every output that it goes to."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Protocol

from streammatte.errors import OutputError, refusing
from streammatte.live.contracts import Controls, LiveModel
from streammatte.live.model_thread import ModelThread
from streammatte.live.privacy import HOLD_FOR, StandIn
from streammatte.live.reconnecting import Capture
from streammatte.live.status import Gauge, State, Status

if TYPE_CHECKING:
    from streammatte.live.live_options import LiveOptions
    from streammatte.live.over_background import Look
    from streammatte.live.source import LiveSource
    from streammatte.live.targets import Outputs

_STATUS_EVERY = 0.25  # seconds
_SAY_AFTER = 1.5  # seconds of silence
_LOOK_EVERY = 0.05  # seconds between looks at signals while the camera is opened


class Display(Protocol):
    """Shows the user how a run goes. Its methods are called from any thread."""

    def notice(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def status(self, status: Status) -> None: ...
    def ended(self, status: Status) -> None: ...


def run_live(options: LiveOptions, display: Display) -> None:
    """Run until the file ends, the time is up, or a key or signal ends it.

    Raises:
        StreammatteError: There is no camera or model, an output cannot be opened, or the last one failed.
    """
    from streammatte.live.adaptive_model import AdaptiveModel, load_live_model
    from streammatte.live.live_options import check_network
    from streammatte.live.over_background import Look, rounds
    from streammatte.live.targets import Outputs
    from streammatte.models.device import cores_left_to

    with refusing():
        backgrounds, targets = rounds(options.backgrounds), options.outputs or ("camera",)
        _check_outputs(options, targets, backgrounds)
        check_network(options)
    session: Session | None = None
    stopping = threading.Event()
    with signals_heeded() as asked_to_stop, ExitStack() as running:
        source = _opened(options, display, asked_to_stop)
        # The threads are entered first and left last: files are complete before anybody waits for a network.
        capture = running.enter_context(closing(Capture(source)))
        controls = Controls(mirror=options.mirror)
        wrap, match = options.light_wrap == "on", options.match == "on"
        with refusing():
            look = Look(source.info, backgrounds, controls, light_wrap=wrap, match=match, feather=options.feather)
        running.callback(look.close)

        def load() -> LiveModel:
            assert session is not None
            model = load_live_model(options, stopping=stopping, on_progress=display.fetching, on_notice=display.notice)
            session.model, session.device = model.name, str(model.device)
            return AdaptiveModel(model, options.quality, source.info.frame_rate)

        outputs = Outputs(
            targets, source.info, controls, alpha=look.alpha, overwrite=options.overwrite, backgrounds=len(backgrounds)
        )
        try:
            with outputs:
                running.enter_context(cores_left_to(1))
                rate, pinned = float(source.info.frame_rate), options.quality != "auto"
                session = Session(capture, load, look, outputs, display, rate, pinned=pinned)
                running.callback(session.close)
                running.callback(stopping.set)  # before the session is closed: it waits for the network
                session.run(seconds=options.seconds, stopped=asked_to_stop.is_set)
        except KeyboardInterrupt as exc:
            for line in outputs.kept():
                exc.add_note(line)
            raise
        except OutputError as exc:
            if session is None:
                raise
            display.ended(session.status("stopped", whole=True))
            raise session.notices.once_more(exc) from exc
        session.notices.of_outputs()
        display.ended(session.status("stopped", whole=True))


def _check_outputs(options: LiveOptions, targets: tuple[str, ...], backgrounds: tuple[str, ...]) -> None:
    from streammatte.live.cameras import path_of
    from streammatte.live.targets import check_outputs

    camera = path_of(options.camera or "")
    read = [(camera, "the camera"), *((name, "a background") for name in backgrounds)]
    alpha = "transparent" in backgrounds
    check_outputs(targets, alpha=alpha, overwrite=options.overwrite, json=options.json, read=read)


def _opened(options: LiveOptions, display: Display, asked_to_stop: threading.Event) -> LiveSource:
    """The camera, opened in a thread: FFmpeg may wait seconds for it, and a signal must end the run at once."""
    from streammatte.live.source import LiveSource
    from streammatte.media.addresses import without_secrets

    opening: Future[LiveSource] = Future()

    def work() -> None:
        try:
            opening.set_result(LiveSource(options.camera, size=options.size, rate=options.rate))
        except BaseException as exc:
            opening.set_exception(exc)

    threading.Thread(target=work, name="streammatte-opening", daemon=True).start()
    say_at: float | None = time.monotonic() + _SAY_AFTER
    while not wait([opening], _LOOK_EVERY).done:
        if asked_to_stop.is_set():
            opening.add_done_callback(_let_go)
            raise KeyboardInterrupt
        if say_at is not None and time.monotonic() >= say_at:
            display.notice(f"waiting for {without_secrets(options.camera or 'the camera')}…")
            say_at = None
    source = opening.result()
    for note in source.notes:
        display.notice(note)
    return source


def _let_go(opening: Future[LiveSource]) -> None:
    if opening.exception() is None:
        opening.result().close()


class Session:
    """Composes pictures and hands them to the outputs, while another thread mattes the next frame.

    Args:
        rate: The expected frame rate.
        pinned: The user chose the model's setting.

    Attributes:
        model, device: The model's name, and where it runs; empty until it is loaded.
    """

    def __init__(
        self,
        capture: Capture,
        load: Callable[[], LiveModel],
        look: Look,
        outputs: Outputs,
        display: Display,
        rate: float,
        *,
        pinned: bool = False,
    ) -> None:
        self.model, self.device = "", ""
        self.notices = Notices(display, outputs)
        self._rate, self._pinned = rate, pinned
        self._capture, self._look, self._outputs, self._display = capture, look, outputs, display
        self._gauge = Gauge()
        self._stand_in = StandIn(look.empty, 1 / rate)
        self._matting = ModelThread(capture, load)

    def close(self) -> None:
        self._matting.close()

    def run(self, *, seconds: float | None, stopped: Callable[[], bool]) -> None:
        """Show pictures until there are no more, ``stopped`` says so, or ``seconds`` after the model was loaded."""
        begin: float | None = None
        next_status = time.monotonic()
        self._matting.start()
        self._hold()
        while not (stopped() or self._outputs.ended or self._matting.ended):
            now = time.monotonic()
            if begin is None and self._matting.model is not None:
                begin = now
            if seconds is not None and begin is not None and now - begin >= seconds:
                return
            self._show_next()
            if time.monotonic() >= next_status:
                next_status = time.monotonic() + _STATUS_EVERY
                self._tell()

    def status(self, state: State | None = None, *, whole: bool = False) -> Status:
        """The run at present, or as a whole."""
        latency, p95 = self._gauge.latencies(whole=whole)
        arrived, shown = self._capture.arrived, self._gauge.shown
        if state is None:
            state = "lost" if self._capture.state == "lost" else "live" if shown.count else "starting"
        model = self._matting.model
        return Status(
            state=state,
            seconds=self._gauge.seconds,
            rate_in=arrived.overall() if whole else arrived.of_late(),
            rate_out=shown.overall() if whole else shown.of_late(),
            latency_ms=latency,
            latency_p95_ms=p95,
            shown=shown.count,
            dropped=self._capture.dropped,
            dropped_by_outputs=self._outputs.dropped,
            held=self._gauge.held,
            failed=self._matting.failed,
            damaged=self._capture.damaged,
            reconnections=self._capture.reconnections,
            setting="" if model is None else model.setting,
            model=self.model,
            device=self.device,
        )

    def _show_next(self) -> None:
        due = self._stand_in.due
        matted = self._matting.take(max(0.0, min(due - time.monotonic(), _STATUS_EVERY)))
        if matted is None:
            if time.monotonic() >= due:
                self._hold()
            return
        self._outputs.before(matted.cutout.frame)
        shown = self._look(matted.cutout, matted.at)
        self._outputs.show(shown)
        self._stand_in.sent(shown, fresh=True)
        if shown.held:  # frozen by a key
            self._gauge.held += 1
        else:
            self._gauge.picture(matted.at)

    def _hold(self) -> None:
        shown = self._stand_in.picture()
        self._outputs.show(shown)
        self._stand_in.sent(shown, fresh=False)
        self._gauge.held += 1

    def _tell(self) -> None:
        self.notices.of_camera(self._capture)
        self.notices.of_outputs("; the other outputs go on")
        if (trouble := self._matting.trouble) is not None:
            # Failures that differ only in the frame's number are shown once.
            self.notices.once(trouble.partition(":")[0], f"a frame was not shown, because its matte failed ({trouble})")
        if self._matting.model is not None and self._matting.model.exhausted:
            advice = too_slow(self.model, self.device, self._rate, lights=self._look.lights, pinned=self._pinned)
            self.notices.once("slow", advice)
        self._display.status(self.status())


class Notices:
    """Shows each notice once."""

    def __init__(self, display: Display, outputs: Outputs) -> None:
        self._display, self._outputs = display, outputs
        self._told: set[str] = set()
        self._failures = self._notes = 0
        self._was_gone = False

    def once(self, kind: str, text: str) -> None:
        """Show ``text``, unless something of its kind was shown."""
        if kind not in self._told:
            self._told.add(kind)
            self._display.warning(text)

    def of_camera(self, capture: Capture) -> None:
        if capture.damaged:
            self.once(
                "damaged", "the stream is damaged; after each fault the last picture is shown until the next keyframe"
            )
        gone = capture.state == "lost" and not capture.broken
        if gone != self._was_gone:
            self._was_gone = gone
            held = f"the last picture is held for {HOLD_FOR:.0f} seconds, then the background is shown"
            self._display.warning(f"{capture.gone or 'the camera stopped'}; {held}" if gone else "the camera is back")

    def of_outputs(self, after: str = "") -> None:
        for failure in self._outputs.failures[self._failures :]:
            self._display.warning(f"{failure}{after}")
        self._failures = len(self._outputs.failures)
        for note in self._outputs.notes[self._notes :]:
            self._display.notice(note)
        self._notes = len(self._outputs.notes)

    def once_more(self, failure: OutputError) -> OutputError:
        """The error that ends the run: short if the user has seen it already."""
        if failure not in self._outputs.failures[: self._failures]:
            return failure
        lost = ", ".join(self._outputs.lost)
        return OutputError(f"the run ended without {lost} (see above)", hint=failure.hint)


def too_slow(model: str, device: str, rate: float, *, lights: bool, pinned: bool) -> str:
    """The notice that this machine is too slow, with what would help."""
    helps = ["--quality auto"] if pinned else []
    if device.startswith("cpu"):
        helps.append("a GPU")
    if model not in ("", "birefnet-nano"):
        helps.append("--model birefnet-nano")
    helps.append("a smaller --size or --rate")
    if lights:
        helps.append("--light-wrap off and --match off")
    setting = "with this --quality" if pinned else "even at the lowest setting"
    return f"this machine is too slow for {rate:.4g} fps {setting}; try {', '.join(helps)}"


@contextmanager
def signals_heeded() -> Iterator[threading.Event]:
    """The first signal sets the event, so that files are completed; a second one raises ``KeyboardInterrupt``."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals reach no other thread
        yield asked
        return
    before = {}

    def heed(number: int, frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    for number in (getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            before[number] = signal.signal(number, heed)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
