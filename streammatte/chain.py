"""What frames pass between source and writers: the network and the stages, and the threads that they run in."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from streammatte.cache import MatteCache, RememberedRegions
from streammatte.frame import Cutout, Frame, Model, Source, StreamInfo
from streammatte.options import Options
from streammatte.stages.despill import screen_of
from streammatte.stages.mattes import Guide
from streammatte.stages.transparent.sdmatte_on_demand import Refiners, Transparency, sdmatte_identity
from streammatte.subject.together import shared, together
from streammatte.summary import STAGES, Clock, Timed, TimedModel

if TYPE_CHECKING:
    from torch import device

    from streammatte.media.read.guide import GuideMatte
    from streammatte.media.read.video import Video
    from streammatte.models.birefnet import BiRefNetModel
    from streammatte.pipeline import Batch
    from streammatte.stages.transparent.keyframes import KeyframeModel
    from streammatte.stride import Stride

Guides = dict[str, "list[GuideMatte]"]

AHEAD = 2  # cut-outs between the model and the stages
READ = 4  # frames between the reader and the model


class Display(Protocol):
    """What a run reports while it lasts."""

    def notice(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def started(self, info: StreamInfo, model: BiRefNetModel) -> None: ...
    def keyframe(self, index: int | None) -> None: ...
    def finding(self, whom: str, done: int, total: int) -> None: ...
    def written(self, frames: int) -> None: ...


@dataclass
class Chain:
    """What frames pass between source and writers, timed; ``fetch`` brings results from a GPU to the CPU."""

    model: TimedModel
    answers: list[RememberedRegions]
    seeing: Transparency
    stages: list[Timed]
    stride: Stride
    batch: Batch
    device: device
    fetch: bool = True
    decode: Clock = field(default_factory=Clock)
    encode: Clock = field(default_factory=Clock)
    check: Clock = field(default_factory=Clock)
    whole: Clock = field(default_factory=Clock)

    def held(self, least: int) -> int:
        """Frames that wait on either side of the model: on a GPU a batch, so that others work while it does."""
        from streammatte.models.birefnet import AT_ONCE

        if self.device.type == "cpu":
            return least
        return max(least, self.batch if isinstance(self.batch, int) else AT_ONCE)

    def frames(self, source: Source) -> Generator[Frame]:
        """The source's, already on their way to the device: the reader's thread copies them, not the model's."""
        with closing(self.decode.over(source)) as frames:
            for frame in frames:
                frame.on(self.device, as_planes=not self.fetch)
                yield frame

    def clocks(self) -> dict[str, Clock]:
        """Every step's by its name, in order."""
        stages = {STAGES.get(stage.name, stage.name): stage.clock for stage in self.stages}
        ends = {"encode": self.encode, "check": self.check}
        return {"decode": self.decode, "network": self.model.clock, **stages, **ends}


Joined = Callable[[Options, "Video", Chain], Generator[Cutout]]
"""How the cut-outs of a source are computed with a chain."""


def chain_of(
    options: Options,
    model: BiRefNetModel,
    asked: Model,
    cache: MatteCache | None,
    guides: Guides,
    display: Display,
    refiners: Refiners | None = None,
    region: Guide | None = None,
    chains: int = 1,
) -> Chain:
    """The network and the stages after it.

    Args:
        asked: What gives the alphas: the network through the cache, or a subject's model.
        region: Where something transparent is, if that was followed.
        chains: How many share the cores.
    """
    from streammatte.media.read.guide import GuideUnion
    from streammatte.models.device import workers
    from streammatte.stages import stages_for
    from streammatte.stride import Stride

    colors = not options.writing.matte_only
    unions = {name: GuideUnion(each) for name, each in guides.items()}
    answers: list[RememberedRegions] = []

    def remember(keyframes: KeyframeModel) -> KeyframeModel:
        device = model.device.type
        regions = RememberedRegions(keyframes, cache, lambda: sdmatte_identity(options, device))
        answers.append(regions)
        return regions

    where = region or unions.get("transparent")
    seeing = Transparency(options, model.size, model.device, where, display, remember, refiners)
    stages = stages_for(
        model.size,
        options.matting.colors,
        options.matting.smooth,
        options.matting.lookahead,
        core=unions.get("core"),
        garbage=unions.get("garbage"),
        holdout=unions.get("holdout"),
        transparency=seeing.stage,
        detail=options.matting.detail,
        choke=options.matting.choke,
        feather=options.matting.feather,
        decontaminate=options.edges.decontaminate == "on" and colors,
        screen=screen_of(options.edges.despill) if colors and options.edges.despill is not None else None,
        device=model.device,
        hands=max(1, workers() // chains - 1),  # the motion of the next frames takes a core, too
    )
    stride = Stride(options.network.stride)
    batch: Batch = options.network.batch or 1
    if options.network.batch is None and model.device.type == "cuda" and stride.every == 1:
        batch = model.at_once
    timed = [Timed(stage) for stage in stages]
    return Chain(TimedModel(asked, model.size), answers, seeing, timed, stride, batch, model.device)


def overlapped(options: Options, source: Video, chain: Chain) -> Generator[Cutout]:
    """The cut-outs of all frames, computed in threads, which closing stops."""
    from streammatte.pipeline import prefetch

    cutouts = _through(prefetch(chain.frames(source), chain.held(READ)), chain)
    return prefetch(cutouts, stopped=partial(_stop, source, [chain]))


def side_by_side(options: Options, source: Video, chains: Sequence[Chain], joined: Joined) -> Generator[list[Cutout]]:
    """The cut-outs of all chains, a frame at a time. Several share what is decoded, and the cores."""
    from streammatte.pipeline import prefetch

    if len(chains) == 1:
        return together([joined(options, source, chains[0])])
    frames = prefetch(chains[0].frames(source), chains[0].held(READ))
    readers = zip(chains, shared(frames, len(chains)), strict=True)
    made = [_through(own, chain, len(chains)) for chain, own in readers]
    return prefetch(together(made, frames), 1, stopped=partial(_stop, source, chains))


def _through(frames: Iterable[Frame], chain: Chain, chains: int = 1) -> Generator[Cutout]:
    """The cut-outs of a chain, one of several."""
    from streammatte.pipeline import finishers, matte

    for stage in chain.stages:
        stage.clock.beside = 1 if stage.ordered else finishers(chains)
    return matte(
        frames,
        chain.model,
        chain.stages,
        batch=chain.batch,
        stride=chain.stride,
        ahead=chain.held(AHEAD),
        chains=chains,
        floats=False,
        fetch=chain.fetch,
    )


def _stop(source: Video, chains: Sequence[Chain]) -> None:
    for chain in chains:
        chain.seeing.stop()
    source.stop()
