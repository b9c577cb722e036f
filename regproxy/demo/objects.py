"""Objects of a drawn street, each painted at world coordinates (x, z) in metres."""

import numpy as np

from regproxy.demo.canvas import BUILDING, CAR, OTHER, PERSON, POLE, TREE, Canvas, Point, colours, noise

_WALLS = colours("a89680 8c5646 bab8b2 70747e c4ac78 6c745c 96aabe")
_LEAVES = colours("46682c 365632 687034 966c34")
_COATS = colours("c42428 de6018 c62c78 d63c3c 962882 e28228")
_CARS = colours("243c8c 2c3e6e 3a4254 ced2d6 146e82 2860a0 dcc43c")


def paint_house(canvas: Canvas, side: int, distance: float, span: tuple[float, float], height: float) -> None:
    """Paint a house with its front at X = side * distance (side -1 left, 1 right), in the Z range `span`."""
    random, (near, far) = canvas.random, span
    wall = _WALLS[random.integers(len(_WALLS))] + random.normal(0, 4, 3) + random.normal(0, 10)
    x, lit = side * distance, 1.0 if random.random() < 0.5 else 0.82
    gable = [(x, 0, near), (x, height, near), (side * 60, height, near), (side * 60, 0, near)]
    canvas.fill(BUILDING, wall * 0.86 / lit, gable)
    canvas.fill(BUILDING, wall * lit, _wall(x, (0, height), span))
    glass = np.array((62, 74, 90)) + random.normal(0, 14, 3) + (90 if random.random() < 0.25 else 0)
    storey, bay = random.uniform(2.7, 3.4), random.uniform(1.9, 3.0)
    wide, tall = bay * random.uniform(0.4, 0.65), storey * random.uniform(0.45, 0.65)
    for bottom in np.arange(0.9, height - storey * 0.7, storey):
        top = bottom + tall
        starts = np.arange(max(near, 2.0) + 0.5, min(far, 45) - wide, bay)
        row = [_wall(x, (bottom, top), (z, z + wide)) for z in starts]
        if row:
            canvas.fill(BUILDING, glass + random.normal(0, 14), row)
    canvas.fill(BUILDING, wall * 0.6, _wall(x, (height - 0.3, height), span))


def _wall(x: float, heights: tuple[float, float], span: tuple[float, float]) -> list[tuple]:
    """Return the corners of a rectangle parallel to the road, at X = x, from the given Y and Z ranges."""
    (bottom, top), (near, far) = heights, span
    return [(x, bottom, near), (x, top, near), (x, top, far), (x, bottom, far)]


def paint_leaves(canvas: Canvas, green: np.ndarray, centre: Point, radii: Point, z: float) -> None:
    """Paint a tree's crown, an irregular ellipse with centre (x, y) and radii (x, y), at distance z."""
    random = canvas.random
    (centre_pixel,) = canvas.project(np.array([(*centre, z)]))
    half = np.array([max(2, round(canvas.focal * radius / z)) for radius in radii])
    low = np.maximum(centre_pixel - half, 0)
    high = np.minimum(centre_pixel + half, canvas.label.shape[::-1])
    if (high <= low).any():
        return
    columns, rows = (np.arange(a, b) for a, b in zip(low, high, strict=True))
    u, v = (columns - centre_pixel[0]) / half[0], (rows - centre_pixel[1]) / half[1]
    size = (len(rows), len(columns))
    ragged = noise(size, random, max(3.0, half.min() / 4)) * 0.22 + noise(size, random, 2.5) * 0.10
    inside = u[None] ** 2 + v[:, None] ** 2 + ragged < 0.85
    shade = 1.0 - 0.35 * v[:, None] + 0.16 * noise(size, random, max(2.0, half.min() / 6))
    leaves = (shade[..., None] * np.array(canvas.haze(green, z))).clip(0, 255)
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    canvas.image[window][inside] = leaves[inside]
    canvas.label[window][inside] = TREE


def leaf_colour(random: np.random.Generator) -> np.ndarray:
    """Draw a colour of leaves, (3,) RGB."""
    green = _LEAVES[random.choice(len(_LEAVES), p=(0.4, 0.3, 0.2, 0.1))]
    return green + random.normal(0, 5, 3) + random.normal(0, 8)


def paint_tree(canvas: Canvas, x: float, z: float) -> None:
    """Paint a trunk and a crown of three ellipses."""
    random = canvas.random
    trunk, crown = random.uniform(1.8, 3.0), random.uniform(1.1, 2.1)
    bark = np.array((88, 70, 54)) + random.normal(0, 8, 3)
    canvas.upright(TREE, bark, (x - 0.13, 0, x + 0.13, trunk + 0.6 * crown), z)
    green = leaf_colour(random)
    for _ in range(3):
        shift = random.uniform(-0.5, 0.5, 2) * crown
        paint_leaves(canvas, green, (x + shift[0], trunk + crown + shift[1]), (crown, crown * 0.9), z)


def paint_pole(canvas: Canvas, x: float, z: float) -> None:
    """Paint a lamp post with an arm over the road, or a lower post with a sign."""
    random = canvas.random
    grey = np.array((34, 40, 38)) + random.normal(0, 8)
    height, thick = random.uniform(2.6, 6.5), random.uniform(0.09, 0.15)
    # At least two oversampled pixels wide: far poles would otherwise be in the image and not in the label.
    thick = max(thick, z / canvas.focal)
    canvas.upright(POLE, grey, (x - thick, 0, x + thick, height), z)
    if height > 4.5:
        reach = -np.sign(x) * random.uniform(0.8, 1.6)
        arm = sorted((x, x + reach))
        canvas.upright(POLE, grey, (arm[0], height - 2 * thick, arm[1], height), z)
        canvas.ellipse(POLE, grey + 60, (x + reach, height - thick), (0.28, 0.12), z)
    else:
        canvas.upright(POLE, grey + 14, (x - 0.3, height - 0.6, x + 0.3, height), z)


def paint_car(canvas: Canvas, x: float, z: float) -> None:
    """Paint a car from behind or ahead, with its near end at distance z and its visible side."""
    random = canvas.random
    paint = _CARS[random.integers(len(_CARS))] + random.normal(0, 8, 3)
    glass, tyre = np.array((52, 60, 70)), np.array((28, 28, 30))
    half, length, roof = random.uniform(0.82, 0.95), random.uniform(3.6, 4.6), random.uniform(1.38, 1.75)
    far, waist = z + length, 0.62 * roof
    flank = x - half if x > canvas.position else x + half
    back = z + 0.5  # of the windscreen
    shadow = [(x - half, 0, z), (x + half, 0, z), (x + half, 0, far), (x - half, 0, far)]
    window = [(flank, waist, far), (flank, roof, far - 0.7), (flank, roof, back), (flank, waist, z)]
    canvas.fill(CAR, tyre, shadow)
    canvas.fill(CAR, glass, window)
    canvas.fill(CAR, paint * 0.8, _wall(flank, (0.25, waist), (z, far)))
    cabin = (half, half * 0.78, waist, roof, paint * 0.92)
    pane = (half * 0.86, half * 0.774, waist + 0.05, roof - 0.1, glass)
    for wide, narrow, low, high, colour in (cabin, pane):
        points = [(x - wide, low, z), (x - narrow, high, back), (x + narrow, high, back), (x + wide, low, z)]
        canvas.fill(CAR, colour, points)
    canvas.upright(CAR, paint, (x - half, 0.28, x + half, waist), z)
    lamp = np.array((190, 40, 36)) if random.random() < 0.6 else np.array((236, 232, 206))
    for side in (-1, 1):
        tyre_x, lamp_x = x + side * half * 0.78, x + side * half * 0.82
        canvas.upright(CAR, tyre, (tyre_x - 0.13, 0, tyre_x + 0.13, 0.3), z)
        canvas.upright(CAR, lamp, (lamp_x - 0.14, waist - 0.28, lamp_x + 0.14, waist - 0.12), z)
    canvas.upright(CAR, np.array((222, 222, 214)), (x - 0.25, 0.38, x + 0.25, 0.5), z)


def paint_person(canvas: Canvas, x: float, z: float) -> None:
    """Paint legs, torso, arms and head."""
    random = canvas.random
    tall, stride = random.uniform(1.5, 1.9), random.uniform(0.02, 0.22)
    coat = _COATS[random.integers(len(_COATS))] + random.normal(0, 8, 3)
    trousers = np.array((44, 40, 96)) + random.normal(0, 12)
    skin = np.array((206, 166, 138)) * random.uniform(0.45, 1.05)
    hip, neck = 0.48 * tall, 0.84 * tall
    for side in (-1, 1):
        foot = x + side * (0.06 + stride)
        leg = [(x + side * 0.02, hip), (x + side * 0.19, hip), (foot + 0.07, 0), (foot - 0.07, 0)]
        canvas.polygon(PERSON, trousers, leg, z)
    torso = [(x - 0.18, hip - 0.05), (x - 0.24, neck), (x + 0.24, neck), (x + 0.18, hip - 0.05)]
    canvas.polygon(PERSON, coat, torso, z)
    for side in (-1, 1):
        hand = x + side * (0.26 + 0.4 * stride)
        arm = [(x + side * 0.18, neck), (x + side * 0.27, neck - 0.05), (hand, hip), (hand - side * 0.1, hip)]
        canvas.polygon(PERSON, coat * 0.85, arm, z)
    canvas.ellipse(PERSON, skin, (x, 0.92 * tall), (0.105, 0.13), z)


def paint_bin(canvas: Canvas, x: float, z: float) -> None:
    """Paint a waste bin, which belongs to no class."""
    colour = np.array((70, 84, 70)) + canvas.random.normal(0, 20, 3)
    canvas.upright(OTHER, colour, (x - 0.28, 0, x + 0.28, 0.95), z)
    canvas.upright(OTHER, colour * 0.6, (x - 0.31, 0.95, x + 0.31, 1.05), z)
