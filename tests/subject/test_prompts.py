"""Prompts: what is typed and what a file says, times as frames, painted masks, and every refusal in one line."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.clips import SIZE, even_pts, write_clip

import streammatte as sm
from streammatte.cli.main import main
from streammatte.errors import InputError
from streammatte.media import open_video
from streammatte.media.write.delivery import named
from streammatte.options.prompts import ALL, Prompted, prompt, prompts_in
from streammatte.subject.prompts import resolved
from streammatte.subject.tracks import spans_of

pytestmark = pytest.mark.media

WIDTH, HEIGHT = SIZE


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", pts=even_pts(50))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("point 640,200 @12", Prompted("", "point", (640, 200), time="12")),
        ("anna: point 640,200@3s", Prompted("anna", "point", (640, 200), time="3s")),
        ("anna:not-point 1.5, 2 @ 1:02.5", Prompted("anna", "not-point", (1.5, 2), time="1:02.5")),
        ("  box 100,50,400,700 ", Prompted("", "box", (100, 50, 400, 700))),
        ("the tall one: box 0,0,9,9 @01:00:00:00", Prompted("the tall one", "box", (0, 0, 9, 9), time="01:00:00:00")),
        ("mask a hand@2.png @30", Prompted("", "mask", mask="a hand@2.png", time="30")),
        (r"mask C:\hand.png", Prompted("", "mask", mask=r"C:\hand.png")),
        ("point: point 1,2", Prompted("point", "point", (1, 2))),
        ("all", ALL),
    ],
)
def test_what_is_typed(typed: str, meant: object) -> None:
    assert prompt(typed) == meant
    assert prompt(str(meant)) == meant


@pytest.mark.parametrize(
    "typed",
    [
        "", "anna", "anna:", "dot 1,2", "point", "point 1", "point 1,2,3", "point a,b", "point 1,2 @soon",
        "point nan,2", "box 1,2,3", "box 5,5,5,9", "box 9,5,5,9", ": point 1,2", "a/b: point 1,2", "..: point 1,2",
        "all: point 1,2",        "a#b: point 1,2", f"{'x' * 61}: point 1,2", "a\nb: point 1,2", "mask a\0b",
    ],
)  # fmt: skip
def test_what_is_not_a_prompt(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["clip.mp4", "out.mov", "--subject", typed])
    lines = capsys.readouterr().err.splitlines()
    assert left.value.code == 2 and "--subject" in lines[0] and len(lines) == 2


def write(folder: Path, text: object) -> str:
    path = folder / "shot.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return str(path)


def test_a_file_of_prompts(tmp_path: Path) -> None:
    said = [
        {"subject": "anna", "box": [1, 2, 30, 40], "time": 12},
        {"subject": "anna", "not-point": [3, 4.5], "time": "0.5s"},
        {"subject": "ben", "mask": "ben.png"},
    ]
    assert prompts_in(write(tmp_path, {"version": 1, "prompts": said})) == [
        Prompted("anna", "box", (1, 2, 30, 40), time="12"),
        Prompted("anna", "not-point", (3, 4.5), time="0.5s"),
        Prompted("ben", "mask", mask=str(tmp_path / "ben.png")),
    ]


BROKEN = {
    '{"version": 1,\n "prompts": [}': "line 2, column 14",
    '{"version": 1, "prompts": [{"point": [1, 2], "point": [3, 4]}]}': "'point' is there twice",
    '{"version": 2, "prompts": []}': '"version": 1',
    '{"prompts": [{"point": [1, 2]}]}': '"version": 1',
    '{"version": 1, "prompts": []}': "at least one",
    '{"version": 1, "prompts": [{"point": [1, 2]}], "fps": 25}': "'fps'",
    '{"version": 1, "prompts": [{"point": [1, 2]}, {"pint": [1, 2]}]}': "prompts[1]: unknown key 'pint'; did you mean",
    '{"version": 1, "prompts": [{"point": [1, 2], "box": [1, 2, 3, 4]}]}': "prompts[0]: expected exactly one",
    '{"version": 1, "prompts": [{"subject": "anna"}]}': "exactly one",
    '{"version": 1, "prompts": [{"box": [4, 2, 3, 4]}]}': "prompts[0]: right",
    '{"version": 1, "prompts": [{"point": "1,2"}]}': "prompts[0]: expected a list of numbers",
    '{"version": 1, "prompts": [{"point": [1, 2], "subject": ""}]}': "expected a name",
    '{"version": 1, "prompts": [{"point": [1, 2], "subject": "a/b"}]}': "file name",
    '{"version": 1, "prompts": [{"point": [1, 2], "time": 1.5}]}': "expected a frame number",
    f'{{"version": 1, "prompts": [{{"point": [1{"0" * 400}, 2]}}]}}': "expected pixels",
    '{"version": 1, "prompts": [{"point": [NaN, 2]}]}': "expected pixels",
    '{"version": 1, "prompts": [{"point": [1, 2], "subject": "\\ud800"}]}': "file name",
    '{"version": 1, "prompts": [{"mask": "a\\u0000b"}]}': "expected the path",
    "[]": "expected",
    "": "line 1, column 1",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_says_where(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as refused:
        prompts_in(path)
    assert path in str(refused.value) and BROKEN[text] in str(refused.value)
    with pytest.raises(InputError):
        prompts_in(str(tmp_path / "none.json"))


@pytest.mark.parametrize(
    "given",
    [
        sm.Prompt(None, "point", 0, (1, 2)),  # type: ignore[arg-type]  # here and below: on purpose
        sm.Prompt("", "dot", 0, (1, 2)),  # type: ignore[arg-type]
        sm.Prompt("", "point", 0, (None, 2)),  # type: ignore[arg-type]
        sm.Prompt("", "point", 0, (10**400, 2)),
        sm.Prompt("", "point", "0", (1, 2)),  # type: ignore[arg-type]
        sm.Prompt("", "mask", 0, (), np.zeros((2, 2, 3))),
        5,
    ],
)
def test_what_is_not_a_prompt_in_python(given: object) -> None:
    with pytest.raises(ValueError, match=r"expected|must be"):
        prompt(given)


@pytest.mark.parametrize("mask", [np.full((48, 64), 200), np.full((48, 64), np.inf), np.zeros((0, 0)), [["x"]]])
def test_a_mask_from_python_is_checked(mask: object, clip: Path) -> None:
    asked = prompt(sm.Prompt("", "mask", 0, mask=np.asarray(mask)))
    with sm.open_video(clip) as source, pytest.raises(InputError, match="a mask holds"):
        resolved([asked], source)  # type: ignore[list-item]  # it is not "all"


def test_times_are_frames_of_the_clip(clip: Path) -> None:
    asked = [prompt(f"point 1,2 @{time}") for time in ("49", "0", "1s", "0:01.5", "00:00:00:07")]
    with sm.open_video(clip) as source:
        assert [each.index for each in resolved([*asked, prompt("point 3,4")], source)] == [0, 0, 7, 25, 37, 49]
    with sm.open_video(clip, mark_in="20", mark_out="40", handles=5) as source:
        found = resolved([prompt("point 3,4"), prompt("point 1,2 @16")], source, "20")
        assert [each.index for each in found] == [16, 20]
        with pytest.raises(InputError, match="frames 15 to 45 are read"):
            resolved([prompt("point 1,2 @14")], source, "20")


def test_parts_are_the_frames_of_the_whole(clip: Path) -> None:
    with sm.open_video(clip) as source:
        assert source.indices == range(50)
        whole = list(source)
        for start, stop in ((0, 3), (44, 50), (17, 30)):
            part = list(source.between(start, stop))
            assert [frame.index for frame in part] == list(range(start, stop))
            assert all(one.pts == whole[one.index].pts and one.rgb.equal(whole[one.index].rgb) for one in part)


def test_painted_masks_leave_open_what_is_grey_or_transparent(clip: Path, tmp_path: Path) -> None:
    grey = np.full((HEIGHT, WIDTH), 128, np.uint8)
    grey[:10], grey[10:20] = 255, 0
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    clear = np.dstack([grey, grey, grey, np.where(grey == 128, 0, 255).astype(np.uint8)])
    clear[grey == 128, :3] = 255
    Image.fromarray(clear).save(tmp_path / "clear.png")
    cutout = np.full((HEIGHT, WIDTH, 4), (200, 90, 30, 0), np.uint8)
    cutout[:10, :, 3] = 255
    Image.fromarray(cutout).save(tmp_path / "cutout.png")
    cv2.imwrite(str(tmp_path / "half.png"), grey[::2, ::2])
    with open_video(clip) as source:
        for name in ("grey", "clear", "half"):
            (found,) = resolved([prompt(f"mask {tmp_path / name}.png @3")], source)
            assert found.mask is not None and found.mask.shape == (HEIGHT, WIDTH) and found.index == 3
            assert (found.mask[:9] == 1).all() and (found.mask[11:19] == 0).all() and np.isnan(found.mask[22:]).all()
        (found,) = resolved([prompt(f"mask {tmp_path / 'cutout.png'}")], source)
        assert found.mask is not None and (found.mask[:10] == 1).all() and (found.mask[10:] == 0).all()


def test_spans_end_where_every_subject_is_described_as_a_whole(clip: Path) -> None:
    with open_video(clip) as source:

        def spans(*typed: str) -> list[range]:
            return [span.frames for span in spans_of(resolved(map(prompt, typed), source), source.indices)]  # type: ignore[arg-type]

        assert spans("point 1,2 @9") == [range(50)]
        assert spans("box 1,2,3,4") == [range(50)]
        assert spans("box 1,2,3,4 @9", "box 1,2,3,4 @20") == [range(9), range(9, 20), range(20, 50)]
        assert spans("box 1,2,3,4 @9", "point 1,2 @20") == [range(9), range(9, 50)]
        assert spans("a: box 1,2,3,4", "b: box 1,2,3,4", "a: box 1,2,3,4 @20") == [range(50)]
        assert spans("a: box 1,2,3,4", "b: box 1,2,3,4", "a: box 1,2,3,4 @20", "b: box 1,2,3,4 @20") == [
            range(20),
            range(20, 50),
        ]


REFUSED = {
    "a point beyond the frame": (["point 64,10"], "outside of the frame, which is 64×48"),
    "a box beyond it": (["box 10,10,65,20"], "outside of the frame"),
    "a frame beyond the clip": (["point 10,10 @50"], "frames are 0 to 49"),
    "a frame of too many digits": ([f"point 10,10 @{'9' * 5000}"], "is not a frame number"),
    "a time beyond it": (["point 10,10 @2.1s"], "which has 50 frames"),
    "a point and not": (["point 10,10", "not-point 10,10"], "contradict"),
    "a point of two": (["a: point 10,10", "b: point 10,10"], "contradict"),
    "two boxes": (["box 1,1,9,9", "box 2,2,9,9"], "two boxes at frame 0"),
    "a point beside its box": (["box 1,1,9,9", "point 20,20"], "outside of its box"),
    "nothing but not": (["not-point 10,10"], "where it is not"),
    "named and unnamed": (["a: point 10,10", "point 20,20"], "others do not"),
    "names alike": (["anna: point 10,10", "Anna: point 20,20"], "Anna"),
    "all and more": (["all", "point 10,10"], "--subject all"),
    "no mask": (["mask none.png"], "none.png"),
    "a mask of another shape": (["mask tall.png"], "different shape"),
    "a mask with colours": (["mask colour.png"], "neither alpha nor a greyscale"),
    "a silent mask": (["mask silent.png"], "says nothing"),
    "a clip for a mask": (["mask clip.mp4"], "more than one picture"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_is_one_clear_line(
    why: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").symlink_to(clip)
    cv2.imwrite("tall.png", np.zeros((64, 48), np.uint8))
    cv2.imwrite("silent.png", np.full((48, 64), 128, np.uint8))
    cv2.imwrite("colour.png", np.full((48, 64, 3), (0, 90, 200), np.uint8))
    before = sorted(tmp_path.iterdir())
    typed, said = REFUSED[why]
    assert main(["clip.mp4", "out.mov", *(word for each in typed for word in ("--subject", each))]) == (
        1 if why == "no mask" else 2
    )
    lines = capsys.readouterr().err.splitlines()
    assert said in lines[0] and len(lines) == 2 and lines[1].startswith("  hint: "), lines
    assert sorted(tmp_path.iterdir()) == before, "nothing is left"


def test_a_pipe_cannot_be_followed_or_shared(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = ["--subject", "a: point 10,10", "--subject", "b: point 20,20"]
    assert main([str(clip), "-o", "-", *two]) == 2
    assert "--join" in capsys.readouterr().err
    assert main([str(clip), "out.mov", "--join", *two[:2]]) == 2
    assert "--join needs several" in capsys.readouterr().err


def test_names_in_names_of_files() -> None:
    names = {
        "out.mov": "out.anna.mov",
        "a/b.c.webm": "a/b.c.anna.webm",
        "cut.####.png": "cut.anna.####.png",
        "cut_%04d.exr": "cut_anna_%04d.exr",
        "####.png": "anna.####.png",
        "-": "-",
    }
    assert {path: named(path, "anna") for path in names} == names
    assert all(named(path, "") == path for path in names)
