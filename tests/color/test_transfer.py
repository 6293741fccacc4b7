"""Log, linear and HDR pictures: the published curves, and a network that sees what a screen would show."""

import json
from itertools import product

import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from support.clips import write_clip

from streammatte.cli.main import main
from streammatte.color.curves import light_from_logc3, light_from_slog3, nits_from_pq, srgb_from_light
from streammatte.color.screen import CURVES, displayed, nits_from_hlg, transfer_for, view_of
from streammatte.frame import ColorSpec, Frame
from streammatte.media import open_video

pytestmark = pytest.mark.media

ALONE = ["--model", "birefnet-nano", "--device", "cpu", "--precision", "fp32", "--overwrite", "--quiet"]


def test_curves_have_their_published_values():
    for curve, code, light in [
        (light_from_logc3, 0.391, 0.18),  # ARRI: 18 % grey at EI 800
        (light_from_logc3, 0.092809, 0.0),
        (light_from_logc3, 1.0, 55.08),  # the sensor's clipping, 8.3 stops above grey
        (light_from_slog3, 95 / 1023, 0.0),  # Sony: 0, 18 and 90 % reflection
        (light_from_slog3, 420 / 1023, 0.18),
        (light_from_slog3, 598 / 1023, 0.9),
        (nits_from_pq, 0.0, 0.0),
        (nits_from_pq, 0.508, 100.0),  # ST 2084
        (nits_from_pq, 0.7518, 1000.0),
        (nits_from_pq, 1.0, 10000.0),
        (nits_from_pq, 0.58, 203.0),  # BT.2408, table 1: diffuse white
        (nits_from_pq, 0.38, 26.0),  # and the 18 % grey card
        (nits_from_hlg, 0.0, 0.0),
        (nits_from_hlg, 0.75, 203.0),
        (nits_from_hlg, 0.38, 26.0),
        (nits_from_hlg, 1.0, 1000.0),
        (srgb_from_light, 0.18, 0.4614),
        (srgb_from_light, 0.0031308, 0.04045),
        (srgb_from_light, 1.0, 1.0),
    ]:
        assert float(curve(np.array(code))) == pytest.approx(light, rel=0.012, abs=1e-4)


def test_curves_rise_and_are_continuous():
    for curve in CURVES:
        light = CURVES[curve](np.arange(65536) / 65535)
        steps = np.diff(light)
        assert np.all(steps >= 0)
        assert np.all(steps[1:] <= 1.02 * steps[:-1] + 1e-5)  # none jumps where two formulas meet


def test_white_is_white_black_is_black_and_brighter_is_clipped():
    for curve, dtype in product(CURVES, [torch.uint8, torch.uint16, torch.float32]):
        codes = np.arange(65536) / 65535
        white, brighter = np.interp([1.0, 4.0], CURVES[curve](codes), codes)
        peak = 1 if dtype is torch.float32 else 2 ** (8 * dtype.itemsize) - 1
        values = np.array([0.0, white, brighter]) * peak
        rgb = torch.tensor(values if peak == 1 else np.ceil(values)).to(dtype).expand(3, 1, 3)
        assert displayed(rgb, curve).dtype == dtype
        black, *whites = Frame(rgb, 0, 0, view=view_of(curve, None)).shown()[0, 0].tolist()
        assert black < 0.02 and min(whites) > 0.996


def test_a_name_is_above_the_tags():
    for named, tag, expected in [
        (None, 1, None),
        (None, 2, None),
        (None, 8, "linear"),
        (None, 16, "pq"),
        (None, 18, "hlg"),
        ("srgb", 16, None),
        ("rec709", 18, None),
        ("logc3", 1, "logc3"),
    ]:
        assert transfer_for(named, ColorSpec(transfer=tag)) == expected


@pytest.mark.parametrize("curve", ["logc3", "linear"])
def test_the_matte_is_that_of_the_picture_and_the_colours_are_as_they_came(tmp_path, curve):
    with open_video(SAMPLES / "talking.mp4") as source:
        shown = next(iter(source)).as_float().permute(1, 2, 0).numpy()
    shown = cv2.resize(np.ascontiguousarray(shown), (320, 180), interpolation=cv2.INTER_AREA)[..., ::-1]
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    codes = np.arange(65536) / 65535
    stored = np.rint(np.interp(light, CURVES[curve](codes), codes) * 65535).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "shown.png"), np.rint(shown * 65535).astype(np.uint16))
    cv2.imwrite(str(tmp_path / "in.png"), stored)

    def cutout(name, *options):
        assert main([str(tmp_path / name), "-o", str(tmp_path / "out.png"), *ALONE, *options]) == 0
        return cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)

    wanted = cutout("shown.png")[..., 3] / 65535
    found = cutout("in.png", "--input-transfer", curve)
    off = np.abs(found[..., 3] / 65535 - wanted).mean()
    blind = np.abs(cutout("in.png")[..., 3] / 65535 - wanted).mean()
    assert wanted.mean() > 0.05 and off < 0.002 and blind > 2 * off
    solid = found[..., 3] == 65535
    assert solid.any() and np.array_equal(found[solid][:, :3], stored[solid])


def test_a_tagged_clip_is_told_and_can_be_overruled(tmp_path, capsys):
    clip = write_clip(
        tmp_path / "in.mkv",
        pts=[0, 512],
        codec="libx265",
        options={"x265-params": "transfer=16:bframes=0:log-level=none"},
    )
    arguments = [str(clip), "--matte", str(tmp_path / "out.mp4"), "--json", "--size", "64x64", *ALONE]
    for asked, said in (([], "pq"), (["--input-transfer", "slog3"], "slog3"), (["--input-transfer", "srgb"], None)):
        assert main([*arguments, *asked]) == 0
        assert json.loads(capsys.readouterr().out)["input_transfer"] == said
    with pytest.raises(SystemExit):
        main([*arguments, "--input-transfer", "vlog"])
