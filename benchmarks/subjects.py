"""Two and three people who cross, leave, return and are hidden: is the one who was named followed?

    python -m benchmarks.subjects PEOPLE --wallpapers DIR [DIR …] [--held-back] [--scenes N] [--prompts 1|3] [-o SHEET]
    python -m benchmarks.subjects … --write DIR

Scenes are made of photographs of people (a folder of ``NNNN.jpg`` with masks ``NNNN.png``) and of the walking woman of
samples/, who moves her limbs, over photographs that move as from a panning camera. Each person of each scene is named
in turn, by one box at frame 0, or by three: at the
beginning, near the middle and near the end, where nobody else is in the box. With ``--held-back``,
other people, other places and other movements, which nothing was tuned on.

Printed for each: IoU with the visible part of the right person, the share of the others' visible part that is taken
(the largest over the others, in the mean over the frames), and the most frames in a row in which another person has
more of the matte than the right one. ``--write`` stores scenes as clips, with a mask and a box of each person, to run
the command on.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import streammatte
from streammatte.frame import Frame, Model
from streammatte.motion import Plane
from streammatte.subject.contracts import Look, Prompt
from streammatte.subject.flow import FlowTracker
from streammatte.subject.region import Box
from streammatte.subject.tracks import track
from training.photographs import cut_out, held_out, read

SIZE = 360, 640
FRAMES = 96
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """Frames (H, W, 3), and each person's visible alpha, (H, W) in [0, 1], by frame."""

    name: str
    frames: list[Picture]
    visible: dict[str, list[Plane]]


@dataclass
class Actor:
    """Someone who moves through a scene: (H, W, 4) straight pictures, repeated to and fro."""

    poses: list[NDArray[np.float32]]
    xs: list[float]  # path of the middle at the beginning, … and the end, as shares of the frame's width
    height: float  # as a share of the frame's
    foot: float
    phase: float

    def at(self, number: int) -> NDArray[np.float32]:
        """(H, W, 4) in [0, 255], straight."""
        steps = 2 * len(self.poses) - 2
        turn = number % steps if steps else 0
        pose = self.poses[min(turn, steps - turn)]
        h, w = pose.shape[:2]
        progress = number / (FRAMES - 1) * (len(self.xs) - 1)
        x = float(np.interp(progress, range(len(self.xs)), self.xs))
        scale = self.height * SIZE[0] / h * (1 + 0.03 * np.sin(number / 17 + self.phase))
        bob = 3 * np.sin(number / 3.2 + self.phase)
        yy, xx = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
        v = (yy - (self.foot * SIZE[0] + bob)) / scale + h
        sway = 0.035 * h * np.sin(number / 4 + self.phase + 5 * v / h) * np.clip(v / h, 0, 1)
        u = (xx - x * SIZE[1]) / scale + w / 2 + (sway if len(self.poses) == 1 else 0)
        moved = cv2.remap(pose, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
        return moved


def premultiplied(rgba: NDArray[np.uint8], longest: int = 340) -> NDArray[np.float32]:
    scale = longest / max(rgba.shape[:2])
    values = rgba.astype(np.float32)
    values[..., :3] *= values[..., 3:] / 255
    return cv2.resize(values, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else values


def walker() -> list[NDArray[np.float32]]:
    """The woman of samples/walk.mp4, cut out by its truth."""
    poses = []
    with av.open("samples/walk.mp4") as clip, av.open("samples/walk.alpha.mkv") as truth:
        for frame, alpha in zip(clip.decode(video=0), truth.decode(video=0), strict=True):
            rgba = np.dstack([frame.to_ndarray(format="rgb24"), alpha.to_ndarray(format="gray")])
            poses.append(rgba)
    seen = np.max([pose[..., 3] for pose in poses], axis=0) > 20
    rows, columns = np.nonzero(seen.any(1))[0], np.nonzero(seen.any(0))[0]
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return [premultiplied(pose[part]) for pose in poses]


PATHS = {
    "pass": [[0.2, 0.8], [0.8, 0.2]],
    "meet": [[0.15, 0.42, 0.15], [0.85, 0.5, 0.85]],
    "leave and return": [[0.35, 0.65, 0.35], [0.75, 1.3, 0.7]],
    "three": [[0.15, 0.85], [0.5, 0.45], [0.85, 0.15]],
    "follow": [[0.1, 0.75], [0.35, 0.95]],
    "overtake": [[0.12, 0.9], [0.4, 0.6]],
}


def scenes(people: Path, walls: Sequence[Path], count: int, *, back: bool) -> Iterator[Scene]:
    """Made one after the other; the same for the same arguments."""
    # Held back: photographs and places by the CRC of their names.
    photographs = [p for p in sorted(people.glob("*.jpg")) if held_out(p) == back]
    places = [
        p
        for p in sorted(q for wall in walls for q in wall.rglob("*.jpg"))
        if (zlib.crc32(p.name.encode()) % 3 == 0) == back
    ]
    walking = walker()
    for number in range(count):
        rng = np.random.default_rng([900 + back, number])
        kind = list(PATHS)[number % len(PATHS)]
        actors = []
        for path in PATHS[kind]:
            poses = None
            while poses is None:
                if rng.random() < 0.15:
                    poses = walking
                    continue
                element = cut_out(read(photographs[int(rng.integers(len(photographs)))]))
                rgba = getattr(element, "rgba", element)
                if rgba is not None and rgba.shape[0] > 1.6 * rgba.shape[1]:
                    poses = [premultiplied(np.asarray(rgba))]
            height = rng.uniform(0.75, 1.25)
            path = [x + rng.uniform(-0.04, 0.04) for x in path]
            if rng.random() < 0.5:
                path = [1 - x for x in path] if kind in ("follow", "overtake") else path
            actors.append(Actor(poses, path, height, max(0.97, height * 0.98), rng.uniform(0, 6)))
        yield scene(f"{number} {kind}", actors, places[int(rng.integers(len(places)))], rng)


def scene(name: str, actors: Sequence[Actor], place: Path, rng: np.random.Generator) -> Scene:
    H, W = SIZE
    wide = cv2.imread(str(place))
    assert wide is not None
    zoom = max(1.35 * H / wide.shape[0], 1.35 * W / wide.shape[1])
    wide = cv2.resize(wide[..., ::-1], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(wide, (0, 0), rng.uniform(0.5, 2.5))
    starts, ends = ([rng.uniform(0, 1), rng.uniform(0, 1)] for _ in range(2))
    order = rng.permutation(len(actors))  # from back to front
    pillar = float(rng.uniform(0.35, 0.65)) if rng.random() < 0.3 else None
    frames: list[Picture] = []
    visible: dict[str, list[Plane]] = {chr(97 + n): [] for n in range(len(actors))}
    for number in range(FRAMES):
        t = number / (FRAMES - 1)
        y, x = (
            (start + t * (end - start)) * room
            for start, end, room in zip(starts, ends, (wide.shape[0] - H - 2, wide.shape[1] - W - 2), strict=True)
        )
        shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
        picture = cv2.warpAffine(wide, shift, (W, H), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP).astype(np.float32)
        seen = [np.zeros(SIZE, np.float32) for _ in actors]
        for n in order:
            rgba = actors[n].at(number)
            alpha = rgba[..., 3:] / 255
            picture = rgba[..., :3] + (1 - alpha) * picture
            seen = [each * (1 - alpha[..., 0]) for each in seen]
            seen[n] = alpha[..., 0]
        if pillar is not None:
            columns = np.abs(np.arange(W) - (pillar + 0.1 * t) * W) < 26
            picture[:, columns] = 92
            for each in seen:
                each[:, columns] = 0
        picture = picture + rng.normal(0, 2.5, picture.shape)
        frames.append(picture.clip(0, 255).astype(np.uint8))
        for n, each in enumerate(seen):
            visible[chr(97 + n)].append(each)
    return Scene(name, frames, visible)


class SceneLooks:
    """A scene as a tracker reads it."""

    def __init__(self, scene: Scene, mattes: Sequence[Plane], model: Model, longest: int = 384) -> None:
        self.scene, self.model = scene, model
        scale = min(1, longest / max(SIZE))
        self.size = round(SIZE[1] * scale), round(SIZE[0] * scale)
        self.pictures = [cv2.resize(frame, self.size, interpolation=cv2.INTER_AREA) for frame in scene.frames]
        self.mattes = [cv2.resize(matte, self.size, interpolation=cv2.INTER_AREA) for matte in mattes]
        self.frame_size, self.indices = SIZE, range(len(scene.frames))

    def part(self, indices: range) -> SceneLooks:
        """The same, of some frames."""
        part = copy(self)
        part.indices = indices
        return part

    def between(self, start: int, stop: int) -> Iterable[Look]:
        for n in range(start, stop):
            yield Look(n, self.pictures[n], partial(np.copy, self.mattes[n]), partial(self._closer, n))

    def _closer(self, n: int, box: Box) -> Plane:
        scale = SIZE[0] / self.size[1]
        x0, y0, x1, y1 = (round(scale * v) for v in box)
        part = torch.from_numpy(np.ascontiguousarray(self.scene.frames[n][y0:y1, x0:x1])).permute(2, 0, 1)
        alpha = self.model([Frame(part, n, n)])[0].float().numpy()
        return cv2.resize(alpha, (box.x1 - box.x0, box.y1 - box.y0), interpolation=cv2.INTER_AREA)


def box_of(alpha: Plane) -> tuple[float, ...] | None:
    rows, columns = np.nonzero((alpha > 0.5).any(1))[0], np.nonzero((alpha > 0.5).any(0))[0]
    if not len(rows) or (alpha > 0.5).sum() < 300:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def prompts_for(visible: Sequence[Plane], others: Sequence[Sequence[Plane]], count: int) -> list[Prompt]:
    """A box at frame 0, or where the person is seen next; of three, the later ones where others are not in the box."""
    at = [0] if count == 1 else [0, FRAMES // 2, FRAMES - 1]
    prompts: dict[int, Prompt] = {}
    for wanted in at:
        for index in sorted(range(FRAMES), key=lambda n: abs(n - wanted)):
            box = box_of(visible[index])
            if box is not None and (wanted == 0 or apart(box, [other[index] for other in others])):
                prompts[index] = Prompt("", "box", index, box)
                break
    return list(prompts.values())


def apart(box: Sequence[float], others: Sequence[Plane]) -> bool:
    """Whether nobody else fills more than a fiftieth of a box."""
    x0, y0, x1, y1 = map(int, box)
    return all((other[y0:y1, x0:x1] > 0.5).mean() < 0.02 for other in others)


def scored(
    masks: Sequence[Plane], right: Sequence[Plane], others: Sequence[Sequence[Plane]]
) -> tuple[float, float, int]:
    """Mean IoU, mean of the largest share of another person, and the longest run of frames of another's."""
    ious, shares, run, longest = [], [], 0, 0
    for n, mask in enumerate(masks):
        own, ours = right[n] > 0.5, mask > 0.5
        theirs = [other[n] > 0.5 for other in others]
        if own.sum() >= 300:
            ious.append((own & ours).sum() / max(1, (own | ours).sum()))
        shares.append(max((o & ours).sum() / o.sum() if o.sum() >= 300 else 0.0 for o in theirs))
        wrong = max((o & ours).sum() for o in theirs) > (own & ours).sum() + 200
        run = run + 1 if wrong else 0
        longest = max(longest, run)
    return float(np.mean(ious)), float(np.mean(shares)), longest


def mattes_of(scene: Scene, model: Model, cache: Path | None) -> list[Plane]:
    """The network's, of whole frames."""
    key = zlib.crc32(b"".join(f.tobytes() for f in scene.frames[::12]))
    path = None if cache is None else cache / f"{key:08x}.npy"
    if path is not None and path.exists():
        return list(np.load(path).astype(np.float32) / 255)
    mattes = []
    for n, frame in enumerate(scene.frames):
        alpha = model([Frame(torch.from_numpy(frame).permute(2, 0, 1), n, n)])[0].float().numpy()  # type: ignore[operator]
        mattes.append(alpha)
    if path is not None:
        np.save(path, np.rint(np.stack(mattes) * 255).astype(np.uint8))
    return mattes


def mattes_at(mattes: Sequence[Plane]) -> list[Plane]:
    return [cv2.resize(matte, SIZE[::-1]) for matte in mattes]


def followed(looks: SceneLooks, prompts: Sequence[Prompt]) -> list[Plane]:
    """The tracker's masks of one subject, span by span as in a run, at the frames' size."""
    tracks = track(FlowTracker(), "flow", looks.part, prompts, looks.indices, SIZE, None)
    return [cv2.resize(tracks.at("", n).mask, SIZE[::-1]) for n in looks.indices]


def cut_out_by_command(scene: Scene, prompts: Sequence[Prompt]) -> list[Plane]:
    """The alpha of one subject, as the command writes it with everything on."""
    with TemporaryDirectory() as folder:
        clip, out = Path(folder) / "clip.mp4", Path(folder) / "out.mov"
        encode(clip, scene.frames)
        said = [f"box {','.join(str(round(v)) for v in each.at)} @{each.index}" for each in prompts]
        streammatte.matte_video(clip, out, subject=said, model="birefnet-nano")
        with av.open(str(out)) as video:
            return [f.to_ndarray(format="rgba64le")[..., 3].astype(np.float32) / 65535 for f in video.decode(video=0)]


def sheet(scene: Scene, masks: Sequence[Plane], every: int = 12) -> Picture:
    tiles = []
    for n in range(0, len(masks), every):
        shown = scene.frames[n].astype(np.float32) * 0.35
        shown += masks[n][..., None] * scene.frames[n] * 0.65
        tiles.append(cv2.resize(shown.astype(np.uint8), (320, 180), interpolation=cv2.INTER_AREA))
    rows = [np.hstack(tiles[n : n + 4]) for n in range(0, len(tiles) - 3, 4)]
    return np.vstack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("people", type=Path)
    parser.add_argument("--wallpapers", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--held-back", action="store_true")
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--prompts", type=int, choices=[1, 3], default=1)
    parser.add_argument("--masks", action="store_true", help="only the tracker's masks, without a run of the command")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep the network's mattes")
    parser.add_argument("--write", type=Path, metavar="DIR")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="sheets")
    given = parser.parse_args()
    model = streammatte.load_model("birefnet-nano", offline=True)
    rows = []
    print(f"{'scene':26} who    IoU  others  wrong  the network's matte within the truth")
    for number, each in enumerate(scenes(given.people, given.wallpapers, given.scenes, back=given.held_back)):
        if number < given.first:
            continue
        if given.write is not None:
            write(each, given.write)
            continue
        mattes = mattes_of(each, model, given.cache)
        looks = SceneLooks(each, mattes, model)
        sheets = []
        for who, visible in each.visible.items():
            others = [other for name, other in each.visible.items() if name != who]
            prompts = prompts_for(visible, others, given.prompts)
            masks = followed(looks, prompts) if given.masks else cut_out_by_command(each, prompts)
            rows.append(scored(masks, visible, others))
            iou, share, longest = rows[-1]
            most = scored(
                [m * cv2.dilate(v, np.ones((7, 7))) for m, v in zip(mattes_at(mattes), visible, strict=True)],
                visible,
                others,
            )[0]
            print(f"{each.name:26} {who}    {iou:.3f}   {share:.3f}   {longest:4}   {most:.3f}", flush=True)
            sheets.append(sheet(each, masks))
        if given.output is not None:
            given.output.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(given.output / f"{each.name.replace(' ', '_')}.png"), np.vstack(sheets)[..., ::-1])
    if rows:
        ious, shares, longest = zip(*rows, strict=True)
        print(
            f"mean {np.mean(ious):.3f} (least {min(ious):.3f})  others {np.mean(shares):.3f} (most {max(shares):.3f})"
            f"  {max(longest)}"
        )


def write(scene: Scene, folder: Path) -> None:
    """The scene as a clip, each person's visible mask as a lossless clip, and their boxes at frame 0."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = scene.name.replace(" ", "_")
    encode(folder / f"{stem}.mp4", scene.frames)
    for who, seen in scene.visible.items():
        encode(folder / f"{stem}.{who}.mkv", [np.rint(255 * each).astype(np.uint8) for each in seen])
    prompts = {who: [(p.index, p.at) for p in prompts_for(seen, [], 3)] for who, seen in scene.visible.items()}
    (folder / f"{stem}.json").write_text(json.dumps(prompts))


def encode(path: Path, pictures: Sequence[Picture]) -> None:
    """H.264 of colours, lossless FFV1 of greys."""
    with av.open(str(path), "w") as out:
        colour = pictures[0].ndim == 3
        stream = out.add_stream("libx264" if colour else "ffv1", 24)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p" if colour else "gray"
        if colour:
            stream.options = {"crf": "16"}
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24" if colour else "gray")))
        out.mux(stream.encode())


if __name__ == "__main__":
    main()
