"""Mattes that the user has, and the edge moved and softened: exactly what was asked for, or a line that says why."""

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
import torch
from support import clips
from support.clips import write_grey
from torch import Tensor

import streammatte
from streammatte.cli.main import main
from streammatte.errors import InputError
from streammatte.frame import Cutout, Frame
from streammatte.media import open_video
from streammatte.media.read.guide import GuideMatte
from streammatte.stages import EdgeShaper, choke, feather, stages_for

pytestmark = pytest.mark.media

WIDTH, HEIGHT = clips.SIZE
QUICK = [
    "--model",
    "birefnet-nano",
    "--size",
    "64x64",
    "--device",
    "cpu",
    "--smooth",
    "off",
    "--colors",
    "off",
    "--quiet",
]


def matte_of(path: Path) -> list[np.ndarray]:
    """Alphas of what was written."""
    with open_video(path) as source:
        return [cutout.alpha.numpy() for cutout in source.cutouts()]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.write_clip(tmp_path_factory.mktemp("footage") / "clip.mp4")


@pytest.fixture(scope="module")
def bands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Columns of black, grey and white, 16 pixels each, at the footage's size."""
    path = tmp_path_factory.mktemp("bands") / "bands.png"
    cv2.imwrite(str(path), np.repeat(np.array([[0, 51, 102, 255]], np.uint8), 16, axis=1).repeat(HEIGHT, axis=0))
    return path


def test_the_alpha_is_exactly_what_the_mattes_say(bands: Path, tmp_path: Path) -> None:
    clip = clips.write_clip(tmp_path / "clip.mp4", pts=clips.even_pts(3))
    rows = np.arange(20, 20 + 4 * HEIGHT, 4, np.uint8)
    cv2.imwrite(str(tmp_path / "rows.png"), np.repeat(rows[:, None], WIDTH, axis=1))
    rows_core = ["--core-matte", str(tmp_path / "rows.png")]

    def made(*options: str) -> np.ndarray:
        out = tmp_path / "out.####.png"
        assert main([str(clip), "-o", str(out), "--bits", "16", "--overwrite", *QUICK, *options]) == 0
        return np.stack(matte_of(out))

    share = np.repeat([0, 0.2, 0.4, 1], 16).astype(np.float32)
    step = 1.01 / 65535
    bare, base = made(), made(*rows_core)
    # The core also teaches the stages at the network's size, so that more than it demands may follow.
    assert (base - np.maximum(bare, rows[:, None] / np.float32(255))).min() > -step
    assert (made("--core-matte", str(bands))[..., 48:] == 1).all()
    garbage = made(*rows_core, "--garbage-matte", str(bands))
    assert np.abs(garbage - base * (1 - share)).max() < step
    assert (garbage[..., 48:] == 0).all()
    assert np.abs(made(*rows_core, "--holdout-matte", f"invert:{bands}") - base * share).max() < step


def test_core_and_garbage_hold_through_everything_and_holdout_leaves_colours(clip: Path, tmp_path: Path) -> None:
    """With smoothing, colours, choke and feather on, which all look around."""
    rng = np.random.default_rng(1)
    core, garbage = (rng.random((2, HEIGHT, WIDTH)) > 0.8).astype(np.uint8) * 255
    cv2.imwrite(str(tmp_path / "core.png"), core)
    cv2.imwrite(str(tmp_path / "garbage.png"), garbage)

    def disc(frames: Sequence[Frame]) -> list[Tensor]:
        return [torch.from_numpy(np.roll(_disc(14, clips.SIZE), 2 * frame.index, axis=1)) for frame in frames]

    def cutouts(colors: Literal["on", "off"], *, hold: bool) -> list[Cutout]:
        with open_video(clip) as source:
            mattes = {name: GuideMatte(str(tmp_path / f"{name}.png"), source.info) for name in ("core", "garbage")}
            holdout = GuideMatte(f"invert:{tmp_path / 'core.png'}", source.info) if hold else None
            stages = stages_for((64, 64), colors, choke=1.5, feather=4, holdout=holdout, **mattes)
            return list(streammatte.matte(source, disc, stages))

    for cutout in cutouts("on", hold=False):
        alpha = cutout.alpha.numpy()
        assert (alpha[garbage == 255] == 0).all()
        assert (alpha[(core == 255) & (garbage == 0)] == 1).all()
    without, held = cutouts("off", hold=False), cutouts("off", hold=True)
    assert len(without) == len(held) == clips.FRAMES
    for cutout, other in zip(without, held, strict=True):
        assert torch.equal(other.alpha, cutout.alpha * torch.from_numpy(core == 255))
        assert cutout.foreground is not None and other.foreground is not None
        assert torch.allclose(cutout.foreground, other.foreground, atol=1e-6)


@pytest.mark.parametrize("name", ["mattes.mkv", "mattes.####.png"])
def test_every_frame_gets_its_own_matte(clip: Path, tmp_path: Path, name: str) -> None:
    levels = [20 * index for index in range(clips.FRAMES)]
    path = write_grey(tmp_path / name, [*levels, 250])  # one more does no harm
    with open_video(clip) as source, GuideMatte(str(path), source.info) as guide:
        got = [guide.at(frame) for frame in source]
    for alpha, level in zip(got, levels, strict=True):
        assert alpha.shape == (HEIGHT, WIDTH)
        assert torch.equal(alpha, torch.full((HEIGHT, WIDTH), np.float32(level) / np.float32(255)))


def test_a_clip_of_variable_rate_is_matched_by_time(tmp_path: Path) -> None:
    """Its own frames, moved by a second: the first ones are shown together."""
    footage = clips.write_clip(tmp_path / "vfr.mp4", pts=clips.VARIABLE_PTS)
    late = [stamp + 12800 for stamp in clips.VARIABLE_PTS]
    grey = clips.write_clip(
        tmp_path / "grey.mkv",
        pts=[round(s / 12.8) for s in late],
        time_base=Fraction(1, 1000),
        codec="ffv1",
        pixels="gray",
    )
    with open_video(footage) as source, open_video(grey) as mattes:
        info, frames, own = source.info, list(source), [cutout.alpha for cutout in mattes.cutouts()]
    with GuideMatte(str(grey), info) as guide:
        assert all(torch.equal(guide.at(frame), alpha) for frame, alpha in zip(frames, own, strict=True))
    with GuideMatte(str(grey), info) as guide, pytest.raises(InputError, match=r"grey\.mkv.* frame 4 "):
        for frame in frames[:3] + frames[5:]:  # not its own frames any more
            guide.at(replace(frame, pts=frame.pts - 700 * (frame.index > 3), index=frame.index - (frame.index > 3)))


def test_numbers_are_kept_to(tmp_path: Path) -> None:
    for number in range(4, 8):
        cv2.imwrite(str(tmp_path / f"plate.{number:04d}.png"), clips.picture(number)[..., ::-1])
    write_grey(tmp_path / "m.####.png", [20 * number for number in range(1, 9)])
    with open_video(tmp_path / "plate.####.png") as source:
        guide = GuideMatte(str(tmp_path / "m.####.png"), source.info, first_number=source.first_number)
        for frame, number in zip(source, range(4, 8), strict=True):
            assert guide.at(frame)[0, 0] == np.float32(20 * number) / np.float32(255)
    (tmp_path / "m.0008.png").unlink()
    (tmp_path / "m.0007.png").unlink()
    with pytest.raises(InputError, match=r"m\.####\.png.* 1 to 6.* 4 to 7"):
        GuideMatte(str(tmp_path / "m.####.png"), source.info, first_number=source.first_number)


def test_what_is_not_in_step_is_refused(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(matte: Path, option: str = "--garbage-matte") -> str:
        out = tmp_path / "out.mov"
        assert main([str(clip), "-o", str(out), option, str(matte), *QUICK]) == 1
        assert not out.exists() and {path.suffix for path in tmp_path.glob(".*")} <= {".mattes"}
        message = capsys.readouterr().err
        assert "Traceback" not in message and "hint: " in message
        return message

    short = said(write_grey(tmp_path / "short.mkv", [0] * 7))
    assert "short.mkv" in short and "frame 7 " in short and "0.280 s" in short
    few = said(write_grey(tmp_path / "few.####.png", [0] * 7))
    assert "few.####.png" in few and "frame 7 " in few
    fast = said(write_grey(tmp_path / "50.mkv", [0] * 24, rate=50))
    assert "frame 1 " in fast and "0.040 s" in fast and "50 fps" in fast and "25" in fast
    assert "30 fps" in said(write_grey(tmp_path / "30.mkv", [0] * 14, rate=30))
    (tmp_path / "gap.0001.png").write_bytes((tmp_path / "few.0001.png").read_bytes())
    (tmp_path / "gap.0003.png").write_bytes((tmp_path / "few.0001.png").read_bytes())
    assert "gap.0002.png" in said(tmp_path / "gap.####.png", "--core-matte")
    assert str(clip) in said(clip, "--holdout-matte")
    assert "none.png" in said(tmp_path / "none.png", "--core-matte")
    damaged = clips.blank_packets(
        write_grey(tmp_path / "whole.mkv", [9 * i for i in range(12)]), tmp_path / "bad.mkv", range(5, 6), skip=0
    )
    assert "bad.mkv" in said(damaged)
    matte = write_grey(tmp_path / "own.mkv", [0] * 12)
    assert main([str(clip), "-o", str(matte), "--core-matte", f"invert:{matte}", "--overwrite", *QUICK]) == 2
    assert str(matte) in capsys.readouterr().err


def test_what_should_be_known_of_a_matte_is_said(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_grey(tmp_path / "small.####.png", [255], size=(32, 24))
    opaque = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    opaque[:20, :, :3] = 0
    cv2.imwrite(str(tmp_path / "opaque.png"), opaque)
    given = ["--core-matte", str(tmp_path / "small.0001.png"), "--holdout-matte", str(tmp_path / "opaque.png")]
    out = tmp_path / "out.####.png"
    assert main([str(clip), "-o", str(out), *given, *QUICK[:-1], "--json"]) == 0
    said = capsys.readouterr()
    assert "32×24" in said.err and "opaque.png: " in said.err
    assert [matte["as"] for matte in json.loads(said.out)["mattes"]] == ["core", "holdout"]
    assert all((alpha == 0).all() for alpha in matte_of(out))


@pytest.mark.parametrize("given", [["--choke", "wide"], ["--choke", "nan"], ["--choke", "1e9"], ["--feather", "-2"]])
def test_sizes_that_are_none(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["clip.mp4", "-o", "out.mov", *given])
    assert given[0] in capsys.readouterr().err


def _disc(radius: float, size: tuple[int, int] = (128, 128), *, smooth: bool = True) -> np.ndarray:
    """A hard-edged disc about the middle, its edge pixels covered by their share or wholly."""
    fine = 8 if smooth else 1
    y, x = (np.arange(fine * side) / fine + (1 / fine - 1) / 2 - (side - 1) / 2 for side in reversed(size))
    inside = (x[None] ** 2 + y[:, None] ** 2 < radius**2).astype(np.float32)
    return cv2.resize(inside, size, interpolation=cv2.INTER_AREA)


def _radii(alpha: np.ndarray) -> np.ndarray:
    """Where alpha is one half, on 360 rays from the middle."""
    angle, along = np.linspace(0, 2 * np.pi, 360, endpoint=False), np.arange(0, 60, 0.02)
    middle = (alpha.shape[0] - 1) / 2
    x, y = (np.float32(middle + np.outer(way(angle), along)) for way in (np.cos, np.sin))
    ray = cv2.remap(alpha, x, y, cv2.INTER_LINEAR)
    return along[(ray >= 0.5).shape[1] - 1 - np.argmax(ray[:, ::-1] >= 0.5, axis=1)]


def test_choke_moves_the_edge_of_a_disc_by_just_so_much() -> None:
    for pixels, smooth in product([0.25, 1, 1.5, 3, 5, -0.5, -3], [True, False]):
        for radius in (12, 20, 40):
            disc = _disc(radius, smooth=smooth)
            moved = choke(disc, pixels)
            assert np.sqrt(disc.sum() / np.pi) - np.sqrt(moved.sum() / np.pi) == pytest.approx(pixels, abs=0.1)
            assert (_radii(disc) - _radii(moved)).mean() == pytest.approx(pixels, abs=0.1)
            assert moved.min() == 0 and moved.max() == 1


def test_choke_keeps_what_is_soft_and_what_is_thin() -> None:
    slope = np.tile(np.clip((np.arange(96, dtype=np.float32) - 40) / 16, 0, 1), (64, 1))
    assert np.abs(choke(slope, 3)[8:-8, 8:-8] - np.roll(slope, 3, axis=1)[8:-8, 8:-8]).max() < 0.02
    hair = np.zeros((64, 64), np.float32)
    for column, width, opacity in ((8, 1, 1.0), (20, 2, 0.8), (32, 3, 0.6), (48, 6, 1.0)):
        hair[:, column : column + width] = opacity
    for column, width in ((8, 1), (20, 2), (32, 3), (48, 6)):
        strand = np.s_[8:-8, column - 4 : column + width + 4]
        for pixels in (1, 3, 10):
            assert choke(hair, pixels)[strand].sum() >= 0.3 * hair[strand].sum()
        assert choke(hair, -3)[8:-8, column - 2 : column + width + 2].min() > 0.5  # spread, without holes
    assert choke(hair * 0.3, 2).sum() == (hair * 0.3).sum()


@pytest.mark.parametrize("width", [2, 5, 10, 20])
def test_feather_keeps_the_line_and_what_is_beyond_its_width(width: float) -> None:
    for radius in (12, 20, 40):
        disc = _disc(radius)
        soft = feather(disc, width)
        assert (_radii(soft) - _radii(disc)).mean() == pytest.approx(0, abs=0.1)
        y, x = np.mgrid[:128, :128] - 63.5
        away = np.hypot(x, y) - radius
        assert (soft[away < -width / 2 - 1.5] == 1).all() and (soft[away > width / 2 + 1.5] == 0).all()
        assert (np.diff(soft[64, 64:]) <= 1e-6).all()
    edge = np.zeros((64, 64), np.float32)
    edge[:, 32:] = 1
    assert np.abs(feather(edge, width)[:, 31:33].sum(axis=1) - 1).max() < 1e-5
    partly = np.count_nonzero((feather(edge, width)[32] > 0) & (feather(edge, width)[32] < 1))
    assert width - 1 <= partly <= width + 1


def test_shaping_near_the_frames_border_and_of_nothing() -> None:
    """What touches the border has no edge there; the part that is computed makes no difference."""
    alpha = np.zeros((64, 96), np.float32)
    alpha[20:, 30:60] = 1
    frame = Frame(torch.zeros(3, 64, 96, dtype=torch.uint8), 0, 0)
    (cutout,) = EdgeShaper(2, 6).push(Cutout(frame, torch.from_numpy(alpha)))
    assert np.abs(cutout.alpha.numpy() - feather(choke(alpha, 2), 6)).max() < 1e-6
    assert (cutout.alpha[40:, 45] == 1).all()
    for level in (0.0, 0.3, 1.0):
        flat = torch.full((64, 96), level)
        (cutout,) = EdgeShaper(-2, 6).push(Cutout(frame, flat))
        assert torch.allclose(cutout.alpha, flat)


class _Everywhere:
    """A matte of one level that has something for every frame."""

    def __init__(self, left: float, right: float) -> None:
        self._matte = torch.full((64, 96), left)
        self._matte[:, 48:] = right

    def at(self, frame: Frame) -> Tensor:
        return self._matte


@pytest.mark.parametrize("shape", [{"feather": 12.0}, {"choke": -4.0}])
def test_shaping_leaves_the_colours_and_what_mattes_make_certain(shape: dict[str, float]) -> None:
    """Told from an alpha that was softened or spread, colours would hold a rim of what lies behind the subject."""
    alpha = torch.from_numpy(_disc(20, (96, 64)).astype(np.float32))
    red, green = (torch.tensor(color)[:, None, None] for color in ([200.0, 20.0, 20.0], [20.0, 200.0, 20.0]))
    cutout = Cutout(Frame((red * alpha + green * (1 - alpha)).round().to(torch.uint8), 0, 0), alpha)

    def passed(**options: object) -> Cutout:
        cutouts = [cutout]
        for stage in stages_for((64, 64), "off", "off", **options):  # type: ignore[arg-type]
            cutouts = [after for each in cutouts for after in stage.push(each)]
        return cutouts[0]

    plain, shaped = passed(), passed(**shape)
    assert plain.foreground is not None and shaped.foreground is not None
    assert torch.equal(shaped.foreground, plain.foreground) and not torch.equal(shaped.alpha, plain.alpha)
    seen = shaped.as_float()[:, shaped.alpha > 0.05]
    assert seen[0].min() > 0.6 and seen[1].max() < 0.3, "red, without a rim of green"
    held = passed(**shape, garbage=_Everywhere(1, 0)).alpha
    assert (held[:, :48] == 0).all() and held[:, 48:].max() == 1
    assert (passed(**shape, core=_Everywhere(0, 1)).alpha[:, 48:] == 1).all()
