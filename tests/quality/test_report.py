"""``--report`` and ``--fail-on`` through the real command: scores, a page, and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
from conftest import SAMPLES
from support import clips
from support.clips import cut, write_clip
from support.pages import Reader

import streammatte
from streammatte.cli.main import main
from streammatte.frame import Cutout
from streammatte.media.lengths import Lengths
from streammatte.media.read.file_source import FileSource
from streammatte.quality.moments import SPREAD
from streammatte.quality.observer import Observer
from streammatte.quality.page import PICTURE_WIDTH, small

pytestmark = pytest.mark.media
QUICK = ["--model", "birefnet-nano", "--size", "160x160", "--device", "cpu", "--offline"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a clip of a hostile name, matted into everything there is."""
    folder = tmp_path_factory.mktemp("run")
    clip = write_clip(folder / "<b>&\"'.mp4", audio="aac", size=(96, 64))
    outputs = ["-o", str(folder / "out.mov"), "-o", str(folder / "out.webm"), "-o", str(folder / "cut.##.png")]
    report = ["--report", str(folder / "page.html"), "--fail-on", "flicker=1000", "--precision", "fp32"]
    assert main([str(clip), *outputs, *report, "--quiet", *QUICK]) == 0
    return folder


def test_the_page(run: Path) -> None:
    html = (run / "page.html").read_text(encoding="utf-8")
    seen = Reader(html)
    assert not seen.open
    assert seen.texts["h1"] == str(run / "<b>&\"'.mp4")
    assert not {"script", "link", "iframe", "b"} & set(seen.texts)
    addresses = [value or "" for name, value in seen.attributes if name in ("src", "href")]
    assert len(addresses) >= 7 * SPREAD // 2
    assert all(value.startswith("data:image/webp") for value in addresses), "it needs no network"
    close = [value for name, value in seen.attributes if name == "alt" and ":1" in (value or "")]
    widths = [int(value or 0) for name, value in seen.attributes if name == "width"]
    assert len([width for width in widths if width == PICTURE_WIDTH]) >= len(close) > 0
    for word in (
        "birefnet-nano",
        "160×160",
        "fp32",
        "cpu",
        "decontaminate",
        "out.webm",
        "160x160",
        "pass",
    ):
        assert word in seen.texts["td"]
    # No limit is exceeded and no stream is shorter. There may be a doubt, as the clip shows no subject.
    assert "above the limit" not in seen.texts.get("strong", "")
    assert not list(run.glob(".*")), "nothing is left beside it"


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
    assert "flicker" in said
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "out.mov", "out.html"}
    seen = Reader((tmp_path / "out.html").read_text())
    assert "flicker" in seen.texts["strong"] and "FAIL" in seen.texts["td"]
    assert main([clip, *outputs, "--fail-on", "flicker=1e6", *QUICK]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("wrong", ["flicker", "flicker=", "flicker=much", "flicker=-1", "flicker=nan", "beauty=1"])
def test_wrong_limits_exit_with_2(wrong: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["clip.mp4", "-o", "out.mov", "--fail-on", wrong])
    assert leaving.value.code == 2


def test_a_limit_on_what_cannot_be_measured_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), clips.picture(6))
    limits = [each for name in ("flicker", "contamination", "mended", "audio") for each in ("--fail-on", f"{name}=9")]
    outputs = ["-o", str(tmp_path / "cut.png"), "--report", str(tmp_path / "page.html")]
    assert main([str(still), *outputs, *limits, *QUICK, "--quiet"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert {line.split()[1] for line in said} >= {"flicker", "mended", "audio"}
    assert (tmp_path / "cut.png").exists(), "everything is written"
    seen = Reader((tmp_path / "page.html").read_text())
    assert "flicker" in seen.texts["strong"] and "not measured" in seen.texts["td"]


def test_nothing_is_scored_unless_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert "audio" in capsys.readouterr().err
    strong = Reader((tmp_path / "out.html").read_text()).texts["strong"]
    assert "audio" in strong and "video" in strong


def test_a_page_is_refused_or_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = str(write_clip(tmp_path / "clip.mkv", codec="ffv1", time_base=Fraction(1, 1000), pts=range(0, 480, 40)))
    broken = str(cut(Path(clip), tmp_path / "broken.mkv"))
    old = tmp_path / "old.html"
    old.write_text("mine")
    out = str(tmp_path / "out.mov")

    def left() -> set[Path]:
        """All files, the mattes that a run keeps to be resumed apart."""
        return {path for path in tmp_path.iterdir() if not path.match(".*.mattes")}

    before = left()

    def refused(*arguments: str, code: int = 2) -> bool:
        assert main([*arguments, "-o", out, *QUICK, "--quiet"]) == code
        assert left() == before, "nothing is left behind"
        return "Traceback" not in capsys.readouterr().err

    assert refused(clip, "--report", str(old), code=1)
    assert refused(clip, "--report", str(tmp_path / "none" / "a.html"), code=1)
    assert refused(clip, "--report", str(tmp_path / "report.json"))
    assert refused(clip, "--report", str(tmp_path / "a.html"), "-o", str(tmp_path / "a.html"))
    assert refused(clip, "--smooth", "off", "--fail-on", "mended=0.1")
    assert refused(clip, "--fail-on", "flicker=1", "--fail-on", "flicker=2")
    assert refused(broken, "--strict", "--report", str(tmp_path / "new.html"), code=1)
    matte = ("--matte", str(tmp_path / "m.mov"), *QUICK, "--quiet", "--fail-on", "contamination=1")
    assert main([clip, *matte]) == 2, "a matte has no colours to score"
    assert old.read_text() == "mine" and left() == before
    assert main([clip, "--report", str(old), "--overwrite", *QUICK, "--quiet"]) == 0
    assert old.read_text().startswith("<!DOCTYPE html>")
