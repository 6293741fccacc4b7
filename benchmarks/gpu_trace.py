"""A trace of the chain from frames in memory to the planes of ProRes 4444: what crosses the bus, and who waits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from streammatte import open_video
from streammatte.frame import Frame
from streammatte.media.write.composing import Contents
from streammatte.media.write.encoding import encoding_for
from streammatte.media.write.painting import CutoutPainter
from streammatte.models.birefnet import AT_ONCE, BiRefNetModel
from streammatte.models.device import workers
from streammatte.pipeline import matte, prefetch
from streammatte.stages import stages_for

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


def traced(clip: Path, model: BiRefNetModel, frames: int, folder: Path) -> dict[str, float]:
    """Figures of a frame: MiB that crossed either way, waits, launches; and the share of the time the GPU computed.

    Upload, smoothing and packing are as in the command. The first frames warm up, untraced.
    """
    with open_video(clip) as video:
        decoded = [frame for _, frame in zip(range(frames), video, strict=False)]
        contents = Contents()
        encoding = encoding_for(Path("out.mov"), video.info, contents)
        painter = CutoutPainter(encoding, video.info, (video.info.width, video.info.height), contents)
    through(decoded, model, painter)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (model.device.type == "cuda")
    with profile(activities=activities) as profiler:
        seconds = through(decoded, model, painter)
    trace = folder / "trace.json"
    profiler.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    return {"fps": len(decoded) / seconds, **figures(events, len(decoded), seconds)}


def through(decoded: Iterable[Frame], model: BiRefNetModel, painter: CutoutPainter) -> float:
    """Seconds that the chain takes with the command's stages."""

    def uploading() -> Iterator[Frame]:
        for frame in decoded:
            fresh = Frame(frame.rgb, frame.pts, frame.index, frame.duration, frame.samples)
            fresh.on(model.device, as_planes=True)
            yield fresh

    stages = stages_for(model.size, device=model.device, hands=max(1, workers() - 1))
    start = time.perf_counter()
    frames = prefetch(uploading(), AT_ONCE)
    for cutout in matte(frames, model, stages, batch=model.at_once, ahead=AT_ONCE, floats=False, fetch=False):
        painter(cutout)
    return time.perf_counter() - start


def figures(events: Iterable[dict[str, Any]], frames: int, seconds: float) -> dict[str, float]:
    """The same, from a Chrome trace."""
    up = down = waits = launches = busy = 0.0
    for event in events:
        name, kind = event.get("name", ""), event.get("cat", "")
        if kind == "gpu_memcpy":
            size = event.get("args", {}).get("bytes", 0)
            up, down = up + size * ("HtoD" in name), down + size * ("DtoH" in name)
        elif kind == "kernel":
            busy += event["dur"] / 1e6
        elif kind == "cuda_runtime":
            waits += name in WAITS
            launches += name.startswith(("cudaLaunchKernel", "cudaGraphLaunch"))
    per_frame = {"mib_up": up / 2**20, "mib_down": down / 2**20, "waits": waits, "launches": launches}
    return {**{name: value / frames for name, value in per_frame.items()}, "gpu_busy": busy / seconds}
