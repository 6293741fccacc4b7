"""Backgrounds: what is given is what is seen behind the subject, and the subject leaves no ghost in it."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from support import clips

from streammatte.errors import InputError, SourceNotFound
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media import open_writer
from streammatte.media.background import open_background

pytestmark = pytest.mark.media

INFO = StreamInfo(64, 48, Fraction(1, 25), Fraction(25), None, ColorSpec(matrix=6))


def cutout(alpha, pts=0, rgb=None):
    rgb = torch.from_numpy(clips.picture(3)).permute(2, 0, 1) if rgb is None else rgb
    return Cutout(Frame(rgb, pts, pts), alpha)


COLORS = {
    "green": (0, 128, 0),
    "White": (255, 255, 255),
    "greenscreen": (0, 177, 64),
    "bluescreen": (0, 71, 187),
    "#00b140": (0, 177, 64),
    "#fA0": (255, 170, 0),
    "0,177,64": (0, 177, 64),
    "12, 0, 255": (12, 0, 255),
}
SOLID, CLEAR = torch.ones(48, 64), torch.zeros(48, 64)


def test_colors():
    for spec, rgb in COLORS.items():
        picture = open_background(spec, INFO).frame(cutout(CLEAR))
        assert picture.shape == (3, 48, 64)
        assert torch.equal(picture * 255, torch.tensor(rgb, dtype=torch.float32)[:, None, None].expand(3, 48, 64)), spec


@pytest.mark.parametrize("spec", ["mauvish", "#12345", "blur:", "blur:x", "blur:-3", "blur:0", "1,2,300", "hotpinkish"])
def test_specs_that_mean_nothing(spec):
    with pytest.raises(InputError) as caught:
        open_background(spec, INFO)
    assert spec in str(caught.value)
    assert caught.value.hint


def test_a_background_that_is_not_there(tmp_path):
    with pytest.raises(SourceNotFound):
        open_background(tmp_path / "beach.jpg", INFO)


def png(path, rgb):
    assert cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def test_a_picture_of_the_size_is_itself(tmp_path):
    path = png(tmp_path / "beach.png", clips.picture(7))
    picture = open_background(path, INFO).frame(cutout(CLEAR))
    assert torch.equal((picture * 255).round(), torch.from_numpy(clips.picture(7)).permute(2, 0, 1).float())


@pytest.mark.parametrize("size", [(256, 48), (64, 192), (32, 24), (300, 300), (7, 5)])
def test_pictures_cover_the_frame_about_their_centre(tmp_path, size):
    width, height = size
    rgb = np.full((height, width, 3), 50, np.uint8)
    rgb[height // 2 - max(1, height // 8) : height // 2 + max(1, height // 8) + 1] = 200
    picture = open_background(png(tmp_path / "p.png", rgb), INFO).frame(cutout(CLEAR))
    assert picture.shape == (3, 48, 64)
    rows = picture[0].mean(1)
    assert abs(float((rows * torch.arange(48)).sum() / rows.sum()) - 23.5) < 2
    assert picture.amax() > 0.7


def test_a_clip_runs_by_time_and_loops(tmp_path):
    path = clips.write_clip(tmp_path / "loop.mp4", pts=clips.even_pts(5))  # 25 frames a second
    half_rate = StreamInfo(64, 48, Fraction(1, 1000), Fraction(25, 2), None, ColorSpec())
    background = open_background(path, half_rate)
    seen = []
    for pts in range(700, 700 + 80 * 6, 80):
        picture = background.frame(cutout(CLEAR, pts))
        seen.append(clips.index_of((picture * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()))
    background.close()
    assert seen == [0, 2, 4, 1, 3, 0]


def test_a_looped_animation_keeps_its_last_frame_as_long_as_it_says(tmp_path):
    first, last = (Image.fromarray(clips.picture(index)) for index in (0, 9))
    first.save(tmp_path / "loop.gif", save_all=True, append_images=[last], duration=[100, 700])
    background = open_background(tmp_path / "loop.gif", INFO)
    seen = [float(background.frame(cutout(CLEAR, pts)).mean()) for pts in range(0, 25, 2)]  # 80 ms apart
    background.close()
    one, other = seen[0], seen[2]
    assert one != other
    assert seen == [one, one] + 8 * [other] + [one, one, other]  # 0 to 100 ms, and 800 to 900 ms


def test_compositing_restores_what_it_should(tmp_path):
    rng = np.random.default_rng(5)
    frame = torch.from_numpy(rng.integers(0, 256, (3, 48, 64), dtype=np.uint8))
    own = png(tmp_path / "own.png", np.ascontiguousarray(frame.permute(1, 2, 0)))
    other = png(tmp_path / "other.png", clips.picture(9))
    soft = torch.rand(48, 64, generator=torch.Generator().manual_seed(1))
    cases = [
        (SOLID, other, frame),
        (CLEAR, other, torch.from_numpy(clips.picture(9)).permute(2, 0, 1)),
        (soft, own, frame),
    ]
    for alpha, behind, expected in cases:
        with open_writer(tmp_path / "out.png", INFO, background=behind, overwrite=True) as writer:
            writer.write(cutout(alpha, rgb=frame))
        found = cv2.imread(str(tmp_path / "out.png"))[..., ::-1]
        assert np.array_equal(found, expected.permute(1, 2, 0))


def test_the_foreground_is_what_is_composited(tmp_path):
    made = Cutout(Frame(torch.zeros(3, 48, 64, dtype=torch.uint8), 0, 0), SOLID / 2, torch.full((3, 48, 64), 0.8))
    with open_writer(tmp_path / "out.png", INFO, background="white", bits=16) as writer:
        writer.write(made)
    assert np.all(np.abs(cv2.imread(str(tmp_path / "out.png"), -1) / 65535 - 0.9) < 1e-4)


def test_blur_leaves_a_flat_surrounding_flat():
    # A black subject on grey: were it blurred along, its ghost would darken the grey around it.
    rgb = torch.full((3, 48, 64), 128, dtype=torch.uint8)
    alpha = torch.zeros(48, 64)
    alpha[12:36, 20:44] = 1
    rgb[:, 12:36, 20:44] = 0
    picture = open_background("blur:6", INFO).frame(cutout(alpha, rgb=rgb))
    assert picture.shape == (3, 48, 64)
    assert (picture - 128 / 255).abs()[:, alpha == 0].max() < 0.01


@pytest.mark.parametrize("radius", [0.5, 3, 20])
def test_blur_is_a_gaussian_of_that_deviation(radius):
    info = StreamInfo(240, 200, Fraction(1, 25), Fraction(25), None, ColorSpec())
    rgb = torch.zeros(3, 200, 240)
    rgb[:, :, 120:] = 1
    edge = open_background(f"blur:{radius}", info).frame(cutout(torch.zeros(200, 240), rgb=rgb))[0, 100]
    slope = torch.diff(edge)
    place = torch.arange(239) + 0.0
    mean = (slope * place).sum() / slope.sum()
    deviation = float(((slope * (place - mean) ** 2).sum() / slope.sum()).sqrt())
    assert abs(deviation - radius) < 0.15 * radius + 0.15


def test_blur_where_the_subject_fills_the_frame():
    picture = open_background("blur", INFO).frame(cutout(SOLID))
    assert bool(torch.isfinite(picture).all())
    assert 0 <= float(picture.min()) <= float(picture.max()) <= 1


def test_damage_of_a_clip_is_told_with_the_output(tmp_path):
    whole = clips.write_clip(tmp_path / "whole.mp4", container_options={"movflags": "+faststart"}, b_frames=0)
    cut = clips.cut(whole, tmp_path / "cut.mp4", keep=0.9)
    for behind, damaged in ((whole, False), (cut, True)):
        with open_writer(tmp_path / "out.mov", INFO, background=behind, overwrite=True) as writer:
            for pts in range(2 * clips.FRAMES):
                writer.write(cutout(CLEAR, pts))
        assert ("damaged" in writer.description) == damaged
