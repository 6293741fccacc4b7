"""Faces and builds that are nobody else's: soft, symmetric dents and swellings of MakeHuman's body."""

import numpy as np

from samples.render.meshes import Array, Library


def vary(library: Library, body: Array, rng: np.random.Generator) -> Array:
    """(V, 3) metres: a body with another face and slightly other proportions.

    Eyes, hair and clothes hang on the body's vertices, so they follow.
    """

    def joint(name: str, end: str = "tail") -> Array:
        return body[getattr(library.bones[library.index[name]], end)].mean(0)

    body = body.copy()
    eye, mouth = joint("eye.L", "head"), (joint("oris01") + joint("oris05")) / 2
    size = 2 * eye[0]
    middle = np.array([0, eye[1], (eye[2] + mouth[2]) / 2])
    spots = (  # where, how wide, and how far things move; all by the distance between the eyes
        ((0.0, -0.25, 0.0), 0.22, 0.05),  # nose
        ((0.0, 0.0, 0.45), 0.2, 0.04),  # its root
        ((0.0, -0.1, -0.75), 0.3, 0.05),  # mouth
        ((0.0, 0.0, -1.2), 0.35, 0.08),  # chin
        ((0.7, 0.3, -0.8), 0.4, 0.07),  # jaw
        ((0.7, 0.1, -0.1), 0.35, 0.06),  # cheek
        ((0.5, 0.0, 0.75), 0.3, 0.04),  # brow
        ((0.0, 0.3, 1.5), 0.7, 0.08),  # forehead
        ((1.2, 1.4, 0.2), 0.35, 0.08),  # ear
        ((0.0, 2.0, 0.8), 0.9, 0.1),  # back of the head
    )
    moved = np.zeros_like(body)
    for place, wide, far in spots:
        push = rng.normal(0, far * size, 3)
        for side in (1, -1) if place[0] else (1,):
            flip = np.array([side, 1, 1])
            apart = (body - (middle + size * np.array(place) * flip)) / (wide * size)
            share = np.exp(-(apart**2).sum(1))
            if not place[0]:  # on the middle line: wider or narrower, not to one side
                moved[:, 0] += share * push[0] * np.tanh(body[:, 0] / (0.2 * size))
                moved[:, 1:] += share[:, None] * push[1:]
            else:
                moved += share[:, None] * push * flip
    body += moved
    # The whole head longer, wider or deeper; then the trunk broader, thicker or longer.
    neck = joint("neck02", "head")
    above = 1 / (1 + np.exp(-(body[:, 2] - neck[2]) / (0.35 * size)))
    stretch = rng.normal(0, 0.035, 3)
    head = joint("head", "head")
    body += above[:, None] * (body - head) * stretch
    broad = rng.normal(0, 0.04, 2)
    body[:, :2] += (1 - above)[:, None] * body[:, :2] * broad
    return body
