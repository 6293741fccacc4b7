"""One live run: the newest frame, its alpha, its picture, everywhere it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from streammatte.live.capture import Capture
from streammatte.live.controls import Controls
from streammatte.live.look import Look, rounds
from streammatte.live.matting import AdaptiveMatter
from streammatte.live.options import LiveOptions
from streammatte.live.outputs import Outputs, check_outputs


@dataclass(frozen=True, slots=True)
class Status:
    """How the run does at present."""

    rate_out: float
    latency: float
    dropped: int
    setting: str


def run_live(options: LiveOptions, watch: Callable[[Status], None]) -> None:
    """Until the source ends, or is stopped."""
    from streammatte.matting import load_matter
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
    controls = Controls(mirror=options.mirror)
    with ExitStack() as running:
        matter = AdaptiveMatter(load_matter(options.model, weights=options.weights, device=options.device))
        source = running.enter_context(LiveSource(options.camera or "0", size=options.size, rate=options.rate))
        look = Look(
            source.info,
            backgrounds,
            controls,
            light_wrap=options.light_wrap == "on",
            match=options.match == "on",
            feather=options.feather,
        )
        running.callback(look.close)
        outputs = running.enter_context(
            Outputs(
                targets,
                source.info,
                controls,
                alpha=look.alpha,
                overwrite=options.overwrite,
                backgrounds=len(backgrounds),
            )
        )
        capture = running.enter_context(closing(Capture(source)))
        begin = time.monotonic()
        count = 0
        while (
            not capture.ended
            and not outputs.ended
            and (options.seconds is None or time.monotonic() - begin < options.seconds)
        ):
            captured = capture.take(0.5)
            if captured is None:
                continue
            shown = look(captured, matter(captured))
            outputs.before(captured.frame)
            outputs.show(shown)
            count += 1
            now = time.monotonic()
            watch(Status(count / (now - begin), now - captured.at, capture.dropped, matter.setting))
