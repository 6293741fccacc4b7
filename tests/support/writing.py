"""Cut-outs to be written, and files read back."""

import av
import numpy as np
import torch

from streammatte.frame import ColorSpec, Cutout, Frame, StreamInfo
from streammatte.media import open_video, open_writer
from support import clips


def info_for(size=clips.SIZE, time_base=clips.TIME_BASE, color=None):
    return StreamInfo(*size, time_base, clips.RATE, None, color or ColorSpec(matrix=6))


def alpha_for(index, size=clips.SIZE):
    """Clear at the left, solid at the right, a ramp between that moves with the frame."""
    width, height = size
    row = ((torch.arange(width) - width / 4 - index) / (width / 2)).clamp(0, 1)
    return row.expand(height, width).contiguous()


def cutouts(pts=None, size=clips.SIZE, foreground=False):
    for index, stamp in enumerate(clips.even_pts() if pts is None else pts):
        rgb = torch.from_numpy(clips.picture(index, size)).permute(2, 0, 1)
        yield Cutout(Frame(rgb, stamp, index), alpha_for(index, size), rgb.float() / 255 if foreground else None)


def write(path, info=None, made=None, **options):
    with open_writer(path, info or info_for(), **options) as writer:
        for cutout in cutouts() if made is None else made:
            writer.write(cutout)
    return writer


def decoded(path, codec=None):
    """Frames of the first video stream; VP9's alpha takes libvpx, which is not what FFmpeg picks."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = av.CodecContext.create(codec, "r") if codec else stream.codec_context
        if codec:
            context.extradata = stream.codec_context.extradata
        return [frame for packet in file.demux(stream) for frame in context.decode(packet)]


def plane(frame, number):
    view = frame.planes[number]
    dtype = np.dtype("u1" if frame.format.components[0].bits == 8 else "<u2")
    return np.frombuffer(view, dtype).reshape(view.height, -1)[:, : view.width].astype(np.float32)


def rgb_of(path):
    with open_video(path) as source:
        return [np.ascontiguousarray(frame.rgb.permute(1, 2, 0)) for frame in source]
