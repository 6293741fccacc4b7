"""A matte that cannot be right gets a one-line warning with what to try; a plausible one never does."""

from __future__ import annotations

import itertools
import json
import re
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from numpy.typing import NDArray

from streammatte.cli.main import main
from streammatte.frame import Cutout, Frame
from streammatte.media import open_video
from streammatte.quality.plausible import MANY, SIZE, Doubts, longest_line, shrunken

pytestmark = pytest.mark.media
WIDTH, HEIGHT = 640, 360
QUICK = ["--model", "birefnet-nano", "--device", "cpu", "--smooth", "off", "--decontaminate", "off", "--json"]


def scene(seed: int = 0) -> NDArray[np.uint8]:
    """(H, W, 3): slow changes of every colour, with a fine grain."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.random((3, 5, 3)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(60 + 130 * coarse + rng.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)


def disc(x: float, y: float, radius: float) -> NDArray[np.float32]:
    down, right = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return np.clip(radius + 0.5 - np.hypot(right - x, down - y), 0, 1)


def cutout(picture: NDArray[np.uint8], alpha: NDArray[np.float32], index: int = 0) -> Cutout:
    rgb = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    return Cutout(Frame(rgb, index, index), torch.from_numpy(alpha))


def told(cutouts: list[Cutout], **known: bool) -> str | None:
    doubts = Doubts(**known)
    for each in cutouts:
        doubts.write(each)
    return doubts.line()


def write_clip(path: Path, pictures: list[NDArray[np.uint8]]) -> str:
    """A lossless clip of 25 frames a second."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return str(path)


def write_mattes(folder: Path, mattes: list[NDArray[np.float32]]) -> str:
    for number, matte in enumerate(mattes, 1):
        cv2.imwrite(str(folder / f"m.{number:04d}.png"), np.rint(255 * matte).astype(np.uint8))
    return str(folder / "m.####.png")


def empty_footage(kind: str) -> NDArray[np.uint8]:
    """(H, W, 3) without a subject."""
    rng = np.random.default_rng(1)
    if kind == "grey card":
        return np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    if kind == "noise":
        return rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    texture = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)).astype(np.float32), (0, 0), 3)
    texture = (texture - texture.min()) / np.ptp(texture)
    return np.stack([60 + 150 * texture, 50 + 120 * texture, 40 + 90 * texture], axis=2).astype(np.uint8)


# By the real command


@pytest.mark.parametrize("kind", ["grey card", "noise", "texture"])
def test_an_empty_matte_is_noticed(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), empty_footage(kind)[..., ::-1])
    assert main([str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), *QUICK]) == 0
    doubt = json.loads(capsys.readouterr().out)["doubt"]
    assert "--model" in doubt and "--core-matte" in doubt


def test_summary_and_page_warn_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "in.mkv", [empty_footage("grey card")] * 3)
    files = ["-o", str(tmp_path / "out.mov"), "--report", str(tmp_path / "page.html")]
    assert main([clip, *files, *QUICK[:-1]]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "--core-matte" in line]
    (warning,) = [part for part in line.split("; ") if "--core-matte" in part]
    assert warning[-30:] in (tmp_path / "page.html").read_text()


def test_everything_and_torn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The network finds nothing; the given mattes fill the frame, or come and go."""
    clip = write_clip(tmp_path / "in.mkv", [empty_footage("grey card")] * 6)

    def doubt(mattes: list[NDArray[np.float32]], *more: str) -> str:
        given = ["--core-matte", write_mattes(tmp_path, mattes), "--overwrite", *QUICK, *more]
        assert main([clip, "-o", str(tmp_path / "out.mov"), *given]) == 0
        return str(json.loads(capsys.readouterr().out)["doubt"])

    nothing, everything = np.zeros((HEIGHT, WIDTH), np.float32), np.ones((HEIGHT, WIDTH), np.float32)
    assert "whole frame: " in doubt([everything] * 6)
    most = doubt([nothing, everything, everything, nothing, everything, everything])
    assert "whole frame in 4 of 6 frames, first in frame 1: " in most
    assert "empty in 4 of 6 frames, first in frame 0: " in doubt([nothing] * 4 + [disc(300, 180, 90)] * 2)
    jumps = [disc(150 if index % 2 else 490, 180, 90) for index in range(6)]
    # All jumps are alike, except for what the network adds.
    assert re.search(r"at frame [1-5]: try --smooth high", doubt(jumps))
    assert doubt([disc(300, 180, 90 + 2 * index) for index in range(6)]) == "None"


@pytest.mark.parametrize("name", ["talking", "walk", "glass"])
def test_the_samples_are_plausible(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the bundled model, and with their true mattes."""
    out = str(tmp_path / "out.mov")
    assert main([str(SAMPLES / f"{name}.mp4"), "-o", out, "--out", "5", "--colors", "off", *QUICK]) == 0
    assert json.loads(capsys.readouterr().out)["doubt"] is None
    doubts = Doubts()
    with open_video(SAMPLES / f"{name}.mp4") as clip, open_video(SAMPLES / f"{name}.alpha.mkv") as mattes:
        for frame, true in islice(zip(clip, mattes.cutouts(), strict=True), 24):
            doubts.write(Cutout(frame, true.alpha))
    assert doubts.line() is None


# By cut-outs


def test_the_small_picture() -> None:
    sizes = [(HEIGHT, WIDTH), (WIDTH, HEIGHT), (1080, 1920), (40, 30), (1, 500)]
    for (height, width), kind in itertools.product(sizes, [torch.uint8, torch.uint16, torch.float32]):
        most = 1.0 if kind.is_floating_point else torch.iinfo(kind).max
        rgb = torch.zeros(3, height, width, dtype=torch.float64)
        rgb[0, :, width // 2 :] = most
        alpha = torch.zeros(height, width)
        alpha[:, width // 2 :] = 1
        picture, matte = shrunken(Cutout(Frame(rgb.to(kind), 0, 0), alpha))
        assert max(matte.shape) == min(SIZE, max(height, width)) and picture.shape == (*matte.shape, 3)
        assert picture.dtype == matte.dtype == np.float32
        assert picture[0, 0].tolist() == [0, 0, 0] and picture[-1, -1].tolist() == [1, 0, 0]
        assert np.array_equal(picture[..., 0], matte) and matte.mean() == pytest.approx(0.5, abs=0.03)


def test_infinite_light_and_nan_are_accepted() -> None:
    rgb = torch.full((3, HEIGHT, WIDTH), float("inf"))
    rgb[0], rgb[1, 0] = float("nan"), -3.0
    picture, _ = shrunken(Cutout(Frame(rgb, 0, 0), torch.ones(HEIGHT, WIDTH)))
    assert np.isfinite(picture).all() and picture.min() == 0 and picture.max() == 1


def test_a_subject_cut_at_a_straight_line() -> None:
    picture, whole = scene(), disc(320, 180, 150)
    upright, flat = whole.copy(), whole.copy()
    upright[:, 320:] = 0
    flat[:200] = 0
    assert told([cutout(picture, whole)]) is None
    assert re.search("50% of the width .* frame 0: .*--core-matte", told([cutout(picture, upright)]) or "")
    assert "56% of the height from the top" in (told([cutout(picture, flat)]) or "")
    assert told([cutout(picture, upright)], guided=True) is None, "the user's own mattes may cut"

    half = np.zeros((HEIGHT, WIDTH), np.float32)
    half[:, : WIDTH // 2] = 1
    assert "50% of the width" in (told([cutout(picture, half, index) for index in range(4)]) or "")
    few = [cutout(picture, half if index < 4 * MANY else whole, index) for index in range(4)]
    assert told(few[2:]) is None


def test_straight_lines_with_a_reason() -> None:
    """A door frame, the frame's border, a letterbox, a slope, a soft edge."""
    picture = scene()
    left = np.zeros((HEIGHT, WIDTH), np.float32)
    left[:, :320] = 1
    door = picture.copy()
    door[:, :320] = door[:, :320] // 2
    assert told([cutout(door, left)]) is None
    border = np.zeros((HEIGHT, WIDTH), np.float32)
    border[100:, :] = disc(320, 360, 240)[100:]
    border[:, :6] = 0
    border[-6:] = 0
    assert told([cutout(picture, border)]) is None
    letterbox, inside = scene() // 6, np.zeros((HEIGHT, WIDTH), np.float32)
    letterbox[:60] = letterbox[-60:] = 0
    inside[60:-60] = disc(320, 180, 190)[60:-60]
    assert told([cutout(letterbox, inside)]) is None
    down, right = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    slope = np.clip(320 + 0.1 * down - right, 0, 1).astype(np.float32)
    soft = np.clip((400 - right) / 160, 0, 1).astype(np.float32)
    assert told([cutout(picture, slope)]) is None
    assert told([cutout(picture, soft)]) is None


def test_nothing_is_found_in_nothing() -> None:
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture, matte = shrunken(cutout(black, np.ones((HEIGHT, WIDTH), np.float32)))
    assert longest_line(picture, matte) is None
    assert told([]) is None


def test_torn_means_without_a_reason_in_the_picture() -> None:
    """A subject that comes and goes; not one that moves, however fast, nor a cut."""
    still = scene()
    place = [(160 + 40 * index, 180) for index in range(9)]

    def shown(x: float, y: float) -> NDArray[np.uint8]:
        inside = disc(x, y, 90)[..., None]
        return np.rint(still * (1 - inside) + np.array([250, 240, 20]) * inside).astype(np.uint8)

    gone = np.zeros((HEIGHT, WIDTH), np.float32)
    moving = [cutout(shown(*at), disc(*at, 90), index) for index, at in enumerate(place)]
    assert told(moving) is None
    assert told(moving[::4]) is None, "half the frame from one to the next"
    torn = [cutout(still, gone if index % 2 else disc(200, 180, 90), index) for index in range(8)]
    assert (told(torn, smoothed=True) or "").endswith("most at frame 1: try another --model")
    cuts = [cutout(scene(index), disc(150 if index % 2 else 490, 180, 90), index) for index in range(6)]
    assert told(cuts) is None
    sizes = [cutout(still, disc(200, 180, 90)), cutout(still[:180], disc(200, 180, 90)[:180], 1)]
    assert told(sizes) is None
