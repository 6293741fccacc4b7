"""How much of the room is shown: live against file mode on the same frames, and when a model breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

import streammatte
from benchmarks.live_matting import OWN, clip_of
from benchmarks.live_run import Keyed, nano, of_room, played
from benchmarks.live_scene import Mask, Picture
from benchmarks.report import ROOT
from streammatte.frame import Frame
from streammatte.live.adaptive_model import AdaptiveModel
from streammatte.live.contracts import Controls, Shown
from streammatte.live.over_background import Look
from streammatte.live.pace_keeper import ladder
from streammatte.live.reconnecting import Capture
from streammatte.live.session import Session
from streammatte.live.source import LiveSource
from streammatte.live.targets import Outputs
from streammatte.media.background import open_background
from streammatte.media.write.composing import at_depth, colors
from streammatte.stages import stages_for

SAMPLES = ROOT / "samples"
DIFFERS = 24  # levels from the background, of 255: more than coding and light leave


class _Quiet:
    """A display that says nothing."""

    def notice(self, text: str) -> None: ...
    def warning(self, text: str) -> None: ...
    def fetching(self, done: int, total: int | None) -> None: ...
    def status(self, status: object) -> None: ...
    def ended(self, status: object) -> None: ...


def in_real_time(name: str, background: str, stopped: Callable[[], bool]) -> dict[str, Any]:
    """A sample live with ``auto``, and the same frames as a file.

    Args:
        name: Of the sample.
        background: A colour, or a picture, which adds light wrap and match.
        stopped: Whether to end early.
    """
    clip = SAMPLES / f"{name}.mp4"
    frames, truth = clip_of(name)
    kept: dict[int, Picture] = {}
    source = LiveSource(str(clip))
    with closing(Look(source.info, [background], Controls())) as look:
        behind = look.empty(0.0)
    beside = 0

    def keep(shown: Shown) -> None:
        nonlocal beside
        if shown.held:
            again = shown.index in kept and np.array_equal(shown.rgb, kept[shown.index])
            beside += 0 if again else int((shown.rgb != behind).any(axis=-1).sum())
        else:
            kept[shown.index] = shown.rgb.copy()

    played(source, lambda: AdaptiveModel(nano()), keep, stopped, background=background)
    as_file = dict(enumerate(in_file_mode(frames, background, clip)))
    return {
        "frames": len(kept),
        "live": share_of_room(kept, truth, behind),
        "as_a_file": share_of_room({index: as_file[index] for index in kept}, truth, behind),
        "pixels_beside_frames": beside,
    }


def step_by_step(name: str) -> dict[str, Any]:
    """A clip over a colour, frame by frame, with each setting of ``auto``, and as a file."""
    frames, truth = clip_of(name)
    clip = SAMPLES / "talking.mp4"
    with closing(LiveSource(str(clip), size=tuple(frames[0].rgb.shape[1:]))) as source:
        info = source.info
    model = nano()
    with closing(Look(info, ["0,177,64"], Controls())) as look:
        behind = look.empty(0.0)
        shares: dict[str, Any] = {
            "as_a_file": share_of_room(dict(enumerate(in_file_mode(frames, "0,177,64", clip, info))), truth, behind)
        }
        for setting in ladder(OWN):
            model.size = OWN
            live = AdaptiveModel(model, (setting.size, setting.every))
            pictures = {}
            for index, cutout in enumerate(streammatte.matte(frames, live, ())):
                pictures[index] = look(cutout, index / 30).rgb
            shares[str(setting)] = share_of_room(pictures, truth, behind)
    return shares


def in_file_mode(frames: list[Frame], background: str, clip: Path, info: Any = None) -> Iterable[Picture]:
    model = nano()
    with streammatte.open_video(clip) as source:
        behind = open_background(background, info or source.info)
    for cutout in streammatte.matte(frames, model, stages_for(model.size)):
        yield cast(Picture, at_depth(colors(cutout, "straight", behind), 8))


def share_of_room(pictures: dict[int, Picture], truth: NDArray[np.float32], behind: Picture) -> dict[str, float]:
    """Of ground truth's background, the share of pixels that differ from the background, and by how much.

    Only pixels with an alpha of 0 count; those at the edge belong to both.
    """
    rooms: list[Mask] = [truth[index] == 0 for index in pictures]
    pixels = max(1, sum(int(room.sum()) for room in rooms))
    off = [np.abs(rgb.astype(int) - behind).max(-1)[room] for rgb, room in zip(pictures.values(), rooms, strict=True)]
    return {
        "share_of_pixels": round(sum(int((each > DIFFERS).sum()) for each in off) / pixels, 5),
        "mean_levels_off": round(sum(int(each.sum()) for each in off) / pixels, 3),
    }


class Breaking(Keyed):
    """Works for ten frames, then fails for good."""

    setting = "breaking"

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, frames: Sequence[Frame]) -> list[torch.Tensor]:
        self._count += 1
        if self._count > 10:
            raise RuntimeError("broken on purpose")
        return super().__call__(frames)


def breaking(folder: Path) -> dict[str, Any]:
    """What the file contains after the model failed midway."""
    address = "lavfi:color=c=0xff00ff:size=320x180:rate=30,drawbox=x=60:y=40:w=80:h=80:color=white:t=fill,format=gbrp"
    path, error = folder / "breaking.mkv", ""
    controls = Controls()
    source = LiveSource(address)
    with closing(Capture(source)) as capture, closing(Look(source.info, ["0,177,64"], controls)) as look:
        try:
            with Outputs([str(path)], source.info, controls) as outputs:
                session = Session(capture, Breaking, look, outputs, _Quiet(), float(source.info.frame_rate))
                with closing(session):
                    session.run(seconds=20, stopped=lambda: False)
        except RuntimeError as exc:
            error = str(exc)
    with streammatte.open_video(path) as written:
        pictures = [np.ascontiguousarray(frame.rgb.permute(1, 2, 0).numpy()) for frame in written]
    return {
        "ended_by": error,
        "frames_shown": session.status().shown,
        "pictures_in_the_file": len(pictures),
        "pixels_of_the_room": sum(of_room(cast(Picture, picture)) for picture in pictures),
    }
