"""SAM 2 as a tracker: it remembers its prompted frames and a few before the present one, and finds the subject again.

A frame belongs to the nearest prompt of its subject, and is reached from there, forwards or backwards. So it depends on
the prompts on either side of it and on nothing else, and a correction changes nothing beyond its neighbours. What is
remembered is pruned to what the network looks at, so memory does not grow with the clip, except for the masks
themselves, which wait compressed for their turn.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streammatte.errors import ModelError
from streammatte.models.device import choose_device, cores, cores_for, memory_of
from streammatte.models.hub import locate, resolve
from streammatte.models.table import CHECKPOINTS, find
from streammatte.motion import Plane
from streammatte.subject.contracts import Look, Looks, Prompt, Tracked
from streammatte.subject.sam2_prompts import points_in, points_of, resized
from streammatte.subject.shots import shots

Memory = dict[str, Any]
"""What the network keeps of one frame."""
Features = dict[str, Any]
"""What the network's image encoder makes of one frame."""

PART = 16  # frames read at once, backwards
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which SAM 2 normalises with
NOWHERE = Tracked(np.zeros((1, 1), np.float32), 0.0)


@dataclass(frozen=True, slots=True)
class _Leg:
    """One way from a prompted frame: the frames that are tracked from there, in order.

    Attributes:
        subject: Whose.
        known: The prompted frames that the network remembers on its way: the one it comes from, and the next.
        frames: Their indices, away from the first of ``known``.
    """

    subject: str
    known: tuple[int, ...]
    frames: range


class Sam2Tracker:
    """Follows subjects with SAM 2; see the module.

    Attributes:
        name: The checkpoint's name or file name.
        device: Where it computes.
        identity: All that decides the masks besides the pictures and prompts.
        size: The side, in pixels, of the square that a picture is resized to.
    """

    def __init__(self, net: Any, *, name: str, identity: str, device: torch.device) -> None:
        self.name, self.device, self.identity = name, device, identity
        self._net, self.size = net, int(net.config.image_size)  # a Sam2VideoModel, decorated beyond what can be typed
        with self._memory():
            self._net.to(device)
        self._quality = 0.0
        self._net.mask_decoder.register_forward_hook(self._note_quality)

    @property
    def longest(self) -> int:
        """Pixels of a picture's longer side that it can see."""
        return self.size

    def __call__(self, looks: Looks, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Mapping[str, Tracked]]]:
        """Every frame's index and its subjects by name, in order."""
        names = list(dict.fromkeys(prompt.subject for prompt in prompts))
        wanted = looks.indices
        first = min([wanted.start, *(prompt.index for prompt in prompts)])
        stop = max([wanted.stop, *(prompt.index + 1 for prompt in prompts)])
        for shot in list(shots(looks, first, stop)):  # before another part of the clip is read
            here = range(max(shot.start, wanted.start), min(shot.stop, wanted.stop))
            if here:
                told = [prompt for prompt in prompts if prompt.index in shot]
                for index, found in self._shot(looks, shot, here, told):
                    yield index, {name: found.get(name, NOWHERE) for name in names}

    def _shot(
        self, looks: Looks, shot: range, wanted: range, prompts: Sequence[Prompt]
    ) -> Iterator[tuple[int, dict[str, Tracked]]]:
        anchors, shelf = self._anchors(looks, prompts), _Shelf()
        legs = [leg for name, own in anchors.items() for leg in _legs(name, sorted(own), shot, wanted)]
        for name, own in anchors.items():
            for index, (_, tracked) in own.items():
                shelf.put(index, name, tracked)
        memories = {name: {index: memory for index, (memory, _) in own.items()} for name, own in anchors.items()}
        for step in (-1, 1):
            along = [_Walk(self, leg, memories[leg.subject]) for leg in legs if leg.frames.step == step]
            for look in _looks_along(looks, [walk.leg.frames for walk in along], step):
                features = self.features(look)
                for walk in along:
                    if look.index in walk.leg.frames:
                        shelf.put(look.index, walk.leg.subject, walk(look.index, features))
                if step > 0:  # what lies behind is complete
                    yield from shelf.taken(wanted, look.index + 1)
        yield from shelf.taken(wanted, wanted.stop)

    def _anchors(self, looks: Looks, prompts: Sequence[Prompt]) -> dict[str, dict[int, tuple[Memory, Tracked]]]:
        """What is remembered and seen of every prompted frame of a shot, by subject.

        A box or a mask says all of the subject. Points alone may mean a part of it, so that the network looks at them
        with the nearest frame in mind that says all, if there is one; a frame with not-points alone needs one.
        """
        told: dict[tuple[str, int], list[Prompt]] = {}
        for prompt in prompts:
            told.setdefault((prompt.subject, prompt.index), []).append(prompt)
        anchors: dict[str, dict[int, tuple[Memory, Tracked]]] = {}
        rounds: list[Callable[[set[str]], bool]] = [
            lambda kinds: bool(kinds & {"box", "mask"}),
            lambda kinds: "point" in kinds and not kinds & {"box", "mask"},
            lambda kinds: kinds == {"not-point"},
        ]
        for fits in rounds:
            whole = {name: {index: own[index][0] for index in own} for name, own in anchors.items()}
            keys = [key for key, group in told.items() if fits({prompt.kind for prompt in group})]
            for index in sorted({index for _, index in keys}):
                features = None
                for name in (name for name, at in keys if at == index):
                    near = _nearest(whole.get(name, {}), index)
                    group = told[name, index]
                    if near is None and all(prompt.kind == "not-point" for prompt in group):
                        continue
                    features = features or self.features(next(iter(looks.between(index, index + 1))))
                    seen = self._prompted(group, index, features, near, looks.frame_size)
                    anchors.setdefault(name, {})[index] = seen
        return anchors

    def _prompted(
        self,
        prompts: Sequence[Prompt],
        index: int,
        features: Features,
        near: tuple[int, Memory] | None,
        frame_size: tuple[int, int],
    ) -> tuple[Memory, Tracked]:
        masks = [prompt.mask for prompt in prompts if prompt.mask is not None]
        points = points_of([prompt for prompt in prompts if prompt.kind != "mask"], frame_size, self.size)
        if not masks:
            return self.looked_at(index, features, points=points, near=near)
        mask = resized(masks[-1], self.size)
        if np.isnan(mask).any():
            # The pixels it leaves open come from the network, which is given the painted ones as a prompt.
            points = [*points, *points_in(mask)]
            own = NOWHERE.mask
            if near is not None or any(label for *_, label in points):
                own = self.looked_at(index, features, points=points, near=near)[1].mask
            mask = np.where(np.isnan(mask), resized(own, self.size), mask)
        memory, tracked = self.looked_at(index, features, mask=mask)
        return memory, Tracked(tracked.mask, float(tracked.confidence > 0))

    @torch.inference_mode()
    def looked_at(
        self,
        index: int,
        features: Features,
        *,
        points: Sequence[tuple[float, float, int]] = (),
        mask: Plane | None = None,
        near: tuple[int, Memory] | None = None,
    ) -> tuple[Memory, Tracked]:
        """A prompted frame: what to remember, and where the subject is.

        Args:
            index: The frame's.
            features: The frame's.
            points: x, y, label: 0 not on the subject, 1 on it, 2 and 3 the corners of its box.
            mask: Instead of points, (size, size) in [0, 1].
            near: Another prompted frame to keep in mind.
        """
        session = _session(self.device, {} if near is None else dict([near]))
        if mask is not None:
            session.add_mask_inputs(0, index, torch.from_numpy(mask)[None, None])
        else:
            places = torch.tensor([[[point[:2] for point in points]]], dtype=torch.float32)
            labels = torch.tensor([[[point[2] for point in points]]], dtype=torch.int32)
            session.add_point_inputs(0, index, {"point_coords": places, "point_labels": labels})
        session.obj_with_new_inputs = [1]
        if near is not None:  # otherwise the network would look at it without its memory
            session.frames_tracked_per_obj[0][index] = {"reverse": False}
        tracked = self.tracked(session, index, features, reverse=near is not None and near[0] > index)
        outputs = session.output_dict_per_obj[0]
        return outputs["cond_frame_outputs" if near is None else "non_cond_frame_outputs"][index], tracked

    @torch.inference_mode()
    def features(self, look: Look) -> Features:
        """What the network sees of a frame, computed once for all subjects."""
        picture = torch.from_numpy(np.ascontiguousarray(look.picture)).to(self.device).permute(2, 0, 1)[None].float()
        with self._memory(), cores(cores_for(self.device, (self.size, self.size))):
            picture = F.interpolate(picture, (self.size, self.size), mode="bilinear", antialias=True) / 255
            mean, std = (torch.tensor(values, device=self.device)[:, None, None] for values in (MEAN, STD))
            seen = self._net.get_image_features((picture - mean) / std, return_dict=True)
        return {"vision_feats": seen.fpn_hidden_states, "vision_pos_embeds": seen.fpn_position_encoding}

    def tracked(self, session: Any, index: int, features: Features, *, reverse: bool) -> Tracked:
        """Where a session's subject is in a frame; the session remembers it."""
        session.cache.clear_all()
        session.cache.cache_vision_features(index, features)
        with self._memory(), cores(cores_for(self.device, (self.size, self.size))):
            # The features are there, so the frame itself is not looked at.
            seen = self._net(session, frame_idx=index, frame=torch.zeros(3, 1, 1), reverse=reverse)
        session.processed_frames.clear()
        session.cache.clear_all()
        for outputs in session.output_dict_per_obj[0].values():
            outputs.get(index, {}).pop("high_res_masks", None)
        present = float(torch.sigmoid(seen.object_score_logits.float()).max())
        mask = torch.sigmoid(seen.pred_masks.float()).reshape(seen.pred_masks.shape[-2:]).cpu().numpy()
        return Tracked(mask, present * min(1.0, max(0.0, self._quality)) if present > 0.5 else 0.0)

    def prune(self, session: Any, index: int) -> None:
        """Forget what the network does not look at any more from the frame ``index`` on."""
        recent = self._net.config.num_maskmem
        oldest = max(recent, self._net.config.max_object_pointers_in_encoder)
        outputs = session.output_dict_per_obj[0]["non_cond_frame_outputs"]
        for at in [at for at in outputs if abs(index - at) >= recent]:
            outputs[at].pop("maskmem_features", None)
            outputs[at].pop("maskmem_pos_enc", None)
            outputs[at].pop("pred_masks", None)
            if abs(index - at) >= oldest:
                del outputs[at]
        session.frames_tracked_per_obj[0].clear()

    def _memory(self) -> AbstractContextManager[None]:
        return memory_of(self.device, "try --tracker sam2-tiny, or --tracker flow", "SAM 2")

    def _note_quality(self, module: object, inputs: object, outputs: tuple[Tensor, ...]) -> None:
        """Keep the decoder's own estimate of its mask's IoU, which its model does not pass on."""
        self._quality = float(outputs[1].max())


class _Walk:
    """A leg, frame by frame."""

    def __init__(self, tracker: Sam2Tracker, leg: _Leg, memories: Mapping[int, Memory]) -> None:
        self.leg = leg
        self._tracker = tracker
        self._session = _session(tracker.device, {index: memories[index] for index in leg.known})

    def __call__(self, index: int, features: Features) -> Tracked:
        with torch.inference_mode():
            tracked = self._tracker.tracked(self._session, index, features, reverse=self.leg.frames.step < 0)
        self._tracker.prune(self._session, index + self.leg.frames.step)
        return tracked


class _Shelf:
    """Masks in 8 bits, compressed, until it is their turn."""

    def __init__(self) -> None:
        self._kept: dict[int, dict[str, tuple[bytes, tuple[int, ...], float]]] = {}
        self._next: int | None = None

    def put(self, index: int, subject: str, tracked: Tracked) -> None:
        steps = np.rint(255 * tracked.mask).astype(np.uint8)
        packed = zlib.compress(steps.tobytes(), 1), steps.shape, tracked.confidence
        self._kept.setdefault(index, {})[subject] = packed

    def taken(self, wanted: range, stop: int) -> Iterator[tuple[int, dict[str, Tracked]]]:
        """Each frame of ``wanted`` up to ``stop`` that has not been taken, in order, with what was put there."""
        start = wanted.start if self._next is None else self._next
        for index in range(start, min(stop, wanted.stop)):
            self._next = index + 1
            found = {}
            for subject, (data, shape, confidence) in self._kept.pop(index, {}).items():
                steps = np.frombuffer(zlib.decompress(data), np.uint8).reshape(shape)
                found[subject] = Tracked(np.asarray(steps / 255, np.float32), confidence)
            yield index, found


def load_sam2_tracker(
    name: str | PathLike[str] = "sam2",
    *,
    device: str | None = None,
    offline: bool = False,
    on_progress: Callable[[int, int | None], None] | None = None,
    on_notice: Callable[[str], None] | None = None,
) -> Sam2Tracker:
    """Load SAM 2, downloading its weights if necessary.

    Args:
        name: ``sam2``, the largest one on a GPU and the smallest on a CPU, or another that is here; a name that
            ``streammatte models`` lists for ``--tracker``; a ``.safetensors`` file; or a folder laid out as on the hub.
        device: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``; the best one here by default.
        offline: Use only what is here.
        on_progress: Called with the bytes done and the total (if known) during a download.
        on_notice: Called with a line for the user.

    Raises:
        ModelError, WeightsMissing, WeightsMismatch: There is no such model, or no weights that fit.
        DeviceMissing, OutOfMemory: This machine has no such device, or too little memory.
    """
    chosen, path = choose_device(device), Path(name)
    label = path.name
    if str(name) == "sam2":
        best = "sam2-tiny" if chosen.type == "cpu" else "sam2-large"
        here = (each.name for each in CHECKPOINTS if each.network == "sam2" and locate(each) is not None)
        name = best if locate(find(best)) is not None else next(here, best)
    if str(name) in (each.name for each in CHECKPOINTS) or (path.suffix != ".safetensors" and not path.exists()):
        checkpoint, path = resolve(
            str(name),
            device_type=chosen.type,
            offline=offline,
            network="sam2",
            on_progress=on_progress,
            on_notice=on_notice,
        )
        label = checkpoint.name
    try:
        from streammatte.models.nets.sam2 import load_sam2

        net = load_sam2(path)
    except ImportError as exc:
        raise ModelError(
            f"cannot import transformers, which SAM 2 needs: {exc}",
            hint="reinstall streammatte in a fresh environment, or use --tracker flow",
        ) from exc
    return Sam2Tracker(net, name=label, identity=f"sam2 1 {_hash(path)} {chosen.type}", device=chosen)


def _hash(path: Path) -> str:
    """The SHA-256 of a checkpoint, which the hub's cache names its files by."""
    path = (path / "model.safetensors" if path.is_dir() else path).resolve()
    if re.fullmatch("[0-9a-f]{64}", path.name):
        return path.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _legs(subject: str, anchors: Sequence[int], shot: range, wanted: range) -> Iterator[_Leg]:
    """The ways that lead to every wanted frame of a shot from the nearer of the prompts around it."""
    for place, anchor in enumerate(anchors):
        before = anchors[place - 1] if place else None
        after = anchors[place + 1] if place + 1 < len(anchors) else None
        least = shot.start if before is None else (before + anchor) // 2 + 1
        most = shot.stop - 1 if after is None else (anchor + after) // 2
        back = range(anchor - 1, max(least, wanted.start) - 1, -1)
        onward = range(anchor + 1, min(most, wanted.stop - 1) + 1)
        if back and back[-1] < wanted.stop:
            yield _Leg(subject, (anchor,) if before is None else (anchor, before), back)
        if onward and onward[-1] >= wanted.start:
            yield _Leg(subject, (anchor,) if after is None else (anchor, after), onward)


def _looks_along(looks: Looks, ways: Sequence[range], step: int) -> Iterator[Look]:
    """The frames that any of the ways leads over, once each, in order, or backwards in parts from the end."""
    frames = sorted({index for way in ways for index in way})
    parts: list[range] = []
    for index in frames:
        if parts and parts[-1].stop == index and (step > 0 or len(parts[-1]) < PART):
            parts[-1] = range(parts[-1].start, index + 1)
        else:
            parts.append(range(index, index + 1))
    for part in parts[::step]:
        seen: Iterable[Look] = looks.between(part.start, part.stop)
        yield from seen if step > 0 else reversed(list(seen))


def _nearest(memories: Mapping[int, Memory], index: int) -> tuple[int, Memory] | None:
    """The nearest frame before ``index``, or else after it."""
    before = max((at for at in memories if at < index), default=None)
    near = min((at for at in memories if at > index), default=None) if before is None else before
    return None if near is None else (near, memories[near])


def _session(device: torch.device, known: Mapping[int, Memory]) -> Any:
    """A session of one subject, which remembers the prompted frames ``known``."""
    from transformers import Sam2VideoInferenceSession

    session = Sam2VideoInferenceSession(
        inference_device=device, inference_state_device=device, video_storage_device="cpu", dtype=torch.float32
    )
    session.obj_id_to_idx(1)
    session.output_dict_per_obj[0]["cond_frame_outputs"].update(known)
    return session
