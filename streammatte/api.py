"""The functions for scripts, all of them in ``import streammatte as sm``."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from streammatte import media, pipeline
from streammatte.cache import Remembered
from streammatte.color.screen import transfer_for, view_of
from streammatte.errors import InputError
from streammatte.frame import Cutout, Frame, Model, Stage, StreamInfo
from streammatte.media.copies import fetched_once
from streammatte.media.read.pictures import Picture
from streammatte.media.read.stills import assembled, channels_of, orientation_of, translating
from streammatte.media.read.video import Video, opened
from streammatte.media.write.composing import Contents, IntegerPictures
from streammatte.models import birefnet
from streammatte.models.birefnet import BiRefNetModel
from streammatte.models.listing import download_bar
from streammatte.options import Edges, Matting, Options, Reading, Transparency
from streammatte.options.field import build, options_of
from streammatte.pipeline import prefetch
from streammatte.refusals import check_whom
from streammatte.stages import stages_for
from streammatte.stages.despill import screen_of
from streammatte.stages.transparent import sdmatte_on_demand
from streammatte.subject.following import OnePicture, follow

if TYPE_CHECKING:
    from streammatte.frame import Writer
    from streammatte.summary import Summary

PathOrName = str | PathLike[str]
AHEAD = 2  # cut-outs that the model may be ahead of the stages
logger = logging.getLogger("streammatte")


def load_model(
    name: str = "auto",
    *,
    weights: PathOrName | None = None,
    device: str | None = None,
    precision: str = "auto",
    size: tuple[int, int] | None = None,
    offline: bool = False,
) -> BiRefNetModel:
    """Load a model, downloading its weights if necessary.

    Args:
        name: One of ``available_models()``, or ``auto``: the best one that is here or can be downloaded.
        weights: A checkpoint file, or an address, to use instead; ``name`` then names its network, if known.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; by default the best one here.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        size: (H, W) of the network's input, multiples of 32; by default the checkpoint's own.
        offline: Never download.

    Returns:
        A callable from a list of frames to a list of their alphas, (H, W) float32 in [0, 1], of the network's size.

    Raises:
        ModelError, WeightsMissing, WeightsMismatch: The model is unknown, or its weights are missing or do not fit.
        DeviceMissing, OutOfMemory: The machine has no such device, or too little memory.
    """
    console = Console(stderr=True)
    with download_bar(console, name) as on_progress:
        return birefnet.load_model(
            name,
            weights=None if weights is None else fetched_once(weights),
            device=device,
            precision=precision,
            size=size,
            offline=offline,
            on_progress=on_progress if console.is_terminal else None,
            on_notice=logger.warning,
        )


@overload
def remove(image: NDArray[Any], model: Model | str | None = None, *, subject: Any = ()) -> NDArray[Any]: ...
@overload
def remove(image: Image.Image | PathOrName, model: Model | str | None = None, *, subject: Any = ()) -> Image.Image: ...
@overload
def remove(image: Sequence[Any], model: Model | str | None = None) -> list[Any]: ...
def remove(image: Any, model: Model | str | None = None, *, subject: Any = ()) -> Any:
    """Remove the background of a photograph, or of each in a list, as the command does when it writes PNG.

    Args:
        image: An (H, W, 3) uint8 or uint16 array of RGB; a PIL image; the path of a picture; or a list of these.
        model: A loaded model, or a name for ``load_model``; ``auto`` by default, which is loaded once.
        subject: Prompts that say who is meant, as ``--subject`` takes them, or a ``Prompt``; not for a list of images.

    Returns:
        RGBA with straight alpha, the old background's colour removed from soft edges: an array of the same type for an
        array, a list for a list, and a PIL image for anything else.

    Raises:
        InputError: The image has another type, cannot be read, or holds several pictures.
    """
    model = _loaded_model(model)
    if not isinstance(image, list | tuple):
        return _removed(image, model, subject)
    if subject:
        raise InputError("prompts are for one image, and several are given", hint="call remove for each of them")
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        return [_removed(each, model, ()) for each in progress.track(image, description="removing backgrounds")]


def matte_video(
    input: PathOrName,
    output: PathOrName | Sequence[PathOrName] = (),
    *,
    model: BiRefNetModel | str | None = None,
    **options: Any,
) -> Summary:
    """Do what ``streammatte INPUT -o OUTPUT`` does, without printing anything.

    Args:
        input: Footage or a photograph.
        output: The file to write, or several; optional with ``matte``, ``deliver`` or ``report``.
        model: A loaded model, or a name for ``load_model``; ``auto`` by default.
        options: The command's options by name, ``smooth="high"``, ``background="green"``; ``Options`` lists them.

    Returns:
        The summary, as in ``--json``: outputs, frame count, speed, notes.

    Raises:
        StreammatteError: As the command reports; nothing is left under the output's name.
        TypeError: An option is unknown.
    """
    from streammatte.batch.segments import matted

    loaded = None if model is None or isinstance(model, str) else model
    if loaded is None:
        options["model"] = model or "auto"
    elif given := options.keys() & {"weights", "size", "device", "precision", "offline"}:
        raise TypeError(f"{', '.join(sorted(given))}: options of load_model, but the model is loaded already")
    return matted(Options.of(input, output, **options), _Silent(), loaded)


def matte(
    source: Iterable[Frame],
    model: Model | str | None = None,
    stages: Iterable[Stage] | None = None,
    *,
    batch: int = 1,
    stride: int = 1,
    **options: Any,
) -> Iterator[Cutout]:
    """Matte frames one after the other, lazily; may be stopped at any frame.

    Footage from ``open_video`` is read and matted in threads, a few frames ahead; other frames on demand.

    Args:
        source: Any iterable of frames, such as ``open_video`` returns.
        model: A loaded model; any callable from a list of frames to a list of their alphas, of any size; or a name for
            ``load_model``. ``auto`` by default.
        stages: The stages after the model, in order; by default the command's own.
        batch: Frames per call of the model.
        stride: Run the model on every n-th frame, and where motion does not predict its alpha.
        options: The command's options for its own stages: ``smooth="off"``, ``despill="green"``. Guide mattes are for
            ``matte_video`` alone, and SDMatte is never downloaded.

    Yields:
        A cut-out for each frame, in order, its alpha of the frame's size.

    Raises:
        ModelError, StreammatteError: The model or a stage broke its contract.
        InputError: An option has a wrong value.
        TypeError: An option is unknown, stages are given, too, or the source is a path.
        ValueError: ``batch`` or ``stride`` is below 1.
    """
    if isinstance(source, str | PathLike):
        raise TypeError(f"matte() takes frames, not a path; use open_video({os.fspath(source)!r})")
    model = _loaded_model(model)
    if stages is None:
        stages = _own_stages(model, options)
    elif options:
        raise TypeError(f"{', '.join(options)}: options of the command's own stages, but stages are given")
    if not isinstance(source, Video):
        return pipeline.matte(source, model, stages, batch=batch, stride=stride)
    return prefetch(pipeline.matte(prefetch(source), model, stages, batch=batch, stride=stride, ahead=AHEAD))


def _own_stages(model: Model, given: dict[str, Any]) -> list[Stage]:
    """The command's stages for a model."""
    known = {name for group in (Matting, Edges, Transparency) for name in options_of(group)}
    known = {name for name in known if not name.endswith(("_mattes", "_masks"))}
    for name in given.keys() - known:
        raise TypeError(f"unknown option {name!r}; choose from {', '.join(sorted(known))}")
    options = Options.of("frames", offline=True, **given)
    size, device = getattr(model, "size", None), getattr(model, "device", None)
    transparency = None  # SDMatte only if it is here: a library does not download gigabytes unasked
    if size is not None and device is not None:
        transparency = sdmatte_on_demand.Transparency(options, size, device, None, _Silent()).stage
    return stages_for(
        size,
        options.matting.colors,
        options.matting.smooth,
        options.matting.lookahead,
        transparency=transparency,
        detail=options.matting.detail,
        choke=options.matting.choke,
        feather=options.matting.feather,
        decontaminate=options.edges.decontaminate == "on",
        screen=None if options.edges.despill is None else screen_of(options.edges.despill),
        device=device,
    )


def open_video(path: PathOrName, **options: Any) -> Video:
    """Open footage: a video, a picture, an animated picture, or numbered pictures (``plate.####.png``).

    Args:
        path: A path, an address, or ``-`` for standard input.
        options: The command's reading options by name: ``mark_in`` and ``mark_out`` (a frame number, ``3s``, ``1:02.5``
            or timecode), ``handles``, ``frame_rate``, ``layer``, ``input_transfer``, ``interlaced``, ``strict``.

    Raises:
        InputError: There are no such frames or no such layer, or the footage is interlaced and that is refused.
        SourceNotFound, NoVideoStream, DecodeFailed: It cannot be read.
        TypeError: An option is unknown.
    """
    if "input_alpha" in options:
        raise TypeError("input_alpha is an option of matte_video; Video.cutouts() gives the footage's own alpha")
    return opened(build(Reading, {"input": path, **options}))


def open_writer(
    path: PathOrName,
    like: Video | StreamInfo,
    *,
    audio: bool | PathOrName = True,
    **options: Any,
) -> Writer:
    """Open an output, a context manager. ``write`` cut-outs in order.

    Nothing exists under the final name until it is left without an exception.

    Args:
        path: ``.mov``, ``.webm``, ``.mkv``, ``.mp4``, ``.gif``, ``.webp``, a picture, or ``name.####.png``.
        like: The cut-outs' footage, or its ``info``, which has no sound or subtitles.
        audio: Whether to copy the footage's sound and subtitles, or another file to copy them from.
        options: ``alpha``, ``background``, ``content``, ``overwrite``, ``bits``, ``first_number``, ``codec``,
            ``quality`` and ``compression``, as :func:`streammatte.media.open_writer` has them.

    Raises:
        UnsupportedOutput: No writer supports that name with these options.
        WriteFailed: The output exists, or cannot be written.
    """
    sound = audio if not isinstance(audio, bool) else None
    if isinstance(like, Video):
        sound = like.path if audio is True else sound
        options = {"first_number": like.first_number, **options}
    info = like.info if isinstance(like, Video) else like
    return media.open_writer(path, info, audio=sound, subtitles=sound, **options)


def _removed(image: Any, model: Model, subject: Any) -> Any:
    """One picture without its background, in the form it came in."""
    if isinstance(image, np.ndarray):
        return _cut_out(*_of_array(image), model, subject)[0]
    if isinstance(image, Image.Image):
        frame, info = _of_pillow(image)
    elif isinstance(image, str | PathLike):
        frame, info = _of_file(image)
    else:
        raise InputError(f"expected an array, a PIL image or a path, got {type(image).__name__}")
    rgba, profile = _cut_out(frame, replace(info, color=replace(info.color, bit_depth=8)), model, subject)
    picture = Image.fromarray(rgba)
    if profile is not None:
        picture.info["icc_profile"] = profile
    return picture


def _cut_out(frame: Frame, info: StreamInfo, model: Model, subject: Any) -> tuple[NDArray[Any], bytes | None]:
    """(H, W, 4) in the stream's bit depth, as in PNG; and the ICC profile of its colours."""
    bits = min(16, info.color.bit_depth)
    pixels = IntegerPictures(info, Contents(), bits=bits)
    (cutout,) = pipeline.matte([frame], _asked(frame, info, model, subject), _own_stages(model, {}))
    return pixels(cutout), pixels.profile


def _asked(frame: Frame, info: StreamInfo, model: Model, subject: Any) -> Model:
    """The model, or that of the subjects that prompts name in a picture."""
    options = Options.of("picture", subject=subject)
    check_whom(options)
    size = getattr(model, "size", None) or frame.size
    followed = follow(options, OnePicture(frame, info), Remembered(model, None), size, None, _Silent())
    return model if followed is None else followed.model("", join=True)


def _of_array(image: NDArray[Any]) -> tuple[Frame, StreamInfo]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16) or not image.size:
        raise InputError(
            f"expected an (H, W, 3) uint8 array of RGB, got {image.shape} {image.dtype}",
            hint="uint16 works too; convert other arrays, or pass a PIL image",
        )
    return _of_picture(assembled((image, None), None))


def _of_pillow(image: Image.Image) -> tuple[Frame, StreamInfo]:
    name = Path(getattr(image, "filename", "") or "the picture")
    with translating(name):
        channels, converted = channels_of(image, name)
        profile = None if converted else image.info.get("icc_profile")
        return _of_picture(assembled(channels, profile, orientation_of(image)))


def _of_picture(picture: Picture) -> tuple[Frame, StreamInfo]:
    info = picture.info(Fraction(1, 24), Fraction(24))
    frame = Frame(torch.from_numpy(picture.rgb).permute(2, 0, 1), pts=0, index=0)
    return replace(frame, view=view_of(transfer_for(None, info.color), info.profile)), info


def _of_file(path: PathOrName) -> tuple[Frame, StreamInfo]:
    with open_video(path) as video:
        frames = iter(video)
        first = next(frames)
        if next(frames, None) is not None:
            raise InputError(f"{path} holds more than one picture", hint="use matte_video for clips")
        return first, video.info


def _loaded_model(model: Model | str | None) -> Model:
    return _named_model(model or "auto") if model is None or isinstance(model, str) else model


@functools.lru_cache(maxsize=1)
def _named_model(name: str) -> BiRefNetModel:
    """Kept, for loops over ``remove``."""
    return load_model(name)


class _Silent:
    """A display that only logs notices."""

    def notice(self, text: str) -> None:
        logger.info(text)

    def fetching(self, done: int, total: int | None) -> None: ...
    def started(self, info: StreamInfo, model: Model) -> None: ...
    def keyframe(self, index: int | None) -> None: ...
    def finding(self, whom: str, done: int, total: int) -> None: ...
    def written(self, frames: int) -> None: ...
