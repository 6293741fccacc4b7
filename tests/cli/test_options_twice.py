"""An option said twice: refused or joined, every one of every command, and never the last one in silence."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from streammatte.cli.arguments import Parser
from streammatte.cli.live_parser import live_parser
from support import clips

from streammatte.cli import commands
from streammatte.cli.main import main
from streammatte.cli.parser import matting_parser
from streammatte.media import open_video

WIDTH, HEIGHT = clips.SIZE
QUICK = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--smooth", "off", "--colors", "off"]
PARSERS = {
    "": matting_parser,
    "live": live_parser,
    "models": commands.models_parser,
    "doctor": commands.doctor_parser,
    "evaluate": commands.evaluate_parser,
    "train": commands.train_parser,
}
JOINED = {
    "": {"-o", "--garbage-matte", "--core-matte", "--holdout-matte", "--transparent-mask", "--fail-on"},
    "live": {"--bg", "--to"},
}
VALUES = ("1", "0.5", "25", "64x64", "1,2,3,4", "512", "flicker=1", "auto", "somewhere")


def parsers() -> Iterator[tuple[list[str], Parser]]:
    """Every command and command of a command, by what is typed for it."""
    for name, make in PARSERS.items():
        parser = make()
        yield [name] if name else [], parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from (([name, sub], below) for sub, below in action.choices.items())


def options() -> Iterator[tuple[list[str], argparse.Action]]:
    for typed, parser in parsers():
        for action in parser._actions:
            if action.option_strings and not isinstance(action, argparse._HelpAction | argparse._VersionAction):
                yield typed, action


def names_of(case: object) -> str:
    return " ".join(case) if isinstance(case, list) else case.option_strings[0]  # type: ignore[attr-defined]


def value_for(action: argparse.Action) -> str:
    """One that the option takes."""
    if action.choices is not None:
        return str(next(iter(action.choices)))
    for value in VALUES:
        try:
            (action.type or str)(value)  # type: ignore[operator]
        except argparse.ArgumentTypeError:
            continue
        return value
    raise AssertionError(f"no value for {action.option_strings}")


@pytest.mark.parametrize(("typed", "action"), list(options()), ids=names_of)
def test_every_option_is_refused_or_joined(
    typed: list[str], action: argparse.Action, capsys: pytest.CaptureFixture[str]
) -> None:
    command = typed[0] if typed else ""
    places = {"": ["clip.mp4"], "evaluate": ["pred.mov", "truth.mov"], "train": ["pairs"]}.get(command, [])
    if typed[1:] == ["pull"]:
        places = ["birefnet"]
    needed = ["-o", "out.safetensors"] if command == "train" and action.dest != "output" else []
    joined, parser = JOINED.get(command, set()), PARSERS[command]()
    for name in action.option_strings:
        if action.nargs == 0:  # a flag, which says the same twice
            given = parser.parse_args([*typed[1:], *places, *needed, name, name])
            assert getattr(given, action.dest) is True
            continue
        value = value_for(action)
        twice = [name, value, f"{name}={value}" if name.startswith("--") else f"{name}{value}"]
        if joined & set(action.option_strings):
            given = parser.parse_args([*places, *needed, *twice])
            assert len(getattr(given, action.dest)) == 2
            continue
        with pytest.raises(SystemExit) as caught:
            main([*typed, *places, *needed, *twice])
        assert caught.value.code == 2
        said = capsys.readouterr().err.splitlines()
        assert said[-2].endswith(f"error: {name} may be given only once") and "--help" in said[-1]


def test_the_same_option_by_its_other_name_is_the_second(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "pairs", "-o", "a.safetensors", "--output", "b.safetensors"])
    assert "--output may be given only once" in capsys.readouterr().err


def test_a_default_value_counts_as_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["clip.mp4", "-o", "a.mov", "--quality", "standard", "--quality", "best"])
    assert "--quality may be given only once" in capsys.readouterr().err
    parser = matting_parser()
    for _ in range(2):  # each parse is a run of its own
        assert parser.parse_args(["clip.mp4", "--quality", "best"]).quality == "best"


def test_a_limit_of_the_same_score_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = clips.write_clip(tmp_path / "clip.mp4")
    limits = ["--fail-on", "flicker=1", "--fail-on", "flicker=2"]
    assert main([str(clip), "-o", str(tmp_path / "a.mov"), *limits, *QUICK]) == 1
    assert "--fail-on flicker may be given only once" in capsys.readouterr().err


def test_several_mattes_of_a_kind_are_their_union(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exactly: the largest of them at each pixel, of a still and of a clip with a matte for every frame."""
    clip = clips.write_clip(tmp_path / "clip.mp4", pts=clips.even_pts(3))
    columns = np.repeat(np.array([[0, 51, 102, 255]], np.uint8), WIDTH // 4, axis=1).repeat(HEIGHT, axis=0)
    cv2.imwrite(str(tmp_path / "columns.png"), columns)
    rows = [np.full((HEIGHT, WIDTH), 0, np.uint8) for _ in range(3)]
    for number, picture in enumerate(rows, 1):
        picture[: 8 * number] = 153
        cv2.imwrite(str(tmp_path / f"rows.{number:04d}.png"), picture)
    white = np.full((HEIGHT, WIDTH), 255, np.uint8)
    cv2.imwrite(str(tmp_path / "white.png"), white)

    def made(*given: str) -> np.ndarray:
        out = tmp_path / "out.####.png"
        assert main([str(clip), "-o", str(out), "--bits", "16", "--overwrite", *QUICK, "--json", *given]) == 0
        with open_video(out) as source:
            return np.stack([cutout.alpha.numpy() for cutout in source.cutouts()])

    union = np.stack([np.maximum(columns, each) for each in rows]) / np.float32(255)
    one, other = str(tmp_path / "columns.png"), str(tmp_path / "rows.####.png")
    step = 1.01 / 65535
    bare = made()
    capsys.readouterr()
    assert np.abs(made("--core-matte", one, "--core-matte", other) - np.maximum(bare, union)).max() < step
    assert [(Path(each["path"]).name, each["as"]) for each in json.loads(capsys.readouterr().out)["mattes"]] == [
        ("columns.png", "core"),
        ("rows.####.png", "core"),
    ]
    whole = ["--core-matte", str(tmp_path / "white.png")]
    for kind in ("--garbage-matte", "--holdout-matte"):
        assert np.abs(made(*whole, kind, one, kind, other) - (1 - union)).max() < step


def test_one_of_several_mattes_may_not_be_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = clips.write_clip(tmp_path / "clip.mp4", pts=clips.even_pts(1))
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((HEIGHT, WIDTH), np.uint8))
    given = ["--garbage-matte", str(tmp_path / "a.png"), "--garbage-matte", str(tmp_path / "b.png")]
    assert main([str(clip), "-o", str(tmp_path / "b.png"), "--overwrite", *given, *QUICK]) == 1
    assert "is one of the mattes given" in capsys.readouterr().err


def test_several_masks_of_transparency_and_a_box_exclude_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = clips.write_clip(tmp_path / "clip.mp4", pts=clips.even_pts(1))
    given = ["--transparent", "1,1,9,9", "--transparent-mask", "a.png", "--transparent-mask", "b.png"]
    assert main([str(clip), "-o", str(tmp_path / "a.mov"), *given, *QUICK]) == 1
    assert "--transparent and --transparent-mask are mutually exclusive" in capsys.readouterr().err
