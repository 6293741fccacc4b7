"""``--report`` and ``--fail-on``: scores that mean what they say, a page, and an exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from numpy.typing import NDArray
from streammatte.stages.motion import View
from support import clips
from support.clips import cut, write_clip
from support.pages import Reader

import streammatte
from streammatte.cli.main import main
from streammatte.frame import Cutout, Frame
from streammatte.media.lengths import Lengths
from streammatte.media.read.file_source import FileSource
from streammatte.quality.moments import SPREAD, Spread, thumbnail
from streammatte.quality.observer import Findings, Observer, Score
from streammatte.quality.page import small
from streammatte.quality.scores import SIZE, Flicker, contamination
from streammatte.quality.sheet import report_page
from streammatte.stages import TemporalSmoother, stages_for
from streammatte.summary import STAGES
from training.flicker import flickering

QUICK = ["--model", "birefnet-nano", "--size", "160x160", "--device", "cpu", "--offline"]
HEIGHT, WIDTH = 72, 96
Plane = NDArray[np.float32]


def texture(seed: int, scale: int = 1) -> NDArray[np.uint8]:
    """Something for motion to be told by, (HEIGHT, WIDTH, 3) times ``scale``."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH, 3)), (0, 0), 2)
    picture = np.asarray((128 + 200 * noise).clip(0, 255), np.uint8)
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale), np.uint8)


def disc(radius: float, x: float = WIDTH / 2, scale: int = 1) -> Plane:
    """An alpha with an edge 4 pixels wide, times ``scale``."""
    rows, columns = (np.mgrid[: HEIGHT * scale, : WIDTH * scale] + 0.5) / scale
    distance = np.hypot(columns - x, rows - HEIGHT / 2)
    return np.asarray(((radius - distance) / 4 + 0.5).clip(0, 1), np.float32)


def flickers(rgbs: list[NDArray[np.uint8]], alphas: list[Plane]) -> list[float | None]:
    measure = Flicker()
    return [measure(View.of(rgb, alpha)) for rgb, alpha in zip(rgbs, alphas, strict=True)]


@pytest.mark.parametrize("scale", [1, 2])
def test_flicker_is_how_far_an_edge_jumps(scale: int) -> None:
    rgb = texture(0, scale)
    first, still, out, back = flickers([rgb] * 4, [disc(radius, scale=scale) for radius in (20, 20, 22, 20)])
    assert first is None
    assert still == 0
    assert out == pytest.approx(back, rel=0.02)
    assert out == pytest.approx(1000 * 2 / WIDTH, rel=0.25), "2 pixels, less what motion may be off by"


def test_what_moves_with_the_picture_is_no_flicker() -> None:
    subject, background = texture(1), texture(2)
    rgbs, alphas = [], []
    for step in range(6):
        alpha = disc(20, 36 + 2 * step)
        moved = np.roll(subject, 2 * step, axis=1)
        rgbs.append((moved * alpha[..., None] + background * (1 - alpha[..., None])).astype(np.uint8))
        alphas.append(alpha)
    carried = [value for value in flickers(rgbs, alphas) if value is not None]
    stuck = [value for value in flickers(rgbs, alphas[:1] * 6) if value is not None]
    assert len(carried) == 5
    assert np.mean(carried) < 0.5 * np.mean(stuck)


def test_nothing_is_compared_across_a_cut() -> None:
    measure = Flicker()
    shots = [(texture(3), disc(20)), (texture(3), disc(20)), (texture(4), disc(8, 20)), (texture(4), disc(8, 20))]
    found = [(measure(View.of(*each)), measure.cut) for each in shots]
    assert found == [(None, False), (0, False), (None, True), (0, False)]


@pytest.mark.parametrize("name", ["talking", "glass"])
def test_a_true_matte_is_steady_and_one_that_boils_is_not(name: str) -> None:
    with (
        streammatte.open_video(SAMPLES / f"{name}.mp4") as footage,
        streammatte.open_video(SAMPLES / f"{name}.alpha.mkv") as mattes,
    ):
        rgbs = [thumbnail(frame, SIZE) for frame in islice(footage, 10)]
        truth = [np.ascontiguousarray(small(cutout.alpha.numpy(), SIZE)) for cutout in islice(mattes.cutouts(), 10)]
    steady, boiling = (
        [value for value in flickers(rgbs, alphas) if value is not None]
        for alphas in (truth, list(flickering(np.stack(truth))))
    )
    assert max(steady) < 0.4 < np.mean(boiling)
    assert np.median(boiling) > 3 * np.median(steady)


def test_contamination_is_the_share_of_the_background_that_is_left() -> None:
    alpha = disc(20)
    subject, background = (np.broadcast_to(np.float32(color), (HEIGHT, WIDTH, 3)) for color in ([0.8, 0.2, 0.1], 0.1))
    frame = np.asarray(alpha[..., None] * subject + (1 - alpha[..., None]) * background, np.float32)
    for left in (0.0, 0.5, 1.0):
        found, where = contamination(frame, np.asarray((1 - left) * subject + left * frame, np.float32), alpha)
        assert found == pytest.approx(left, abs=0.01)
        assert not where[(alpha == 0) | (alpha == 1)].any()
    assert contamination(np.ascontiguousarray(subject), np.ascontiguousarray(subject), alpha)[0] is None, "one colour"
    assert contamination(frame, frame, np.ones_like(alpha))[0] is None, "no edge"


def test_smoothing_says_what_it_mended() -> None:
    smoother = TemporalSmoother()
    rgb = torch.from_numpy(texture(5)).permute(2, 0, 1)
    for index in range(12):
        alpha = disc(20)
        if index == 5:
            alpha = np.zeros_like(alpha)
        if index == 8:
            alpha[30:38, 44:52] = 0
        list(smoother.push(Cutout(Frame(rgb, index, index), torch.from_numpy(alpha))))
    list(smoother.flush())
    assert list(smoother.mended) == [5, 8]
    assert smoother.mended[5] == pytest.approx(1, abs=0.1)
    assert smoother.mended[8] == pytest.approx(64 / (np.pi * 20**2), abs=0.01)


@pytest.mark.parametrize("count", [1, 7, 100, 1001])
def test_frames_are_evenly_spread_over_a_clip_of_any_length(count: int) -> None:
    spread = Spread()
    for index in range(count):
        spread.offer(index, index / 25, dict)
    kept = [moment.index for moment in spread.kept]
    assert min(count, SPREAD // 2) <= len(kept) <= SPREAD
    assert len(set(np.diff(kept))) <= 1
    assert kept[0] == 0 and count - kept[-1] <= max(1, count // 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip of a hostile name, matted into everything there is."""
    folder = tmp_path_factory.mktemp("run")
    clip = write_clip(folder / "<b>&\"'.mp4", audio="aac", size=(96, 64))
    outputs = ["-o", str(folder / "out.mov"), "-o", str(folder / "out.webm"), "-o", str(folder / "cut.##.png")]
    report = ["--report", str(folder / "page.html"), "--fail-on", "flicker=1000"]
    assert main([str(clip), *outputs, *report, "--quiet", *QUICK]) == 0
    return folder


def test_the_page(run: Path) -> None:
    html = (run / "page.html").read_text(encoding="utf-8")
    seen = Reader(html)
    assert not seen.open
    assert seen.texts["h1"] == str(run / "<b>&\"'.mp4")
    assert not {"script", "link", "iframe", "b"} & set(seen.texts)
    addresses = [value or "" for name, value in seen.attributes if name in ("src", "href")]
    assert len(addresses) >= 5 * SPREAD // 2
    assert all(value.startswith("data:image/webp") for value in addresses)
    for caption in ("frame", "matte", "over a checkerboard", "over black", "over white"):
        assert seen.texts["figcaption"].count(caption) >= SPREAD // 2
    cells = re.findall(r"<td>([^<]*)</td>", html)
    assert any(cell.startswith("birefnet-nano, 160×160") for cell in cells)
    assert "colors, smooth, decontaminate" in cells, "stages go by the names of their options"
    assert cells[cells.index("option size") + 1] == "160x160"
    assert cells[cells.index("option limits") + 1] == "flicker=1000"
    assert "out.webm" in seen.texts["td"]
    # No limit is crossed, and no stream is shorter. That the clip shows no subject may be said.
    assert all("--model" in line for line in re.findall(r"<strong>([^<]*)</strong>", html))
    assert not list(run.glob(".*")), "nothing is left beside it"


def test_stages_go_by_their_options_names() -> None:
    stages = stages_for((512, 512), colors="on", screen=(0.0, 1.0, 0.0))
    assert [STAGES[type(stage).__name__] for stage in stages] == [
        *("colors", "smooth", "detail", "decontaminate", "despill")
    ]


def written_to(observer: Observer, width: int, height: int, frames: int = 3) -> Observer:
    """Frames of a disc, squeezed into a size."""
    rgb, alpha = (cv2.resize(each, (width, height)) for each in (texture(7), disc(20)))
    for index in range(frames):
        cutout = Cutout(Frame(torch.from_numpy(rgb).permute(2, 0, 1), index, index), torch.from_numpy(alpha))
        observer.write(cutout)
    return observer


def test_the_share_of_frames_is_not_that_of_a_matte() -> None:
    observer = written_to(Observer(Fraction(1, 25), {1: 0.25}, colors=False), WIDTH, HEIGHT)
    findings = observer.findings({})
    (crossed,) = findings.crossed({"mended": 0})
    assert crossed.endswith("the worst is frame 1, at 0.04 s (0.25 of its matte)")
    html = report_page("clip", {}, observer, findings, [])
    rows = [re.findall("<td[^>]*>([^<]*)</td>", line.replace("\n", "")) for line in html.split("<tr>")]
    assert ["frames of which the matte was mended, as a share of all", "0.3333", "–", "–"] in rows
    assert ["what was mended of the frame mended most, as a share of its matte", "–", "0.25", "1"] in rows


@pytest.mark.parametrize(("width", "height"), [(4000, 2), (2, 4000), (640, 360), (20, 20000)])
def test_a_strip_is_looked_at_as_any_other_picture(width: int, height: int) -> None:
    observer = written_to(Observer(Fraction(1, 25), {}, colors=True), width, height)
    assert observer.flicker.total is not None
    assert max(observer.flicker.total.shape) == SIZE
    assert report_page("clip", {}, observer, observer.findings({}), []).startswith("<!DOCTYPE html>")


def test_samples_beyond_white_are_white() -> None:
    rgb = torch.tensor([-0.2, 0.5, 1.2]).expand(3, 2, 3)
    assert thumbnail(Frame(rgb, 0, 0))[0, :, 0].tolist() == [0, 128, 255]


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The findings of a run, from its JSON."""
    main([*arguments, *QUICK, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["findings"]
    return found


def test_the_scores_are_those_of_what_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = cut_short(SAMPLES / "talking.mp4", tmp_path / "clip.##.png", 6)
    arguments = [clip, "-o", str(tmp_path / "cut.##.png"), "--bits", "16", "--fail-on", "flicker=0"]
    found = report(capsys, *arguments, "--decontaminate", "off")
    assert found["cuts"] == []
    assert set(found["scores"]) == {"flicker", "contamination", "mended"}, "there is no sound"

    observer = Observer(Fraction(1, 24), None, colors=True)
    with streammatte.open_video(tmp_path / "cut.##.png") as written, streammatte.open_video(clip) as footage:
        for cutout, frame in zip(written.cutouts(), footage, strict=True):
            observer.write(Cutout(frame, cutout.alpha, cutout.frame.as_float()))
    for name in ("flicker", "contamination"):
        again = observer.findings({}).scores[name]
        assert again.score > 0
        assert found["scores"][name]["score"] == pytest.approx(again.score, rel=0.02)
        assert found["scores"][name]["frame"] == again.frame
    cleaned = report(capsys, *arguments, "--overwrite")["scores"]["contamination"]
    assert cleaned["score"] < 0.5 * found["scores"]["contamination"]["score"]


def cut_short(clip: Path, to: Path, frames: int) -> str:
    """The first frames of a clip, halved, as numbered pictures."""
    with streammatte.open_video(clip) as source:
        for index, frame in enumerate(islice(source, frames)):
            rgb = small(frame.rgb.permute(1, 2, 0).numpy(), frame.rgb.shape[2] // 2)
            cv2.imwrite(str(to.with_name(to.name.replace("##", f"{index:02}"))), rgb[..., ::-1])
    return str(to)


def test_a_limit_that_is_crossed_is_said_and_everything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(write_clip(tmp_path / "clip.mp4", audio="aac"))
    outputs = ["-o", str(tmp_path / "out.mov"), "--report", str(tmp_path / "out.html"), "--overwrite", "--quiet"]
    crossed = ["--fail-on", "flicker=0", "--fail-on", "audio=0.1"]
    assert main([clip, *outputs, *crossed, *QUICK]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("streammatte: flicker is ") and "above the limit of 0; the worst is frame " in said
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "out.mov", "out.html"}
    assert "above the limit" in Reader((tmp_path / "out.html").read_text()).texts["strong"]
    assert main([clip, *outputs, "--fail-on", "flicker=1e6", *QUICK]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("flicker", "flicker needs a limit, as in flicker=0.5"),
        ("flicker=", "'' is no limit for flicker"),
        ("flicker=much", "'much' is no limit for flicker"),
        ("flicker=-1", "'-1' is no limit for flicker"),
        ("flicker=nan", "'nan' is no limit for flicker"),
        ("beauty=1", "'beauty' is no score: There are flicker, contamination, mended, audio"),
        ("flickers=1", "'flickers' is no score: did you mean flicker?"),
    ],
)
def test_a_limit_that_is_none(wrong: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["clip.mp4", "-o", "out.mov", "--fail-on", wrong])
    assert leaving.value.code == 2
    assert said in capsys.readouterr().err


def test_a_limit_is_not_above_itself() -> None:
    findings = Findings({"audio": Score(0.5)}, [], {})
    assert findings.crossed({"audio": 0.5}) == []
    assert findings.crossed({"audio": 0.4999}) == ["audio is 0.5, above the limit of 0.4999"]


def test_a_limit_on_what_cannot_be_measured_is_no_limit_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Silence would say that all is well."""
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), texture(6))
    limits = [each for name in ("flicker", "contamination", "mended", "audio") for each in ("--fail-on", f"{name}=9")]
    outputs = ["-o", str(tmp_path / "cut.png"), "--report", str(tmp_path / "page.html")]
    assert main([str(still), *outputs, *limits, *QUICK, "--quiet"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "streammatte: flicker could not be measured: no frame follows another of its shot" in said
    assert {line.split()[1] for line in said} >= {"flicker", "mended", "audio"}
    assert all(" could not be measured: " in line for line in said)
    assert (tmp_path / "cut.png").exists(), "everything is written"
    assert "flicker could not be measured" in Reader((tmp_path / "page.html").read_text()).texts["strong"]


def test_without_a_soft_edge_there_is_no_contamination_to_limit() -> None:
    observer = Observer(Fraction(1, 25), None, colors=True)
    rgb = torch.from_numpy(texture(5)).permute(2, 0, 1)
    for index in range(2):
        observer.write(Cutout(Frame(rgb, index, index), torch.ones(HEIGHT, WIDTH)))
    (said,) = observer.findings({}).crossed({"contamination": 1, "flicker": 0})
    assert said == "contamination could not be measured: no soft edge lies between colours that differ"


def test_nothing_is_looked_at_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    assert main([str(clip), "-o", str(tmp_path / "out.mov"), *QUICK, "--json"]) == 0
    assert not {"findings", "crossed"} & json.loads(capsys.readouterr().out).keys()


def test_a_report_alone_and_of_a_matte_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = cut_short(SAMPLES / "talking.mp4", tmp_path / "clip.##.png", 2)
    page = ["--report", str(tmp_path / "page.html"), "--overwrite"]
    assert "contamination" in report(capsys, clip, *page)["scores"]
    assert "contamination" not in report(capsys, clip, "--matte", str(tmp_path / "m.mov"), *page)["scores"]
    assert "flicker" not in report(capsys, str(tmp_path / "clip.01.png"), *page)["scores"], "a picture does not change"
    assert (tmp_path / "page.html").stat().st_size > 2000


def test_a_name_that_is_no_text_loses_nothing(tmp_path: Path) -> None:
    """As a user runs it, in a locale that is strict about what it prints."""
    clip = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.mp4")
    write_clip(tmp_path / "clip.mp4", pts=clips.even_pts(2)).rename(clip)
    folder = os.fsencode(tmp_path)
    arguments = [clip, "-o", folder + b"/out\xfe.mov", "--report", folder + b"/page.html", "--smooth", "off", *QUICK]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, "-m", "streammatte", *arguments], capture_output=True, env=strict)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"out\\udcfe.mov" in done.stdout
    assert os.listdir(folder).count(b"out\xfe.mov") == 1  # noqa: PTH208 - as bytes
    assert "bad\\udcff.mp4" in Reader((tmp_path / "page.html").read_text(encoding="utf-8")).texts["h1"]


def test_lengths_are_read_from_every_container(run: Path, tmp_path: Path) -> None:
    matroska = write_clip(tmp_path / "clip.mkv", audio="aac", time_base=Fraction(1, 1000), pts=range(0, 480, 40))
    for path in (run / "<b>&\"'.mp4", run / "out.mov", run / "out.webm", matroska):
        with FileSource(str(path)) as file:
            lengths = file.lengths
        assert lengths.video == pytest.approx(clips.FRAMES / 25, abs=0.05)
        assert lengths.audio == pytest.approx(clips.FRAMES / 25, abs=0.1)
    with FileSource(str(SAMPLES / "walk.alpha.mkv")) as file:
        assert file.lengths.audio is None


def test_a_length_that_is_no_length_is_not_stated(tmp_path: Path) -> None:
    path = tmp_path / "clip.nut"  # keeps what others would correct
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = clips.SIZE
        stream.metadata["DURATION"] = "5.3"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(clips.picture(0), "rgb24").reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    with FileSource(str(path)) as file:
        assert file.lengths == Lengths(None, None)


def test_sound_that_went_missing_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = write_clip(
        tmp_path / "whole.mkv", audio="aac", time_base=Fraction(1, 1000), pts=range(0, 3000, 40), codec="ffv1"
    )
    broken = cut(whole, tmp_path / "broken.mkv")
    outputs = ["-o", str(tmp_path / "out.mov"), "--report", str(tmp_path / "out.html"), "--fail-on", "audio=0.1"]
    assert main([str(broken), *outputs, *QUICK, "--quiet"]) == 1
    assert "audio is 1." in capsys.readouterr().err
    strong = Reader((tmp_path / "out.html").read_text()).texts["strong"]
    assert "The sound of" in strong and "The picture of" in strong


def test_a_limit_on_sound_needs_sound() -> None:
    observer = Observer(Fraction(1, 25), None, colors=True)
    silent, sounding = Lengths(1.0, None), Lengths(1.0, 1.0)
    assert "audio" not in observer.findings({"a": silent, "b": silent}).scores
    assert observer.findings({"a": sounding, "b": Lengths(1.0, 0.7), "c": silent}).scores["audio"].score == 1
    unstated = Lengths(None, None, audible=True)
    assert "audio" not in observer.findings({"a": sounding, "b": unstated}).scores, "nobody knows"
    assert observer.findings({"a": sounding, "b": unstated, "c": sounding}).scores["audio"].score == 0
    lengths = {"a": sounding, "b": unstated}
    assert "strong" not in Reader(report_page("clip", {}, observer, Findings({}, [], {}, lengths), [])).texts


def test_a_page_is_refused_or_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = str(write_clip(tmp_path / "clip.mkv", codec="ffv1", time_base=Fraction(1, 1000), pts=range(0, 480, 40)))
    broken = str(cut(Path(clip), tmp_path / "broken.mkv"))
    old = tmp_path / "old.html"
    old.write_text("mine")
    before = set(tmp_path.iterdir())
    out = str(tmp_path / "out.mov")

    def refused(*arguments: str) -> str:
        assert main([*arguments, "-o", out, *QUICK, "--quiet"]) == 1
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-2].startswith("streammatte: error: ") and said[-1].startswith("  hint: ")
        assert set(tmp_path.iterdir()) == before, "nothing is left behind"
        return said[-2]

    assert "exists" in refused(clip, "--report", str(old))
    assert "does not exist" in refused(clip, "--report", str(tmp_path / "none" / "a.html"))
    assert "does not end in .html" in refused(clip, "--report", str(tmp_path / "report.json"))
    assert "named twice" in refused(clip, "--report", str(tmp_path / "a.html"), "-o", str(tmp_path / "a.html"))
    assert "smooth is off" in refused(clip, "--smooth", "off", "--fail-on", "mended=0.1")
    assert "may be given only once" in refused(clip, "--fail-on", "flicker=1", "--fail-on", "flicker=2")
    matte = ("--matte", str(tmp_path / "m.mov"), *QUICK, "--quiet", "--fail-on", "contamination=1")
    assert main([clip, *matte]) == 1
    assert "a matte alone has none" in capsys.readouterr().err and set(tmp_path.iterdir()) == before
    assert "broken.mkv" in refused(broken, "--strict", "--report", str(tmp_path / "new.html"))
    assert old.read_text() == "mine"
    assert main([clip, "--report", str(old), "--overwrite", *QUICK, "--quiet"]) == 0
    assert old.read_text().startswith("<!DOCTYPE html>")
