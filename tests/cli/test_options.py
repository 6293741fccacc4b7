"""Options from their fields: what is typed, what Python gives, what is refused, what help and reference say."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from streammatte.cli import help, matte
from streammatte.cli.command import Command
from streammatte.cli.main import main
from streammatte.cli.parser import instance, parse
from streammatte.cli.reference import commands, reference
from streammatte.errors import InputError, OutputError, SourceNotFound, StreammatteError, UnsupportedOutput
from streammatte.options import Options, values
from streammatte.refusals import check, line, proposed, refusals

pytestmark = pytest.mark.unit

PLACES = {"input": "clip.mp4", "pred": "pred.mov", "truth": "truth.mov", "pairs": "pairs"}
DOCS = Path(__file__).parent.parent.parent / "docs"


def left(call: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of what ends with wrong usage: an error and a hint."""
    with pytest.raises(SystemExit) as leaving:
        call()
    assert leaving.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[1].startswith("  hint: "), lines
    return lines


def least(command: Command) -> list[str]:
    """The fewest arguments that a command takes."""
    words = [PLACES[name] for name in command.places if name in PLACES]
    required = (option for option in command.options.values() if option.required and option.flags)
    return words + [word for option in required for word in (option.shown, option.example)]


def test_every_option_takes_its_example_and_is_joined_or_refused_twice(capsys: pytest.CaptureFixture[str]) -> None:
    seen = 0
    for command in commands():
        usual = least(command)
        for option in (option for option in command.options.values() if option.flags):
            bare = [word for word in usual if word not in (option.shown, option.example) or not option.required]
            for flag in option.flags:
                seen += 1
                if option.switch:  # says the same however often it is given
                    assert parse(command, [*bare, flag, flag])[option.name] is True
                    assert flag in left(lambda: parse(command, [*bare, f"{flag}=yes"]), capsys)[0]  # noqa: B023
                    continue
                once = parse(command, [*bare, flag, option.example])[option.name]
                assert once == option.value((option.example,) if option.repeat == "join" else option.example)
                assert f"{flag} needs a value" in left(lambda: parse(command, [*bare, flag]), capsys)[0]  # noqa: B023
                twice = [*bare, flag, option.example, option.flags[-1], option.example]
                if option.repeat == "join":
                    assert parse(command, twice)[option.name] == 2 * once
                    continue
                error, hint = left(lambda: parse(command, twice), capsys)  # noqa: B023
                assert f"{option.shown} may be given only once" in error
                typed = shlex.split(hint.removeprefix("  hint: "))[len(command.prog.split()) :]
                assert parse(command, typed) == parse(command, [*bare, flag, option.example])
    assert seen > 80


def test_a_choice_that_does_not_exist_is_answered_with_one_that_does(capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands():
        for option in (option for option in command.options.values() if option.choices and option.flags):
            error, hint = left(lambda: parse(command, [*least(command), option.shown, "none"]), capsys)  # noqa: B023
            assert option.shown in error
            assert all(str(choice) in error for choice in option.choices)
            parse(command, shlex.split(hint.removeprefix("  hint: "))[len(command.prog.split()) :])


@pytest.mark.parametrize(
    ("typed", "named", "meant"),
    [
        ("clip.mp4 out.mov --smoth high", "--smoth", "streammatte clip.mp4 out.mov --smooth high"),
        ("clip.mp4 out.mp4 -bg green", "-bg", "streammatte clip.mp4 out.mp4 --bg green"),
        ("clip.mp4 out.mov --quality=bets", "--quality", "streammatte clip.mp4 out.mov --quality=best"),
        ("clip.mp4 out.mov --fps 0", "--fps", "streammatte clip.mp4 out.mov --fps 25"),
        ("clip.mp4 out.mov --lookahead -1", "--lookahead", "streammatte clip.mp4 out.mov --lookahead 1"),
        ("clip.mp4 out.mov --transparent 9,9,1,1", "--transparent", None),
        ("clip.mp4 out.mov --fail-on flicer=1", "flicker", None),
        ("http://me:secret@host/a.mp4 out.mov --smoth high", "--smoth", "…"),
        ("a.mp4 b.mov c.mov", "c.mov", None),
        ("--quiet", "INPUT", None),
        ("doctr", "doctor", "streammatte doctor"),
        ("evaluate a.mov", "TRUTH", None),
        ("models pul birefnet", "pull", "streammatte models pull birefnet"),
        ("live --quality 192", "--quality", "streammatte live --quality high"),
        ("live --bg red lavfi:testsrc2", "lavfi:testsrc2", "streammatte live --bg red --camera lavfi:testsrc2"),
        ("evalute a.mov b.mov", "evaluate", "streammatte evaluate a.mov b.mov"),
        ("models birefnet-lite", "pull", "streammatte models pull birefnet-lite"),
        ("models pull", "model", "streammatte models pull birefnet-lite"),
        ("-i clip.mp4 out.mov", "-i", "streammatte clip.mp4 out.mov"),
        ("clip.mp4 out.mov -y", "--overwrite", "streammatte clip.mp4 out.mov --overwrite"),
        ("clip.mp4 out.mov --in -3s", "--in", "streammatte clip.mp4 out.mov --in 3s"),
        ("clip.mp4 -o --quality best", "-o", "streammatte clip.mp4 -o out.mov --quality best"),
    ],
)
def test_wrong_usage_is_answered_with_the_line_to_type(
    typed: str, named: str, meant: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    error, hint = left(lambda: main(shlex.split(typed)), capsys)
    assert named in error and "secret" not in error + hint
    assert meant is None or meant in hint


def test_input_and_output_are_told_by_place_or_by_flag() -> None:
    def options(typed: str) -> Options:
        return instance(Options, parse(matte.COMMAND, shlex.split(typed)))

    expected = Options.of("clip.mp4", "out.mov", background="green", choke=-2)
    for typed in (
        "clip.mp4 out.mov --bg green --choke -2",
        "clip.mp4 -o out.mov --background green --choke=-2",
        "--bg green clip.mp4 --choke -2 --output out.mov",
        "--bg=green --choke=-2.0 -- clip.mp4 out.mov",
    ):
        assert options(typed) == expected
    assert options("clip.mp4 out.mov -o out.webm").writing.outputs == ("out.mov", "out.webm")
    assert options("- -o -").reading.input == "-"
    assert options("-o out.mov -- -odd.mp4").reading.input == "-odd.mp4"


def test_python_gives_what_the_command_line_gives() -> None:
    typed = shlex.split(
        "clip.mp4 out.mov --size 256x128 --fps 23.976 --transparent 1,2,3,4 --fail-on flicker=0.5 --bits 16"
        " --core-matte a.png --in 3s --no-audio --lookahead 0"
    )
    given = Options.of(
        Path("clip.mp4"),
        [Path("out.mov")],
        size=(128, 256),
        frame_rate=Fraction(24000, 1001),
        transparent=[1, 2, 3, 4],
        limits={"flicker": 0.5},
        bits=16,
        core_mattes="a.png",
        mark_in="3s",
        no_audio=True,
        lookahead=0,
        background=None,
    )
    assert instance(Options, parse(matte.COMMAND, typed)) == given
    assert Options.of(**given.flat()) == given
    assert instance(Options, parse(matte.COMMAND, shlex.split(line(given))[1:])) == given
    for wrong in ({"smooth": "hgih"}, {"batch": 0}, {"size": "big"}, {"limits": [("none", 1)]}, {"bits": 11}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Options.of("clip.mp4", "out.mov", **wrong)
    with pytest.raises(TypeError, match="smooth"):
        Options.of("clip.mp4", "out.mov", smoth="high")


def test_names_of_options_are_unique_across_groups() -> None:
    names = [option.name for group in matte.COMMAND.groups for option in group.options]
    flags = [flag for group in matte.COMMAND.groups for option in group.options for flag in option.flags]
    assert len(names) == len(set(names)) and len(flags) == len(set(flags))


OUT = {"outputs": "out.mov"}
REFUSED: tuple[tuple[dict[str, object], type[StreammatteError], str], ...] = (
    ({}, OutputError, "no output"),
    ({**OUT, "pair": "above", "background": "green"}, OutputError, "--pair"),
    ({"matte": "m.mov", "pair": "beside"}, OutputError, "--pair"),
    ({**OUT, "background": "green", "alpha": "premultiplied"}, OutputError, "--alpha"),
    ({"outputs": "out.####.exr", "input_transfer": "slog3"}, OutputError, "--input-transfer"),
    ({"foreground": "out.####.exr", "input_transfer": "logc3"}, OutputError, "--input-transfer"),
    ({"outputs": "out.webm", "codec": "png"}, OutputError, "--codec"),
    ({**OUT, "exr_compression": "piz"}, OutputError, "--exr-compression"),
    ({**OUT, "start_number": 1001}, OutputError, "--start-number"),
    ({"outputs": ("-", "out.mov"), "matte": "-"}, OutputError, "standard output"),
    ({**OUT, "background": "-"}, InputError, "--bg"),
    ({**OUT, "core_mattes": "invert:-"}, InputError, "guide matte"),
    ({**OUT, "transparent_masks": "-"}, InputError, "guide matte"),
    ({**OUT, "input": "-", "mark_in": "3s"}, InputError, "--in"),
    ({**OUT, "input": "-", "mark_out": "3s"}, InputError, "--out"),
    ({**OUT, "input": "-", "resume": True}, InputError, "--resume"),
    ({**OUT, "input": "-", "keep_mattes": True}, InputError, "--keep-mattes"),
    ({**OUT, "input": "-", "input_alpha": "core"}, InputError, "--input-alpha"),
    ({**OUT, "handles": 8}, InputError, "--handles"),
    ({**OUT, "smooth": "off", "lookahead": 2}, InputError, "--lookahead"),
    ({**OUT, "smooth": "low", "lookahead": 5}, InputError, "--lookahead"),
    ({**OUT, "transparent": (1, 1, 9, 9), "transparent_masks": ("a.png", "b.png")}, InputError, "--transparent-mask"),
    ({**OUT, "transparency": "off", "transparent": (1, 1, 9, 9)}, InputError, "--transparency"),
    ({**OUT, "transparency": "off", "transparent_masks": "a.png"}, InputError, "--transparency"),
    ({**OUT, "limits": (("flicker", 1), ("flicker", 2))}, InputError, "--fail-on"),
    ({**OUT, "limits": {"mended": 1}, "smooth": "off"}, InputError, "--smooth"),
    ({**OUT, "limits": {"audio": 1}, "no_audio": True}, InputError, "--no-audio"),
    ({"matte": "m.mov", "limits": {"contamination": 1}}, InputError, "contamination"),
    ({**OUT, "despill": "reddish"}, InputError, "reddish"),
    ({**OUT, "despill": "#808080"}, InputError, "#808080"),
    ({"outputs": "clip.mp4", "background": "green"}, OutputError, "overwrite the input"),
    ({**OUT, "matte": "clip.mp4"}, OutputError, "clip.mp4"),
    ({"outputs": "."}, UnsupportedOutput, "folder"),
    ({"outputs": ""}, OutputError, "empty"),
    ({"outputs": "ftp://host/out.mov"}, UnsupportedOutput, "ftp"),
    ({"input": "nothere.mp4"}, SourceNotFound, "nothere.mp4"),
    ({"outputs": ("a.####.png", "a.%04d.png")}, OutputError, "a.%04d.png"),
    ({**OUT, "background": "out.mov"}, OutputError, "out.mov"),
    ({"outputs": "b.png", "garbage_mattes": ("a.png", "invert:b.png")}, OutputError, "b.png"),
    ({**OUT, "report": "out.mov"}, OutputError, "out.mov"),
    ({"outputs": "there.jpg"}, OutputError, "there.jpg"),
)


def test_every_refusal_comes_before_any_work_with_a_line_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "there.jpg"):
        (tmp_path / name).touch()
    for given, kind, named in REFUSED:
        options = Options.of(**{"input": "clip.mp4", **given})  # type: ignore[arg-type]
        with pytest.raises(kind) as caught:
            check(options)
        assert named in str(caught.value), given
        assert caught.value.hint, given
        for meant in (part.rpartition(": ")[2] for part in caught.value.hint.split("; ")):
            if meant.startswith("streammatte clip.mp4"):
                options = instance(Options, parse(matte.COMMAND, shlex.split(meant)[1:]))
                assert not list(refusals(options)), meant
    check(Options.of("clip.mp4", "there.jpg", overwrite=True, background="green"))


def test_the_proposed_name_is_not_taken(tmp_path: Path) -> None:
    for name, *names in (
        ("clip.mp4", "clip.mov", "clip-cutout.mov", "clip-cutout-2.mov"),
        ("clip.mov", "clip-cutout-3.mov"),
        ("photo.jpg", "photo.png", "photo-cutout.png"),
        ("round.gif", "round.webp"),
        ("plate.####.exr", "plate.####.exr", "plate-cutout.####.exr"),
    ):
        for expected in names:
            assert proposed(str(tmp_path / name)) == str(tmp_path / expected)
            (tmp_path / expected.replace("####", "1001")).touch()
    assert proposed("-") == proposed("rtsp://me:secret@host/stream") == "out.mov"


def test_rates_are_exact() -> None:
    for typed, exact in (
        ("25", Fraction(25)),
        ("30000/1001", Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("12.5", Fraction(25, 2)),
    ):
        assert values.rate(typed) == exact


def test_help_is_one_screen_and_everything_is_in_the_long_one() -> None:
    short = help.short(matte.COMMAND).splitlines()
    assert len(short) <= 45 and max(map(len, short)) <= 80
    for command in commands():
        text = help.full(command)
        assert max(map(len, text.splitlines())) <= 80
        for option in command.options.values():
            assert option.shown in text and option.help[:20] in " ".join(text.split())
    assert all(group.about for group in matte.COMMAND.groups if group.title != "terminal")


def test_the_reference_is_up_to_date() -> None:
    """``python -m streammatte.cli.reference > docs/cli.md``"""
    assert (DOCS / "cli.md").read_text() == reference()
