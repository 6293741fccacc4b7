"""``streammatte evaluate`` through the real command: figures, a page, refusals."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import clips
from support.clips import cut, write_clip
from support.pages import Reader

from streammatte.cli.main import main
from streammatte.errors import OutputError
from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media import open_writer
from streammatte.quality import metrics
from streammatte.quality.evaluate import evaluate
from streammatte.quality.moments import CloseUp
from streammatte.quality.options import EvaluationOptions

pytestmark = pytest.mark.media
Alpha = NDArray[np.float32]
WIDTH, HEIGHT, FRAMES, POP = 64, 48, 24, 15


def truths(frames: int = FRAMES) -> list[Alpha]:
    """A moving soft disc, quantised to 1/255."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    discs = [np.clip((14 - np.hypot(y - 22, x - 18 - t)) / 4, 0, 1) for t in range(frames)]
    return [(np.rint(disc * 255) / 255).astype(np.float32) for disc in discs]


def mattes() -> list[Alpha]:
    """The truth, slightly too soft, with a steady speck beside it, and in one frame without its upper half."""
    alphas = [(np.rint(cv2.blur(truth, (3, 3)) * 255) / 255).astype(np.float32) for truth in truths()]
    for alpha in alphas:
        alpha[40:46, 2:8] = 0.6
    alphas[POP][:22] = 0
    return alphas


def write(path: Path, alphas: list[Alpha], content: str = "matte", rgb: NDArray[np.uint8] | None = None) -> Path:
    """A clip by our own writers; numbered PNGs are exact."""
    height, width = alphas[0].shape
    info = StreamInfo(width, height, Fraction(1, 25), Fraction(25), None, ColorSpec())
    colors = torch.from_numpy(np.full((height, width, 3), 90, np.uint8) if rgb is None else rgb).permute(2, 0, 1)
    with open_writer(path, info, content="plate" if content == "plate" else "matte", bits=8) as writer:
        for index, alpha in enumerate(alphas):
            writer.write(Cutout(Frame(colors, index, index), torch.from_numpy(alpha)))
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("pair")
    return str(write(folder / "pred.##.png", mattes())), str(write(folder / "truth.##.png", truths()))


def evaluated(*arguments: str) -> dict[str, object]:
    """The command's JSON."""
    path = Path(arguments[0]).parent / "figures.json"
    assert main(["evaluate", *arguments, "--json", str(path), "--quiet", "--overwrite"]) == 0
    figures: dict[str, object] = json.loads(path.read_text())
    return figures


def test_the_figures_are_those_of_the_metrics(pair: tuple[str, str]) -> None:
    found = evaluated(*pair)
    assert (found["width"], found["height"], found["frames"]) == (WIDTH, HEIGHT, FRAMES)
    scores, per_frame = found["scores"], found["per_frame"]
    assert isinstance(scores, dict) and isinstance(per_frame, dict)
    together = list(zip(mattes(), truths(), strict=True))
    for name in ("mad", "mse", "grad", "conn", "iou"):
        expected = [getattr(metrics, name)(alpha, truth) for alpha, truth in together]
        assert per_frame[name] == pytest.approx(expected)
        assert scores[name] == pytest.approx(np.mean(expected))
    assert per_frame["dtssd"][0] is per_frame["messddt"][0] is None
    assert scores["dtssd"] == pytest.approx(metrics.dtssd(mattes(), truths()))
    assert scores["dtssd_rvm"] == pytest.approx(metrics.dtssd(mattes(), truths(), count_first=True))
    assert scores["messddt"] == pytest.approx(metrics.messddt(mattes(), truths()))
    worst = found["worst"]
    assert isinstance(worst, dict)
    assert worst["mad"][0] == POP
    assert worst["dtssd"][0] in (POP, POP + 1)
    for indices in worst.values():
        assert len(indices) <= 4
        assert min(np.diff(sorted(indices)), default=5) >= 5, "neighbours look alike"


@pytest.mark.parametrize(
    ("name", "content", "most"),
    [("p.mov", "plate", 0.5), ("p.webm", "plate", 6), ("p.##.png", "plate", 0), ("m.mp4", "matte", 6)],
)
def test_the_alpha_is_found_where_it_lies(
    name: str, content: str, most: float, pair: tuple[str, str], tmp_path: Path
) -> None:
    scores = evaluated(str(write(tmp_path / name, truths(), content)), pair[1])["scores"]
    assert isinstance(scores, dict)
    assert 0 <= scores["mad"] <= most
    assert scores["iou"] > 0.97


def test_the_table(pair: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *pair]) == 0
    out = capsys.readouterr().out
    expected = np.mean([metrics.mad(alpha, truth) for alpha, truth in zip(mattes(), truths(), strict=True)])
    (line,) = [line for line in out.splitlines() if line.startswith("MAD")]
    assert line.split()[3] == f"{expected:.4g}"
    assert line.split()[-1] == str(POP)
    assert {"MSE", "Grad", "Conn", "dtSSD", "MESSDdt", "IoU"} <= {line.split()[0] for line in out.splitlines()[1:]}


def pictures(html: str) -> list[NDArray[np.uint8]]:
    """In RGB, as embedded."""
    data = (base64.b64decode(each) for each in re.findall(r"data:image/webp;base64,([^\"]+)", html))
    return [cv2.imdecode(np.frombuffer(each, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for each in data]


def test_the_page(pair: tuple[str, str], tmp_path: Path) -> None:
    hostile = tmp_path / "<b>&\"'<script>"
    hostile.mkdir()
    cutout = write(hostile / "pred.mov", mattes(), "plate", clips.picture(3))
    assert main(["evaluate", str(cutout), pair[1], "--html", str(tmp_path / "page.html"), "--quiet"]) == 0
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    seen = Reader(html)
    assert seen.texts["h1"] == f"{cutout} against {pair[1]}"
    assert not {"script", "link", "iframe", "b"} & set(seen.texts)
    addresses = [value or "" for name, value in seen.attributes if name in ("src", "href")]
    assert addresses and all(value.startswith("data:image/") for value in addresses)
    assert "url(" not in html and "@import" not in html

    whole, error, change, _, matte, truth, close_error, *_, flicker = pictures(html)
    alpha = mattes()[POP][..., None]
    assert np.abs(whole - (alpha * clips.picture(3) + (1 - alpha) * 127.5)).mean() < 12, "over grey, with a red box"
    y, x = 14, 18 + POP
    assert error[y, x].argmax() == change[y, x].argmax() == 2, "blue: the upper half is missing"
    assert flicker[y, x].sum() > 300, "the error changes there"
    assert error[43, 5, 0] > error[43, 5, 2] + 60, "red: the speck is too much"
    assert flicker[43, 5].sum() < 60 and change[43, 5].min() > 220, "it is steady"

    assert matte.shape == truth.shape == close_error.shape == (360, 480, 3)
    part = CloseUp.around(np.abs(mattes()[POP] - truths()[POP]), (HEIGHT, WIDTH))
    for shown, alphas in ((matte, mattes()), (truth, truths())):
        assert np.abs(shown[..., 0] / 255 - part.of(alphas[POP])).mean() < 0.03
    assert seen.texts["figcaption"].count("change of the error") >= 2


def test_footage_is_shown_where_a_matte_has_no_colours(pair: tuple[str, str], tmp_path: Path) -> None:
    footage = write_clip(tmp_path / "clip.mp4", size=(WIDTH, HEIGHT), pts=clips.even_pts(FRAMES))
    for arguments, shown in (([], False), (["--source", str(footage)], True)):
        page = tmp_path / f"{shown}.html"
        assert main(["evaluate", *pair, *arguments, "--html", str(page), "--quiet"]) == 0
        assert (">frame<" in page.read_text().replace("\n", "")) == shown
    cutout = write(tmp_path / "pred.##.png", mattes(), "plate", clips.picture(3))
    assert main(["evaluate", str(cutout), pair[1], "--source", str(footage), "--html", str(page), "--overwrite"]) == 0
    frame = pictures(page.read_text())[0]
    assert np.abs(frame.astype(int) - clips.picture(POP)).mean() < 16, "the footage as it is, with a red box"


def test_colours_against_the_true_ones(tmp_path: Path) -> None:
    alphas = [*truths(2), np.zeros((HEIGHT, WIDTH), np.float32)]
    ours, theirs = clips.picture(3), clips.picture(5)
    cutout = write(tmp_path / "pred.##.png", alphas, "plate", ours)
    truth = write(tmp_path / "truth.##.png", alphas)
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"fg.{index}.png"), theirs[..., ::-1])
    found = evaluated(str(cutout), str(truth), "--foreground", str(tmp_path / "fg.#.png"))
    planes = [each.transpose(2, 0, 1) / 255 for each in (ours, theirs)]
    expected = [metrics.foreground_mse(*planes, alpha) for alpha in alphas[:2]]
    per_frame, scores = found["per_frame"], found["scores"]
    assert isinstance(per_frame, dict) and isinstance(scores, dict)
    assert per_frame["foreground_mse"] == [pytest.approx(expected[0]), pytest.approx(expected[1]), None]
    assert scores["foreground_mse"] == pytest.approx(np.mean(expected))


def test_a_picture_alone_has_no_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alpha, truth = mattes()[:1], truths(1)
    paths = str(write(tmp_path / "a.png", alpha)), str(write(tmp_path / "b.png", truth))
    assert main(["evaluate", *paths, "--html", str(tmp_path / "page.html")]) == 0
    assert "–" in capsys.readouterr().out
    scores = evaluated(*paths)["scores"]
    assert isinstance(scores, dict)
    assert scores["dtssd"] is scores["messddt"] is None
    assert scores["dtssd_rvm"] == 0


def test_a_name_that_is_no_text_loses_nothing(pair: tuple[str, str], tmp_path: Path) -> None:
    pred = write(tmp_path / "pred.mov", truths(2), "plate").rename(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.mov"))
    truth = str(write(tmp_path / "truth.##.png", truths(2)))
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    assert main(["evaluate", str(pred), truth, "--html", str(page), "--json", str(figures), "--quiet"]) == 0
    assert "bad\\udcff.mov" in Reader(page.read_text(encoding="utf-8")).texts["h1"]
    assert json.loads(figures.read_text(encoding="utf-8"))["pred"] == str(pred)


def test_outputs_need_their_suffix(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, ending in (("--html", ".html"), ("--json", ".json")):
        for wrong in ("-", str(tmp_path / "page.mov"), str(tmp_path / "page")):
            assert ending in refused(capsys, *pair, option, wrong, code=2)
    assert "--source" in refused(capsys, *pair, "--source", pair[0], "--json", str(tmp_path / "a.json"), code=2)
    assert not list(tmp_path.iterdir())


def test_both_files_are_written_or_neither(pair: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()

    class Spoiler:
        """Takes the page's name, or its folder, while the clips are compared."""

        def __init__(self, spoil: Callable[[], object]) -> None:
            self.spoil = spoil

        def notice(self, text: str) -> None: ...
        def working(self, what: str, done: int, total: int | None) -> None:
            if done == FRAMES:
                self.spoil()

    options = EvaluationOptions(*pair, json=str(tmp_path / "out.json"), html=str(folder / "out.html"))
    for spoil in (lambda: (folder / "out.html").write_text("mine"), lambda: shutil.rmtree(folder)):
        with pytest.raises(OutputError):
            evaluate(options, Spoiler(spoil))
        assert not [path for path in tmp_path.iterdir() if path != folder], "nothing is left behind"
        (folder / "out.html").unlink(missing_ok=True)


def test_an_opaque_clip_is_noticed(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opaque = str(write(tmp_path / "opaque.##.png", [np.ones((HEIGHT, WIDTH), np.float32)] * FRAMES, "plate"))
    for arguments, noticed in (((opaque, pair[1]), True), ((pair[0], opaque), True), (pair, False)):
        assert main(["evaluate", *arguments]) == 0
        assert (opaque in capsys.readouterr().err) is noticed


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    """The error and its hint; the command exits with 1, or 2 after wrong usage."""
    assert main(["evaluate", *arguments]) == code
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-2].startswith("streammatte: error: ")
    assert said[-1].startswith("  hint: ")
    assert not any("Traceback" in line for line in said)
    return "\n".join(said[-2:])


def test_clips_that_cannot_be_compared_are_refused(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred, truth = pair
    short = str(write(tmp_path / "short.##.png", truths(7)))
    small = str(write(tmp_path / "small.##.png", [alpha[:20, :30] for alpha in truths()]))
    footage = str(write_clip(tmp_path / "clip.mp4", size=(WIDTH, HEIGHT)))
    outputs = ["--json", str(tmp_path / "out.json"), "--html", str(tmp_path / "out.html")]
    before = set(tmp_path.iterdir())
    for given, said in (
        ([short, truth], short),
        ([pred, short], short),
        ([small, truth], small),
        ([footage, truth], footage),
        ([pred, truth, "--foreground", footage], "--foreground"),
        ([str(tmp_path / "none.mov"), truth], "none.mov"),
    ):
        assert said in refused(capsys, *given, *outputs, code=2 if "--foreground" in given else 1)
    assert set(tmp_path.iterdir()) == before, "nothing is left behind"


def test_a_damaged_clip_is_refused(pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"codec": "ffv1", "pixels": "gray", "time_base": Fraction(1, 1000), "pts": range(0, 960, 40)}
    whole = write_clip(tmp_path / "whole.mkv", size=(WIDTH, HEIGHT), **options)  # type: ignore[arg-type]
    broken = cut(whole, tmp_path / "broken.mkv")
    assert str(broken) in refused(capsys, str(broken), pair[1])


def test_outputs_are_never_written_over_what_matters(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.json"
    old.write_text("mine")
    refused(capsys, *pair, "--json", str(old))
    assert old.read_text() == "mine"
    truth = str(write(tmp_path / "truth.mov", truths(2)))
    assert truth in refused(capsys, pair[0], truth, "--html", truth, "--overwrite", code=2)
    (tmp_path / "a.json").symlink_to(tmp_path / "a.html")
    same = ("--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html"), "--overwrite")
    refused(capsys, *pair, *same, code=2)
    refused(capsys, *pair, "--json", str(tmp_path / "none" / "a.json"))
    assert main(["evaluate", *pair, "--json", str(old), "--overwrite", "--quiet"]) == 0
    assert json.loads(old.read_text())["frames"] == FRAMES
