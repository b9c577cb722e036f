"""Drawn street scenes with exact labels, a replacement for photographs, which cannot be redistributed.

A pinhole camera looks along a street, which is painted from far to near. The scenes have perspective, thin
poles and irregular leaves. Colours overlap between classes, so a model needs position and shape too.
"""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from regproxy.demo import objects
from regproxy.demo.canvas import BUILDING, EGO, ROAD, SIDEWALK, SKY, Canvas, colours, noise

PlacedObject = tuple[float, Callable[[], None]]  # (distance in metres, function that paints it)

_OVERSAMPLING = 2  # scenes are drawn larger and averaged, so edges are soft as in photographs
_FAR = 300.0  # metres: where the ground ends
# (top, bottom) of a clear, an overcast and an evening sky
_SKIES = colours("6096d6 c4d8ea 969ea8 ced0d2 788cbe f6cea0").reshape(3, 2, 3).astype(np.float32)
# Relative brightness variation of each class (SCENE_CLASSES, OTHER, EGO), by the size of spots in pixels.
_TEXTURES = {
    1.0: (0.0, 0.05, 0.02, 0.02, 0.12, 0.01, 0.03, 0.02, 0.04, 0.0),
    2.0: (0.0, 0.02, 0.03, 0.03, 0.10, 0.01, 0.03, 0.01, 0.05, 0.0),
    6.0: (0.0, 0.03, 0.02, 0.02, 0.08, 0.03, 0.02, 0.0, 0.02, 0.04),
}


def draw_scene(
    height: int, width: int, random: np.random.Generator, *, bonnet: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a street scene.

    Args:
        height, width: of the result, pixels.
        random: source of all random numbers.
        bonnet: whether to draw the bonnet of the camera's car at the bottom.

    Returns:
        Image (H, W, 3) uint8 RGB and label (H, W) uint8: an index of SCENE_CLASSES, OTHER or EGO.
    """
    rows, columns = height * _OVERSAMPLING, width * _OVERSAMPLING
    road = random.uniform(2.4, 4.2)  # half width, metres
    walk = road + random.uniform(2.2, 4.2)
    canvas = Canvas(
        image=np.zeros((rows, columns, 3), np.uint8),
        label=np.full((rows, columns), SKY, np.uint8),
        centre=columns * random.uniform(0.38, 0.62),
        horizon=rows * random.uniform(0.44, 0.58),
        focal=rows * random.uniform(0.75, 1.0),
        position=random.uniform(-0.5, 0.5) * road if bonnet else random.uniform(-0.9, 0.9) * (road + 0.5),
        random=random,
    )
    _paint_sky(canvas)
    _paint_skyline(canvas)
    _paint_ground(canvas, road, walk)
    # Houses are painted first, because even a near wall is behind all objects of the street.
    for placed in (_place_houses(canvas, walk), _place_street_objects(canvas, road, walk)):
        for _, paint in sorted(placed, key=lambda item: -item[0]):
            paint()
    if bonnet:
        centre, axes = (columns // 2, round(rows * 1.08)), (round(columns * 0.42), round(rows * 0.16))
        cv2.ellipse(canvas.image, centre, axes, 0, 0, 360, (54, 56, 62), -1)
        cv2.ellipse(canvas.label, centre, axes, 0, 0, 360, EGO, -1)
    image = cv2.resize(canvas.image, (width, height), interpolation=cv2.INTER_AREA)
    label = canvas.label[::_OVERSAMPLING, ::_OVERSAMPLING].copy()
    return _expose(image, label, random), label


def _paint_sky(canvas: Canvas) -> None:
    random = canvas.random
    rows, columns = (side // 4 for side in canvas.label.shape)  # the sky is smooth: a quarter of the size
    top, bottom = _SKIES[random.choice(3, p=(0.5, 0.3, 0.2))]
    share = (np.arange(rows, dtype=np.float32) * 4 / canvas.horizon).clip(0, 1)[:, None, None]
    clouds = sum(
        weight * noise((rows, columns // 3), random, rows / n) for weight, n in ((1, 3), (0.5, 8), (0.3, 20))
    )
    clouds = cv2.resize(clouds, (columns, rows))  # stretched, so clouds are wider than high
    cover = 0.8 * (clouds - random.uniform(-0.2, 1.2)).clip(0, 1)[..., None]
    sky = ((1 - cover) * (top + share * (bottom - top)) + cover * 236).astype(np.uint8)
    canvas.image[:] = cv2.resize(sky, canvas.label.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _paint_skyline(canvas: Canvas) -> None:
    """Paint the far houses and trees at the end of the street."""
    random, z, x = canvas.random, 90.0, -130.0
    while x < 130:
        width, height = random.uniform(6, 18), random.uniform(4, 16)
        if random.random() < 0.6:
            wall = np.array((140, 132, 126)) + random.normal(0, 22, 3)
            canvas.upright(BUILDING, wall, (x, -1, x + width, height), z)
        else:
            green = objects.leaf_colour(random)
            objects.paint_leaves(canvas, green, (x + width / 2, height / 3), (width * 0.7, height * 0.6), z)
        x += width * random.uniform(0.6, 1.0)


def _paint_ground(canvas: Canvas, road: float, walk: float) -> None:
    random = canvas.random
    grey = random.uniform(78, 128)
    asphalt = grey + np.array((0, 1, 4)) * random.uniform(-1, 2)
    paving = grey + random.uniform(6, 50) + np.array((6, 2, -6)) * random.uniform(-0.5, 2)

    def flat(kind: int, colour: np.ndarray, left: float, right: float, near: float, far: float) -> None:
        canvas.fill(kind, colour, [(left, 0, near), (left, 0, far), (right, 0, far), (right, 0, near)])

    flat(SIDEWALK, paving, -150, 150, 0, _FAR)
    for z in 1.5 * np.arange(1, 24):  # joints between paving slabs
        flat(SIDEWALK, paving - 14, -walk, walk, z, z + 0.05)
    flat(SIDEWALK, paving + 24, -road - 0.18, road + 0.18, 0, _FAR)  # curb stones
    flat(ROAD, asphalt, -road, road, 0, _FAR)
    if random.random() < 0.7:
        for z in np.arange(random.uniform(1, 4), 60, 6):
            flat(ROAD, asphalt + 85, -0.07, 0.07, z, z + 3)
    if random.random() < 0.35:  # zebra crossing
        z = random.uniform(6, 12)
        for x in np.arange(-road + 0.4, road - 0.6, 1.1):
            flat(ROAD, asphalt + 88, x, x + 0.55, z, z + 2.6)
    for _ in range(random.integers(1, 5)):  # shadows on road and sidewalk
        x, z, wide = random.uniform(-walk, road), random.uniform(2, 20), random.uniform(0.6, 4)
        corners = [(x, 0, z), (x + 1, 0, z + wide), (x + 2 * wide, 0, z + wide), (x + 2 * wide - 1, 0, z)]
        shadow = np.zeros(canvas.label.shape, np.uint8)
        cv2.fillPoly(shadow, [canvas.project(np.array(corners))], 1)
        dark = (shadow > 0) & ((canvas.label == ROAD) | (canvas.label == SIDEWALK))
        canvas.image[dark] = canvas.image[dark] * random.uniform(0.6, 0.9)


def _place_houses(canvas: Canvas, walk: float) -> list[PlacedObject]:
    """Place a row of houses on each side, with a tree instead of some houses."""
    random, placed = canvas.random, []
    for side in (-1, 1):
        z = random.uniform(-4, 2)
        while z < 80:
            end = z + random.uniform(6, 15)
            if random.random() < 0.82:
                paint = partial(objects.paint_house, canvas, side, walk, (z, end), random.uniform(4, 13))
            else:
                x = side * (walk + random.uniform(1, 3))
                paint = partial(objects.paint_tree, canvas, x, max(z, 2) + 2)
            placed.append((z, paint))
            z = end + (random.uniform(1, 4) if random.random() < 0.3 else 0)
    return placed


def _place_street_objects(canvas: Canvas, road: float, walk: float) -> list[PlacedObject]:
    """Place trees, poles, cars, persons and bins on the road and the sidewalks."""
    random, placed = canvas.random, []

    def place(paint: Callable[[Canvas, float, float], None], x: float, z: float) -> None:
        placed.append((z, partial(paint, canvas, x, z)))

    for side in (-1, 1):
        for z in np.cumsum(random.uniform(5, 14, 4)):
            if random.random() < 0.55:
                place(objects.paint_tree, side * (road + random.uniform(0.5, 1.0)), z)
        for z in random.uniform(-2, 1) + np.cumsum(random.uniform(4, 8, 3)):
            place(objects.paint_pole, side * (road + 0.4), z)
        for z in random.uniform(-3, 0) + np.cumsum(random.uniform(5, 9, 3)):
            if random.random() < 0.5:  # parked
                place(objects.paint_car, side * (road - 1.0), z)
        for z in random.uniform(2.4, 7.5, random.integers(1, 4)):
            place(objects.paint_person, side * random.uniform(road + 0.5, walk - 0.4), z)
        if random.random() < 0.5:
            place(objects.paint_bin, side * (walk - 0.5), random.uniform(4, 14))
    for side in (-1, 1):
        if random.random() < 0.5:  # driving
            place(objects.paint_car, side * road * 0.4, random.uniform(4, 15))
    if random.random() < 0.4:
        place(objects.paint_person, random.uniform(-0.7, 0.7) * road, random.uniform(3, 8))
    return placed


def _expose(image: np.ndarray, label: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Add texture of each class, light and sensor noise to an image; return (H, W, 3) uint8."""
    gain = 1 + 0.05 * noise(label.shape, random, label.shape[0] / 3)
    for cell, strengths in _TEXTURES.items():
        gain += np.array(strengths, np.float32)[label] * noise(label.shape, random, cell)
    warmth = random.normal(0, 0.05)
    tint = random.uniform(0.85, 1.12) * np.array((1 + warmth, 1, 1 - warmth), np.float32)
    exposed = image * gain[..., None] * tint
    exposed = (exposed - 128) * random.uniform(0.8, 1.1) + 128
    exposed += random.uniform(1, 3) * random.standard_normal(image.shape, np.float32)
    return exposed.round().clip(0, 255).astype(np.uint8)
