"""Make the sample clips: render their subjects, lay them over photographed places, add sound, encode.

    python samples/make.py --assets DIR --panoramas DIR

See README.md beside this file for where the two folders come from and what comes out.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # run as a script, not installed

from samples.render.clips import CLIPS, HEIGHT, WIDTH, Clip  # noqa: E402 (found through the line above)
from samples.render.panorama import Picture, crop, defocus, read_panorama  # noqa: E402
from samples.render.sound import RATE, SOUNDS  # noqa: E402

Bytes = NDArray[np.uint8]


def read_render(path: Path) -> tuple[Picture, Picture]:
    """(H, W, 3) linear RGB premultiplied by alpha, and (H, W) alpha, of a half-float EXR."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    if frame.format.name != "gbrapf16le":
        raise ValueError(f"{path} is {frame.format.name}, not half-float RGBA")
    planes = [
        np.frombuffer(plane, np.float16).reshape(frame.height, -1)[:, : frame.width].astype(np.float32)
        for plane in frame.planes
    ]
    green, blue, red, alpha = planes
    return np.stack([red, green, blue], -1), alpha


def grade(linear: Picture) -> Picture:
    """Linear light to display values in [0, 1]: a soft shoulder, the display's gamma, a little contrast."""
    display = (1 - np.exp(-1.35 * np.maximum(linear, 0))) ** (1 / 2.2)
    return display + 0.8 * display * (1 - display) * (display - 0.45)


def develop(premultiplied: Picture, alpha: Picture, *, glass: bool) -> tuple[Picture, Bytes]:
    """The subject as it is composited: (H, W, 3) straight display RGB in [0, 1] and (H, W) 8-bit alpha.

    The few light paths a pixel leave more noise than a camera would, so the colour is denoised. Alpha is left as it
    was rendered, but for glass, where it is as noisy as the colour.
    """
    if glass:
        both = np.dstack([premultiplied.clip(0, 4), alpha])
        smooth = cv2.medianBlur(both, 3)
        soft = cv2.GaussianBlur(smooth, (0, 0), 1.1)
        flat = cv2.morphologyEx(((alpha > 0.02) & (alpha < 0.97)).astype(np.float32), cv2.MORPH_OPEN, np.ones((3, 3)))
        inside = cv2.GaussianBlur(flat, (0, 0), 1.0)[..., None]
        both = both * (1 - inside) + soft * inside
        premultiplied, alpha = both[..., :3], both[..., 3]
    quantised = np.rint(alpha.clip(0, 1) * 255).astype(np.uint8)
    # Colour past the edge comes from the nearest covered pixels, so that the filter mixes in no black.
    spread = [cv2.GaussianBlur(x, (0, 0), 3) for x in (premultiplied, alpha)]
    around = spread[0] / np.maximum(spread[1], 1e-4)[..., None]
    straight = np.where(alpha[..., None] > 0.02, premultiplied / np.maximum(alpha, 0.02)[..., None], around)
    straight = np.minimum(straight, 1.5 * cv2.medianBlur(straight.astype(np.float32), 3) + 0.02)  # lone bright sparks
    display = np.rint(grade(straight) * 255).astype(np.uint8)
    return cv2.fastNlMeansDenoisingColored(display, None, 5, 7, 3, 11).astype(np.float32) / 255, quantised


def background(clip: Clip, panorama: Picture, frame: int) -> Picture:
    """(H, W, 3) display RGB in [0, 1] behind the subject, averaged over the open shutter."""
    moments = (frame + np.linspace(-0.25, 0.25, 5)) / clip.rate
    light = np.mean([crop(panorama, clip.camera(t), clip.heading, WIDTH, HEIGHT) for t in moments], axis=0)
    return grade(defocus(light, clip.defocus))


def composite(clip: Clip, panorama: Picture, renders: Path) -> Iterator[tuple[Picture, Bytes, Bytes]]:
    """Yield each frame's straight foreground, 8-bit alpha, and finished 8-bit picture."""
    rng = np.random.default_rng(clip.seed)
    for frame in range(clip.frames):
        foreground, alpha = develop(*read_render(renders / f"{clip.name}.{frame:04d}.exr"), glass=clip.goblet)
        share = alpha[..., None].astype(np.float32) / 255
        picture = foreground * share + background(clip, panorama, frame) * (1 - share)
        grain = cv2.GaussianBlur(rng.normal(0, 0.016, (HEIGHT, WIDTH, 1)), (0, 0), 0.6)[..., None]
        picture = picture + grain * (1.1 - picture.mean(2, keepdims=True))
        yield foreground, alpha, np.rint(picture.clip(0, 1) * 255).astype(np.uint8)


def _stamp(frame: av.VideoFrame, index: int, rate: int) -> av.VideoFrame:
    frame.pts, frame.time_base = index, Fraction(1, rate)
    return frame


def encode(clip: Clip, panorama: Picture, renders: Path, out: Path, cutouts: Path | None) -> None:
    """Write ``NAME.mp4``, with sound, and ``NAME.alpha.mkv``; both have the same frames at the same times."""
    with (
        av.open(str(out / f"{clip.name}.mp4"), "w") as movie,
        av.open(str(out / f"{clip.name}.alpha.mkv"), "w") as matte,
    ):
        video = movie.add_stream("libx264", rate=clip.rate, options={"crf": "19", "preset": "slow", "threads": "1"})
        truth = matte.add_stream("ffv1", rate=clip.rate, options={"level": "3", "coder": "1", "context": "1"})
        video.pix_fmt, truth.pix_fmt = "yuv420p", "gray"
        for stream in (video, truth):
            stream.width, stream.height = WIDTH, HEIGHT
            stream.time_base = stream.codec_context.time_base = Fraction(1, clip.rate)
            context = stream.codec_context
            context.colorspace, context.color_primaries, context.color_trc = 1, 1, 1  # BT.709
        video.codec_context.color_range, truth.codec_context.color_range = 1, 2  # limited; full
        audio = movie.add_stream("aac", rate=RATE, layout="stereo")
        audio.bit_rate = 96_000
        for index, (foreground, alpha, picture) in enumerate(composite(clip, panorama, renders)):
            shown = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            movie.mux(video.encode(_stamp(shown, index, clip.rate)))
            covered = av.VideoFrame.from_ndarray(alpha, format="gray")
            covered.color_range = 2
            matte.mux(truth.encode(_stamp(covered, index, clip.rate)))
            if cutouts is not None and index % 4 == 0:
                cutouts.mkdir(parents=True, exist_ok=True)
                straight = np.dstack([np.rint(foreground[..., ::-1] * 255).astype(np.uint8), alpha])
                cv2.imwrite(str(cutouts / f"{clip.name}.{index:04d}.png"), straight)
        sound = SOUNDS[clip.name](clip.frames / clip.rate, np.random.default_rng(clip.seed)).clip(-1, 1)
        for start in range(0, sound.shape[1], 1024):
            piece = np.ascontiguousarray(sound[:, start : start + 1024], np.float32)
            heard = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
            heard.sample_rate, heard.pts, heard.time_base = RATE, start, Fraction(1, RATE)
            movie.mux(audio.encode(heard))
        for container, stream in ((movie, video), (movie, audio), (matte, truth)):
            container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True, help="folder with makehuman and makehuman-assets")
    parser.add_argument("--panoramas", type=Path, required=True, help="folder with the .hdr panoramas")
    parser.add_argument("--renders", type=Path, default=Path("/tmp/sample_render"), help="where Blender's EXRs go")
    parser.add_argument("--out", type=Path, default=HERE, help="where the clips go (default: beside this file)")
    parser.add_argument("--clips", nargs="+", choices=CLIPS, default=list(CLIPS), metavar="NAME", help="only these")
    parser.add_argument("--reuse", action="store_true", help="take the EXRs that are there, without Blender")
    parser.add_argument("--cutouts", type=Path, help="also write every fourth subject here, as straight RGBA PNG")
    args = parser.parse_args()
    for name in args.clips:
        if not args.reuse:
            script = ["blender", "-b", "-noaudio", "--python-exit-code", "1", "-P", str(HERE / "render/scene.py")]
            folders = ["--assets", str(args.assets), "--panoramas", str(args.panoramas), "--out", str(args.renders)]
            subprocess.run([*script, "--", name, *folders], check=True, stdout=subprocess.DEVNULL)
        clip = CLIPS[name]
        panorama = read_panorama(args.panoramas / f"{clip.panorama}.hdr", clip.exposure)
        encode(clip, panorama, args.renders, args.out, args.cutouts)


if __name__ == "__main__":
    main()
