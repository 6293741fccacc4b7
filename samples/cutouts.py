"""Render cut-out subjects to train on: people, animals and things, each alone, with exact alpha.

    python samples/cutouts.py OUT --assets DIR --panoramas DIR --count 1000

writes straight RGBA pictures ``OUT/000000.png`` and so on. A picture is decided by its number alone; numbers that are
there already are left as they are, so that a stopped run goes on where it was. See README.md beside this file for
where the two folders come from.
"""

import argparse
import subprocess
from pathlib import Path

import cv2

SCRIPT = Path(__file__).parent / "render/cutout.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for the pictures")
    parser.add_argument("--assets", type=Path, required=True, help="folder with makehuman and makehuman-assets")
    parser.add_argument("--panoramas", type=Path, required=True, help="folder with .hdr panoramas to light with")
    parser.add_argument("--first", type=int, default=0, help="number of the first picture")
    parser.add_argument("--count", type=int, default=1000, help="how many numbers from there")
    parser.add_argument("--kinds", default="person=0.42,animal=0.35,thing=0.23", help="odds of each kind of subject")
    parser.add_argument("--size", type=int, default=320, help="width and height in pixels")
    parser.add_argument("--webp", action="store_true", help="keep as WebP, a ninth of the size; alpha stays exact")
    args = parser.parse_args()
    options = [f"--{name}={value}" for name, value in vars(args).items() if name not in ("out", "webp")]
    blender = ["blender", "-b", "-noaudio", "--python-exit-code", "1", "-P", str(SCRIPT)]
    try:
        subprocess.run([*blender, "--", str(args.out), *options], check=True, stdout=subprocess.DEVNULL)
    finally:
        if args.webp:
            for number in range(args.first, args.first + args.count):
                if (path := args.out / f"{number:06d}.png").exists():
                    pack(path)


def pack(path: Path) -> None:
    """Replace a PNG by a WebP of the same name: its colours at quality 80, its alpha without loss."""
    rgba, packed = cv2.imread(str(path), cv2.IMREAD_UNCHANGED), path.with_suffix(".partial.webp")
    if rgba is None or not cv2.imwrite(str(packed), rgba, [cv2.IMWRITE_WEBP_QUALITY, 80]):
        raise OSError(f"cannot pack {path}")
    packed.replace(path.with_suffix(".webp"))
    path.unlink()


if __name__ == "__main__":
    main()
