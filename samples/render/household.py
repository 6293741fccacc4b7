"""Furniture and belongings: chairs, sofas, tables, bags, books, balls, guitars, gadgets, tools; and veils."""

import bpy
import numpy as np

from samples.render import finishes, shapes
from samples.render.framing import Framing


def chair(rng: np.random.Generator) -> Framing:
    """A chair, a stool, a table or a bench on four legs."""
    frame, seat = finishes.surface(rng, 0.6, str(rng.choice(["wood", "metal", "paint"]))), finishes.surface(rng, 0.5)
    kind = finishes.pick(rng, {"chair": 3, "stool": 1, "table": 2})
    wide, deep = (0.45, 0.44) if kind != "table" else (float(rng.uniform(0.6, 1.6)), float(rng.uniform(0.5, 0.9)))
    if kind == "stool":
        wide = deep = 0.34
    tall = {"chair": 0.45, "stool": float(rng.uniform(0.4, 0.75)), "table": float(rng.uniform(0.4, 0.75))}[kind]
    thick, splay = float(rng.uniform(0.01, 0.025)), float(rng.uniform(0, 0.08))
    for x in (-1, 1):
        for y in (-1, 1):
            top = (x * (wide / 2 - 0.03), y * (deep / 2 - 0.03), tall)
            foot = (top[0] + x * splay, top[1] + y * splay, 0)
            shapes.add("leg", shapes.tube([foot, top], np.array((0.7, 1)) * thick, 12), frame)
    if rng.random() < 0.5:
        for x in (-1, 1):
            rail = x * (wide / 2 - 0.03 + splay / 2)
            shapes.add(
                "rail", shapes.tube([(rail, -deep / 2, tall / 2), (rail, deep / 2, tall / 2)], thick * 0.6), frame
            )
    if kind == "stool" or (kind == "table" and rng.random() < 0.3):
        disc = [(0, 0), (wide / 2, 0), (wide / 2 + 0.01, 0.015), (wide / 2, 0.03), (0, 0.03)]
        shapes.add("seat", shapes.moved(shapes.lathe(disc), (0, 0, tall)), seat, False)
    else:
        shapes.add("seat", shapes.box((wide, deep, 0.035), (0, 0, tall)), seat, False, bevel=0.012)
    if kind == "chair":
        high, back = float(rng.uniform(0.35, 0.6)), deep / 2 - 0.02
        lean = float(rng.uniform(0.03, 0.12))
        for x in (-1, 1):
            post = [(x * (wide / 2 - 0.03), back, tall), (x * (wide / 2 - 0.03), back + lean, tall + high)]
            shapes.add("post", shapes.tube(post, thick), frame)
        style = int(rng.integers(3))
        if style == 0:
            pane = shapes.box(
                (wide, 0.03, high * 0.6), (0, back + 0.7 * lean, tall + high * 0.7), shapes.rotation(x=-8)
            )
            shapes.add("back", pane, seat, False, bevel=0.01)
        for k in range(0 if style == 0 else int(rng.integers(2, 7))):
            t = (k + 1) / 6
            if style == 1:
                bar = [
                    (-wide / 2 + 0.03, back + lean * t, tall + high * t),
                    (wide / 2 - 0.03, back + lean * t, tall + high * t),
                ]
            else:
                bar = [((t - 0.55) * wide, back, tall), ((t - 0.55) * wide, back + lean, tall + high)]
            shapes.add("bar", shapes.tube(bar, thick * 0.8), frame)
        if style == 2:
            shapes.add("top", shapes.box((wide, 0.03, 0.06), (0, back + lean, tall + high)), frame, False, bevel=0.01)
    return shapes.frame(rng, float(rng.uniform(0, 30)), float(rng.uniform(-70, 70)))


def sofa(rng: np.random.Generator) -> Framing:
    """A sofa or an armchair with cushions."""
    made, feet = finishes.surface(rng, 1.0, "cloth"), finishes.surface(rng, 0.1, "wood")
    seats = int(rng.integers(1, 4))
    wide = 0.65 * seats
    parts = [((wide, 0.75, 0.25), (0, 0, 0.25)), ((wide, 0.2, 0.55), (0, 0.38, 0.55))]
    parts += [((0.18, 0.85, 0.5), (s * (wide / 2 + 0.09), 0.03, 0.37)) for s in (-1, 1)]
    parts += [((0.63, 0.62, 0.16), (0.65 * (k - (seats - 1) / 2), -0.05, 0.44)) for k in range(seats)]
    for size, centre in parts:
        shapes.add("part", shapes.box(size, centre), made, True, bevel=0.06)
    for _ in range(int(rng.integers(0, 3))):
        place = (float(rng.uniform(-0.35, 0.35) * wide), 0.15, 0.7)
        pillow = shapes.box((0.4, 0.12, 0.4), place, shapes.rotation(x=-15, y=float(rng.normal(0, 12))))
        shapes.add("pillow", pillow, finishes.surface(rng, 0.4, "cloth"), True, subdivide=3)
    for x in (-1, 1):
        for y in (-0.3, 0.4):
            shapes.add("foot", shapes.tube([(x * wide / 2, y, 0), (x * wide / 2, y, 0.14)], 0.025), feet)
    return shapes.frame(rng, float(rng.uniform(0, 25)), float(rng.uniform(-50, 50)))


def bag(rng: np.random.Generator) -> Framing:
    """A handbag, a backpack or a suitcase."""
    made, trim = finishes.surface(rng, 0.3, str(rng.choice(["cloth", "plastic", "paint"]))), finishes.surface(rng, 0.1)
    wide, deep, tall = float(rng.uniform(0.25, 0.5)), float(rng.uniform(0.1, 0.2)), float(rng.uniform(0.2, 0.55))
    low, high = (
        np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (wide / 2, deep / 2) * s for s in (1.0, rng.uniform(0.6, 1))
    )
    rings = np.stack([np.c_[low, np.zeros(4)], np.c_[low, np.full(4, tall / 2)], np.c_[high, np.full(4, tall)]])
    shapes.add("bag", shapes.loft(rings), made, True, bevel=0.04)
    loop = shapes.curve(
        [
            (-0.3 * wide, 0, tall * 0.97),
            (-0.2 * wide, 0, tall * 1.35),
            (0.2 * wide, 0, tall * 1.35),
            (0.3 * wide, 0, tall * 0.97),
        ],
        24,
    )
    for y in (-0.3 * deep, 0.3 * deep):
        shapes.add("strap", shapes.moved(shapes.tube(loop, 0.012, 10, 0.5), (0, y, 0)), trim)
    if rng.random() < 0.6:
        shapes.add(
            "pocket", shapes.box((wide * 0.7, 0.05, tall * 0.45), (0, -deep / 2, tall * 0.3)), made, True, bevel=0.02
        )
    shapes.add("band", shapes.box((wide * 1.01, deep * 1.01, 0.012), (0, 0, tall * 0.45)), trim, False)
    return shapes.frame(rng, float(rng.uniform(0, 30)), float(rng.uniform(-60, 60)))


def books(rng: np.random.Generator) -> Framing:
    """A heap of books or boxes, perhaps with a ball on top."""
    z = 0.0
    paper = finishes.plain("paper", (0.75, 0.7, 0.6), 0.9)
    for _ in range(int(rng.integers(1, 8))):
        wide, deep, tall = rng.uniform(0.14, 0.28), rng.uniform(0.12, 0.2), rng.uniform(0.012, 0.07)
        place, turn = (*rng.normal(0, 0.012, 2), z + tall / 2), shapes.rotation(z=float(rng.normal(0, 15)))
        cover = finishes.surface(rng, 0.2)
        if tall < 0.045:
            shapes.add(
                "pages", shapes.moved(shapes.box((wide * 0.96, deep * 0.96, tall * 0.9)), place, turn), paper, False
            )
            for side in (-1, 1):
                board = shapes.box((wide, deep, tall * 0.08), (0, 0, side * tall * 0.47))
                shapes.add("board", shapes.moved(board, place, turn), cover, False)
            shapes.add(
                "spine",
                shapes.moved(shapes.box((wide, tall * 0.1, tall), (0, -deep / 2, 0)), place, turn),
                cover,
                False,
            )
        else:
            shapes.add("box", shapes.moved(shapes.box((wide, deep, tall)), place, turn), cover, False, bevel=0.003)
        z += float(tall)
    if rng.random() < 0.4:
        shapes.add("ball", shapes.ball((0, 0, z + 0.05), 0.05, sides=40), finishes.surface(rng, 0.1))
    return shapes.frame(rng, float(rng.uniform(5, 50)), float(rng.uniform(-60, 60)))


def guitar(rng: np.random.Generator) -> Framing:
    """A guitar, standing or leaning."""
    wood, dark = (
        finishes.surface(rng, 0.5, str(rng.choice(["wood", "paint"]))),
        finishes.plain("ebony", (0.03, 0.02, 0.015), 0.4),
    )
    half = shapes.curve(
        [(0.0, -0.25), (0.17, -0.2), (0.19, -0.06), (0.12, 0.07), (0.135, 0.17), (0.09, 0.24), (0, 0.25)], 40
    )
    side = np.concatenate([half, half[::-1][1:-1] * (-1, 1)])
    shapes.add("body", shapes.outline(side, 0.09), wood, False, bevel=0.008)
    hole = shapes.moved(
        shapes.lathe([(0, 0), (0.048, 0), (0.052, 0.001)], 40), (0, -0.0465, 0.09), shapes.rotation(x=90)
    )
    shapes.add("hole", hole, dark)
    shapes.add("neck", shapes.box((0.05, 0.03, 0.5), (0, -0.045, 0.42)), dark, False, bevel=0.005)
    shapes.add(
        "head", shapes.box((0.075, 0.02, 0.15), (0, -0.04, 0.73), shapes.rotation(x=-8)), wood, False, bevel=0.004
    )
    shapes.add("bridge", shapes.box((0.13, 0.012, 0.02), (0, -0.05, -0.1)), dark, False)
    steel = finishes.plain("string", (0.8, 0.75, 0.6), 0.3, 1.0)
    for k in range(6):
        x = (k - 2.5) * 0.008
        shapes.add("string", shapes.tube([(x, -0.063, -0.1), (x, -0.063, 0.7)], 0.0008, 5), steel)
        s = 1 if k < 3 else -1
        peg = (0.05 * s, -0.04, 0.68 + 0.04 * (k % 3))
        shapes.add("peg", shapes.ball(peg, (0.016, 0.006, 0.01)), steel)
    return shapes.frame(rng, float(rng.uniform(-5, 20)), float(rng.normal(0, 35)), close=0.35)


def gadget(rng: np.random.Generator) -> Framing:
    """A laptop, a camera, headphones, a hammer, scissors or an umbrella."""
    made, dark = (
        finishes.surface(rng, 0.2, str(rng.choice(["plastic", "metal", "paint"]))),
        finishes.plain("dark", (0.02, 0.02, 0.02), 0.2),
    )
    metal = finishes.plain("steel", (0.7, 0.7, 0.7), 0.2, 1.0)
    kind = finishes.pick(
        rng, {"laptop": 1, "camera": 1, "headphones": 1.5, "hammer": 0.7, "scissors": 1, "umbrella": 1, "wires": 1}
    )
    if kind == "laptop":
        shapes.add("base", shapes.box((0.32, 0.22, 0.015), (0, 0, 0.008)), made, False, bevel=0.004)
        shapes.add("keys", shapes.box((0.28, 0.1, 0.002), (0, 0.03, 0.016)), dark, False)
        lid = shapes.rotation(x=-float(rng.uniform(5, 35)))
        for size, y, cover in (((0.32, 0.008, 0.21), 0.0, made), ((0.3, 0.002, 0.19), -0.005, dark)):
            shapes.add("lid", shapes.moved(shapes.box(size, (0, y, 0.105)), (0, 0.11, 0.012), lid), cover, False)
    elif kind == "camera":
        shapes.add("body", shapes.box((0.14, 0.06, 0.09), (0, 0, 0.045)), made, False, bevel=0.01)
        shapes.add("hump", shapes.box((0.05, 0.05, 0.03), (0, 0, 0.1)), made, False, bevel=0.008)
        lens = [(0.036, 0), (0.036, 0.03), (0.033, 0.032), (0.033, 0.06), (0.028, 0.062), (0.024, 0.05), (0, 0.052)]
        shapes.add("lens", shapes.moved(shapes.lathe(lens), (0, -0.03, 0.045), shapes.rotation(x=90)), dark)
        shapes.add("button", shapes.ball((0.05, 0, 0.092), (0.01, 0.01, 0.006)), metal)
    elif kind == "headphones":
        bow = [(0.085 * np.cos(a), 0, 0.1 + 0.1 * np.sin(a)) for a in np.linspace(-0.2, np.pi + 0.2, 30)]
        shapes.add("bow", shapes.tube(bow, 0.009, 10, 0.6), made)
        for s in (-1, 1):
            shapes.add("cup", shapes.ball((0.085 * s, 0, 0.07), (0.02, 0.036, 0.042)), made)
            round_ = np.linspace(0, 2 * np.pi, 15)
            pad = shapes.lathe(np.c_[0.03 + 0.011 * np.cos(round_), 0.011 * np.sin(round_)])
            shapes.add("pad", shapes.moved(pad, (0.068 * s, 0, 0.07), shapes.rotation(y=90)), dark)
    elif kind == "hammer":
        shapes.add(
            "handle",
            shapes.tube([(0, 0, 0), (0, 0, 0.28)], np.array((0.014, 0.011)), 14),
            finishes.surface(rng, 0.1, "wood"),
        )
        head = shapes.tube(
            [(-0.06, 0, 0.28), (-0.03, 0, 0.28), (0, 0, 0.28), (0.08, 0, 0.265)],
            np.array((0.017, 0.013, 0.015, 0.004)),
            14,
        )
        shapes.add("head", head, metal)
    elif kind == "scissors":
        spread = float(rng.uniform(4, 25))
        for s in (-1, 1):
            turn = shapes.rotation(y=spread * s)
            blade = shapes.outline(
                [(-0.008, -0.04), (0.008, -0.04), (0.008, 0.03), (0.001 * s, 0.12), (-0.008, 0.03)], 0.002
            )
            shapes.add("blade", shapes.moved(blade, (0, 0.002 * s, 0), turn), metal, False)
            ring = [(0.02 * np.cos(a) - 0.015 * s, 0, 0.028 * np.sin(a) - 0.065) for a in np.linspace(0, 2 * np.pi, 24)]
            shapes.add("ring", shapes.moved(shapes.tube(ring, 0.005), (0, 0, 0), turn), made)
    elif kind == "umbrella":
        cloth = finishes.surface(rng, 0.6, "cloth")
        dome = shapes.lathe(np.c_[np.sin(np.linspace(0, 1.2, 12)), np.cos(np.linspace(0, 1.2, 12))] * 0.55, 8)
        shapes.add("dome", shapes.moved(dome, (0, 0, 0.35)), cloth, rng.random() < 0.3)
        stick = shapes.curve([(0, 0, 0.95), (0, 0, 0.5), (0, 0, 0.05), (0.04, 0, 0.0), (0.08, 0, 0.04)], 40)
        shapes.add("stick", shapes.tube(stick, 0.008), metal)
    else:
        for _ in range(int(rng.integers(2, 8))):
            path = shapes.curve(rng.normal(0, 0.1, (int(rng.integers(5, 10)), 3)), 120)
            shapes.add(
                "wire", shapes.tube(path, float(rng.uniform(0.0015, 0.008)), 8), finishes.surface(rng, 0.1, "plastic")
            )
    return shapes.frame(rng, float(rng.uniform(0, 45)), float(rng.normal(0, 40)))


def veil(rng: np.random.Generator) -> Framing:
    """A translucent cloth that hangs, is blown aside or drapes; plain or with a woven pattern."""
    count = 90
    u, v = (g.ravel() for g in np.meshgrid(np.linspace(-0.5, 0.5, count), np.linspace(0, 1, count)))
    wide, tall = float(rng.uniform(0.8, 1.6)), float(rng.uniform(1.0, 1.8))
    folds, blow = float(rng.uniform(4, 14)), float(rng.normal(0, 0.35))
    noise = shapes.waves(rng, 0.8)(np.c_[u * 2, v, 0 * v])
    gather = 1 - float(rng.uniform(0, 0.6)) * v ** float(rng.uniform(0.5, 2))
    depth = float(rng.uniform(0.02, 0.08)) * (np.sin(2 * np.pi * folds * u + 1.5 * noise) + noise)
    x = u * wide * gather + blow * (1 - v) ** 2 + 0.05 * noise
    z = v * tall + 0.06 * noise * (1 - v) - 0.25 * abs(blow) * (1 - v) ** 2 * 0.5
    faces = [
        [r * count + c, r * count + c + 1, (r + 1) * count + c + 1, (r + 1) * count + c]
        for r in range(count - 1)
        for c in range(count - 1)
    ]
    tint = np.clip(finishes.color(rng) if rng.random() < 0.6 else np.full(3, 0.8), 0.02, 0.9)
    made = bpy.data.materials.new("veil")
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    nodes.remove(nodes["Principled BSDF"])
    clear, solid, through, both, mix = (
        nodes.new(f"ShaderNode{k}")
        for k in ("BsdfTransparent", "BsdfDiffuse", "BsdfTranslucent", "MixShader", "MixShader")
    )
    for shader in (solid, through):
        shader.inputs["Color"].default_value = (*(float(c) for c in tint), 1.0)
    cover = float(rng.uniform(0.15, 0.8))
    mix.inputs["Fac"].default_value = cover
    links.new(solid.outputs[0], both.inputs[1])
    links.new(through.outputs[0], both.inputs[2])
    links.new(clear.outputs[0], mix.inputs[1])
    links.new(both.outputs[0], mix.inputs[2])
    links.new(mix.outputs[0], nodes["Material Output"].inputs["Surface"])
    if rng.random() < 0.35:  # lace: denser in places
        place, lace, spread = (
            nodes.new("ShaderNodeTexCoord"),
            nodes.new("ShaderNodeTexVoronoi"),
            nodes.new("ShaderNodeMapRange"),
        )
        lace.inputs["Scale"].default_value = float(rng.uniform(8, 40))
        spread.inputs["To Min"].default_value, spread.inputs["To Max"].default_value = (
            cover * 0.4,
            min(cover * 1.6, 1.0),
        )
        links.new(place.outputs["Object"], lace.inputs["Vector"])
        links.new(lace.outputs["Distance"], spread.inputs["Value"])
        links.new(spread.outputs["Result"], mix.inputs["Fac"])
    shapes.add("veil", (np.c_[x, depth, z], faces), made)
    return shapes.frame(rng, float(rng.normal(0, 6)), float(rng.normal(0, 25)), close=0.4)


MAKERS = {"chair": (chair, 2.0), "sofa": (sofa, 0.8), "bag": (bag, 1.2), "books": (books, 1.0), "guitar": (guitar, 1.0)}
MAKERS |= {"gadget": (gadget, 2.0), "veil": (veil, 2.0)}
