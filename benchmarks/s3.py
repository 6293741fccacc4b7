"""Clips on an S3-compatible server: python -m benchmarks.s3 [--frames 200]

Needs `pip install 'streammatte[s3]' 'moto[server]'`. It runs on the loopback, so it measures no speed. Prints JSON,
also written to results/s3.json: requests and bytes that reading takes, against the file's size; whether a run in and
out of the store equals one on files; what comes of a connection that is cut once, and of one that stays away.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # its clips and its server

from support.clips import even_pts, write_clip
from support.s3 import Proxy, store

import streammatte
from streammatte.cli.main import main as command
from streammatte.media import remote
from streammatte.media.remote import Remote, RemoteFile, open_remote

RESULTS = Path(__file__).parent / "results" / "s3.json"
RUN = ["--model", "birefnet-nano", "--size", "64x64", "--device", "cpu", "--smooth", "off", "--quiet"]
FINE = {"options": {"qscale": "1"}}
CODECS = {
    "ProRes, PCM": ("clip.mov", {"codec": "prores_ks", "pixels": "yuv422p10le", "audio": "pcm_s16le", **FINE}),
    "H.264, AAC": ("clip.mp4", {"audio": "aac", "options": {"g": "24", "qp": "12"}}),
}


def reads(url: str, what: Callable[[], object]) -> dict[str, Any]:
    """Requests and bytes that something takes of a file, from nothing known of it."""
    remote._blocks.cache_clear()
    with open_remote(Remote(url)) as file:
        assert isinstance(file, RemoteFile)
        what()
        blocks = file.blocks
    return {"requests": blocks.requests, "share": round(blocks.received / blocks.size, 3)}


def decode(url: str, count: int | None = None, **part: int) -> None:
    with streammatte.open_video(url, **part) as video:
        for _ in islice(video, count):
            pass


def run(source: str, output: str) -> tuple[int, str]:
    """Exit code and what was said."""
    said = StringIO()
    with redirect_stderr(said):
        code = command([source, output, *RUN])
    return code, said.getvalue().strip()


def clip(codec: str, frames: int, folder: Path, connection: Proxy) -> dict[str, Any]:
    """All figures of one clip."""
    name, made = CODECS[codec]
    path = write_clip(folder / name, size=(1280, 720), pts=even_pts(frames), **made)
    system, url = fsspec.filesystem("s3"), f"s3://shots/{name}"
    system.put(str(path), f"shots/{name}")
    middle = frames // 2
    figures: dict[str, Any] = {
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "first frame": reads(url, lambda: decode(url, 1)),
        "ten frames in the middle": reads(url, lambda: decode(url, mark_in=middle, mark_out=middle + 9)),
        "every frame": reads(url, lambda: decode(url)),
        "the command, with sound": reads(url, lambda: run(url, "s3://shots/cut.mov")),
    }
    run(str(path), str(folder / "cut.mov"))
    system.get("shots/cut.mov", str(folder / "there.mov"))
    hashes = [hashlib.sha256(_frames(folder / each)).hexdigest() for each in ("cut.mov", "there.mov")]
    figures["equals the run on files"] = hashes[0] == hashes[1]
    remote._blocks.cache_clear()
    connection.cuts, connection.after = 1, 3 << 20
    code, said = run(url, "s3://shots/again.mov")
    figures["cut once"] = {"exit": code, "said": said, "was cut": connection.cuts == 0}
    remote._blocks.cache_clear()
    connection.cuts, connection.after = -1, 1 << 20
    code, said = run(url, "s3://shots/never.mov")
    connection.cuts = 0
    system.invalidate_cache()
    figures["stays away"] = {"exit": code, "said": said, "objects": system.glob("shots/never*")}
    system.rm(system.glob("shots/*.mov"))
    return figures


def _frames(path: Path) -> bytes:
    with streammatte.open_video(path) as video:
        return b"".join(frame.rgb.numpy().tobytes() for frame in video)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--json", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, store("shots") as connection:
        figures: dict[str, Any] = {"frames": given.frames, "block": remote._BLOCK}
        for codec in CODECS:
            figures[codec] = clip(codec, given.frames, Path(folder), connection)
            text = json.dumps(figures, indent=2)
            print(text, flush=True)
            given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
