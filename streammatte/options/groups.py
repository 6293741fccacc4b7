"""What can be asked of a run, a frozen dataclass for each group of options."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from fractions import Fraction
from typing import Any, Literal

from streammatte.options import values
from streammatte.options.field import option
from streammatte.options.prompts import Prompted, prompt, prompts_in, transparent


@dataclass(frozen=True, slots=True)
class Reading:
    input: str = option(MISSING, "INPUT", common=True, help="video, picture, numbered plate.####.png, or -")
    mark_in: str | None = option(
        None, "--in MARK", example="3s", common=True, help="first frame to take: 75, 3s, 1:02.5, 01:00:00:00"
    )
    mark_out: str | None = option(
        None, "--out MARK", example="10s", common=True, help="last frame to take, itself included"
    )
    handles: int = option(
        0, "--handles", help="extra frames before --in and after --out; outputs begin with the first of them"
    )
    frame_rate: Fraction | None = option(
        None, "--fps RATE", help="frame rate of numbered pictures: 25, 23.976, 30000/1001 (default: 24)"
    )
    layer: str | None = option(None, "--layer NAME", help="layer or part of an OpenEXR file (default: the main layer)")
    input_transfer: Literal["srgb", "rec709", "linear", "logc3", "slog3", "pq", "hlg"] | None = option(
        None,
        "--input-transfer",
        help="how the footage encodes light (default: as tagged; camera logs have no tag). The network sees the "
        "footage converted for a screen; the output keeps its colours",
    )
    input_alpha: Literal["ignore", "core", "garbage"] = option(
        "ignore",
        "--input-alpha",
        help="use the input's own alpha: core keeps what is opaque, garbage removes what is clear",
    )
    interlaced: Literal["refuse", "deinterlace", "as-is"] = option(
        "refuse", "--interlaced", help="what to do with interlaced footage"
    )
    hwaccel: Literal["off", "cuda"] = option(
        "off",
        "--hwaccel",
        example="cuda",
        help="cuda: decode on NVDEC and encode .mp4 on NVENC, where the GPU can; damage inside frames then goes "
        "unnoticed, and .mp4 needs more bits",
    )
    strict: bool = option(False, "--strict", help="refuse damaged footage; without it the intact frames are matted")


@dataclass(frozen=True, slots=True)
class Writing:
    outputs: tuple[str, ...] = option(
        (),
        "-o, --output OUTPUT",
        example="out.mov",
        common=True,
        help="file to write; its suffix sets the format: .mov .webm .mkv .mp4 .gif .webp .jpg, or numbered "
        "name.####.png, .tif, .exr; - is a pipe (NUT); repeat for more files",
    )
    matte: str | None = option(
        None, "--matte", example="matte.mov", common=True, help="also write the matte alone, in grey"
    )
    foreground: str | None = option(
        None,
        "--foreground",
        example="fill.mov",
        help="also write the fill: the subject's colours alone, extended past its edge",
    )
    pair: Literal["above", "beside"] | None = option(
        None,
        "--pair",
        help="write fill and matte in one picture, one above or beside the other, for players without alpha",
    )
    deliver: str | None = option(
        None,
        "--deliver DIR",
        help="write the whole set to a folder: ProRes 4444, WebM, fill, matte, a comp over a checkerboard or --bg, "
        "and a note",
    )
    background: str | None = option(
        None,
        "--bg, --background WHAT",
        example="green",
        common=True,
        help="compose over a colour (green, #00b140), picture, clip (looped), checker or blur[:RADIUS]",
    )
    alpha: Literal["straight", "premultiplied"] | None = option(
        None, "--alpha", help="how colours relate to alpha (default: straight; premultiplied in .exr)"
    )
    quality: Literal["draft", "standard", "best"] = option(
        "standard", "--quality", common=True, help="encoder quality for ProRes, VP9, H.264, JPEG and WebP"
    )
    codec: Literal["prores4444", "prores4444xq", "png"] = option(
        "prores4444", "--codec", help="codec in .mov; png is lossless, as is .mkv"
    )
    bits: Literal[8, 10, 12, 16, 32] | None = option(
        None,
        "--bits",
        help="bit depth: 8 or 16 in .png, .tif and PNG in .mov; 8 to 16 in .mkv; 16 or 32 in .exr (default: what the "
        "source needs; at least 10 in .mkv, 16 in .exr)",
    )
    exr_compression: Literal["zip", "piz", "dwaa", "dwab"] = option(
        "zip", "--exr-compression", help="compression of .exr; dwaa and dwab are slightly lossy"
    )
    start_number: int | None = option(
        None,
        "--start-number",
        example="1001",
        help="number of the first picture of a numbered output (default: the input's own; for clips, the frame plus 1)",
    )
    no_audio: bool = option(False, "--no-audio", help="write no sound")
    overwrite: bool = option(False, "--overwrite", common=True, help="replace outputs that exist")
    resume: bool = option(
        False,
        "--resume",
        common=True,
        help="continue an interrupted run; says if nothing was kept",
    )
    keep_mattes: bool = option(
        False,
        "--keep-mattes",
        help="keep the network's mattes beside the output, so that another run of the clip (other background, codec, "
        "choke or smoothing) needs no network",
    )

    @property
    def files(self) -> tuple[str, ...]:
        """Every file named, a delivery's apart: outputs, fill, matte."""
        return (*self.outputs, *(path for path in (self.foreground, self.matte) if path is not None))

    @property
    def matte_only(self) -> bool:
        """No output shows colours."""
        return self.matte is not None and not (self.outputs or self.foreground or self.deliver)


@dataclass(frozen=True, slots=True)
class Network:
    model: str = option(
        "auto",
        "--model NAME",
        example="birefnet-lite",
        common=True,
        help="a name from `streammatte models`; auto: the best one that is here or can be fetched",
    )
    weights: str | None = option(
        None, "--weights FILE", help="a checkpoint file, .safetensors or .pth; --model names its network"
    )
    size: tuple[int, int] | None = option(
        None, "--size WxH", help="size of the network's input (default: the model's own)"
    )
    device: str | None = option(
        None, "--device NAME", example="cpu", common=True, help="cpu, cuda, cuda:1, mps (default: the best one)"
    )
    precision: Literal["auto", "fp32", "fp16", "bf16"] = option(
        "auto", "--precision", help="number format on the device; auto: the fastest safe one"
    )
    batch: int | None = option(
        None,
        "--batch N",
        parse=values.whole(1),
        example="4",
        help="frames in one pass of the network (default: 1; on CUDA up to 8, as memory allows, except in segments)",
    )
    stride: int = option(
        1,
        "--stride",
        parse=values.whole(1, 60),
        example="4",
        help="run the network on every N-th frame, and more often where motion does not predict its matte; the other "
        "frames carry it along",
    )
    offline: bool = option(False, "--offline", help="never download weights, as with HF_HUB_OFFLINE=1")


@dataclass(frozen=True, slots=True)
class Whom:
    subject: tuple[Any, ...] = option(
        (),
        "--subject PROMPT",
        parse=prompt,
        example="box 100,50,400,700",
        common=True,
        help='who is meant: "point 640,200 @12"; repeat for more',
    )
    prompts: str | None = option(
        None, "--prompts FILE.json", example="shot.json", help="prompts in a file, as docs/subjects.md describes"
    )
    join: bool = option(
        False,
        "--join",
        help="write named subjects together, to the output's own name; without it, to out.NAME.mov each",
    )
    tracker: str = option(
        "auto",
        "--tracker NAME|FILE",
        example="flow",
        help="what follows the subjects: sam2, which is the surest and slow on a CPU; flow, which needs no weights; "
        "sam2-tiny, sam2-small, sam2-large, a checkpoint, or a folder laid out as on the hub; auto: sam2 if it is here "
        "or can be fetched",
    )

    @property
    def typed(self) -> list[Prompted]:
        """The prompts of the command line; none for whatever stands out."""
        return [each for each in self.subject if isinstance(each, Prompted)]

    def asked(self) -> list[Prompted]:
        """All prompts, a file's last. Raises ``InputError`` if that cannot be read."""
        return self.typed + ([] if self.prompts is None else prompts_in(self.prompts))

    def names(self) -> tuple[str, ...]:
        """The subjects, in the order they were first named; an unnamed one is ``""``; none for whatever stands out."""
        return tuple(dict.fromkeys(each.subject for each in self.asked()))

    def written_apart(self) -> tuple[str, ...]:
        """The subjects that get outputs of their own; ``("",)`` if all is written to the outputs as they are named."""
        return ("",) if self.join else self.names() or ("",)


@dataclass(frozen=True, slots=True)
class Matting:
    colors: Literal["auto", "on", "off"] = option(
        "auto",
        "--colors",
        help="decide doubtful pixels by the picture's own colours; makes veils and smoke solid; auto: on for "
        "small networks such as birefnet-nano",
    )
    smooth: Literal["off", "low", "medium", "high"] = option(
        "medium", "--smooth", common=True, help="steadiness over 5, 9 or 17 frames"
    )
    lookahead: int | None = option(
        None, "--lookahead", help="how many of these frames may lie ahead; 0 looks back only (default: half of them)"
    )
    detail: Literal["auto", "on", "off"] = option(
        "auto",
        "--detail",
        help="sharpen the matte to the footage's own edges; auto: on for networks of 512 pixels or more",
    )
    garbage_mattes: tuple[str, ...] = option((), "--garbage-matte", example="rig.png", help="white is removed: alpha 0")
    core_mattes: tuple[str, ...] = option((), "--core-matte", example="core.png", help="white is kept: alpha 1")
    holdout_mattes: tuple[str, ...] = option(
        (), "--holdout-matte", example="pole.png", help="white marks objects in front of the subject"
    )
    choke: float = option(
        0.0, "--choke", parse=values.pixels, help="move the edge N pixels inwards, or outwards if N is negative"
    )
    feather: float = option(
        0.0, "--feather", parse=values.width, help="soften the edge: a hard one becomes N pixels wide"
    )


@dataclass(frozen=True, slots=True)
class Edges:
    decontaminate: Literal["on", "off"] = option(
        "on", "--decontaminate", help="replace the old background's colour in soft edges by the subject's"
    )
    despill: str | None = option(
        None,
        "--despill COLOUR",
        example="green",
        help="remove a screen's light from the subject: green, blue or #00b140",
    )


@dataclass(frozen=True, slots=True)
class Transparency:
    transparency: Literal["off", "auto", "on"] = option(
        "auto",
        "--transparency",
        help="auto uses SDMatte if it is installed, where the network is unsure or where you point; on makes its "
        "absence an error",
    )
    transparent: tuple[Any, ...] = option(
        (),
        "--transparent BOX|PROMPT",
        parse=transparent,
        example="320,80,480,300",
        help="where something transparent is: LEFT,TOP,RIGHT,BOTTOM in pixels of the first frame, followed to the end "
        'of the shot; or a prompt as for --subject, such as "point 640,200 @12", followed by the tracker',
    )
    transparent_masks: tuple[str, ...] = option(
        (),
        "--transparent-mask",
        example="glass.png",
        help="the same as a matte: white is transparent; a single picture is not followed",
    )
    keyframe_every: int = option(
        12,
        "--keyframe-every",
        parse=values.whole(1, 60),
        help="most frames between two keyframes; they are held in memory",
    )
    sdmatte: str = option(
        "sdmatte",
        "--sdmatte NAME|FILE",
        example="sdmatte-lite",
        help="sdmatte, sdmatte-plus, sdmatte-lite, a checkpoint, or a folder laid out as on the hub",
    )
    sdmatte_size: int = option(
        1024,
        "--sdmatte-size",
        parse=values.whole(256, 2048, step=64),
        help="side of SDMatte's input; smaller needs less memory and sees less",
    )

    @property
    def boxes(self) -> list[tuple[int, int, int, int]]:
        """The plain boxes."""
        return [each for each in self.transparent if not isinstance(each, Prompted)]

    def asked(self) -> list[Prompted]:
        """The prompts."""
        return [each for each in self.transparent if isinstance(each, Prompted)]


@dataclass(frozen=True, slots=True)
class Reporting:
    report: str | None = option(
        None,
        "--report PAGE.html",
        example="out.html",
        help="write a page: frames over several backgrounds, steadiness, edge colours, the worst frames",
    )
    limits: tuple[tuple[str, float], ...] = option(
        (),
        "--fail-on NAME=LIMIT",
        parse=values.limit,
        example="flicker=0.5",
        help="exit with 1 if a score exceeds its limit: flicker=0.5, contamination=0.8, mended=0.1 (share of frames), "
        "audio=0.1 (seconds); everything is written all the same",
    )


@dataclass(frozen=True, slots=True)
class Spreading:
    workers: int | None = option(
        None,
        "--workers",
        parse=values.whole(1),
        example="2",
        help="cut the clip into segments, and compute them in N processes (default with --segments or --engine: one "
        "for each GPU, or as many as memory and cores allow)",
    )
    segments: int | None = option(
        None,
        "--segments",
        parse=values.whole(1),
        example="4",
        help="number of segments (default: by the clip's length). An interrupted run keeps those that are finished",
    )
    engine: Literal["local", "ray"] = option(
        "local", "--engine", help="where workers run: on this machine, or on a Ray cluster"
    )
    address: str | None = option(
        None,
        "--address HOST:PORT",
        example="head:6379",
        help="Ray cluster to join; auto: the one that runs here (default: RAY_ADDRESS, or a new one on this machine)",
    )

    @property
    def asked(self) -> bool:
        """A clip is computed in segments."""
        return self != Spreading()
