"""The canvas of a drawn street: a pinhole camera that paints world polygons into an image and its label.

World coordinates in metres: X to the right of the road's centre line, Y up from the ground, Z ahead of the
camera, which is 1.5 m above the ground.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

Point = tuple[float, float]  # (x, y) in metres

SCENE_CLASSES = ("sky", "road", "sidewalk", "building", "tree", "car", "person", "pole")
SKY, ROAD, SIDEWALK, BUILDING, TREE, CAR, PERSON, POLE = range(len(SCENE_CLASSES))
OTHER = len(SCENE_CLASSES)  # street furniture that belongs to no class
EGO = OTHER + 1  # bonnet of the car that carries the camera

_CAMERA_HEIGHT = 1.5
_NEAR = 1.2  # metres: nearer points are drawn at this distance
_HAZE = (182.0, 186.0, 192.0)


@dataclass
class Canvas:
    """The image (H, W, 3) uint8 RGB and the label (H, W) uint8 of a scene, and its camera.

    `centre` and `horizon` are column and row of the vanishing point. `focal`, the focal length, is in pixels
    too. `position` is the camera's X in metres.
    """

    image: np.ndarray
    label: np.ndarray
    centre: float
    horizon: float
    focal: float
    position: float
    random: np.random.Generator

    def project(self, points: np.ndarray) -> np.ndarray:
        """Project world points (..., 3) in metres to pixels (..., 2), int32 (column, row)."""
        z = np.maximum(points[..., 2], _NEAR)
        pixels = np.empty((*z.shape, 2))
        pixels[..., 0] = self.centre + self.focal * (points[..., 0] - self.position) / z
        pixels[..., 1] = self.horizon + self.focal * (_CAMERA_HEIGHT - points[..., 1]) / z
        return np.rint(pixels).clip(-20_000, 20_000).astype(np.int32)

    def haze(self, colour: np.ndarray, distance: float) -> list[float]:
        """Return an RGB colour as it looks through the air at a distance in metres."""
        share = 1 - math.exp(-distance / 110)
        return [(1 - share) * float(c) + share * h for c, h in zip(colour, _HAZE, strict=True)]

    def fill(self, kind: int, colour: np.ndarray, points: Sequence) -> None:
        """Paint a polygon of world points (n, 3), or several polygons (m, n, 3) of one colour."""
        points = np.array(points, np.float64)
        polygons = list(self.project(points if points.ndim == 3 else points[None]))
        cv2.fillPoly(self.image, polygons, self.haze(colour, points[..., 2].min()))
        cv2.fillPoly(self.label, polygons, kind)

    def polygon(self, kind: int, colour: np.ndarray, points: Sequence[Point], z: float) -> None:
        """Paint a polygon of points (x, y) that faces the camera at distance z; all in metres."""
        self.fill(kind, colour, [(*point, z) for point in points])

    def upright(self, kind: int, colour: np.ndarray, box: tuple[float, ...], z: float) -> None:
        """Paint a rectangle (left, bottom, right, top) that faces the camera at distance z; all in metres."""
        left, bottom, right, top = box
        self.polygon(kind, colour, [(left, bottom), (left, top), (right, top), (right, bottom)], z)

    def ellipse(self, kind: int, colour: np.ndarray, centre: Point, radii: Point, z: float) -> None:
        """Paint an ellipse that faces the camera, with centre (x, y) and radii (x, y), at distance z."""
        (pixel,) = self.project(np.array([(*centre, z)])).tolist()
        axes = [max(1, round(self.focal * radius / max(z, _NEAR))) for radius in radii]
        cv2.ellipse(self.image, pixel, axes, 0, 0, 360, self.haze(colour, z), -1)
        cv2.ellipse(self.label, pixel, axes, 0, 0, 360, kind, -1)


def colours(text: str) -> np.ndarray:
    """Return the colours of a text "rrggbb rrggbb ...", in hexadecimal digits, as uint8 (n, 3) RGB."""
    return np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, 3)


def noise(shape: tuple[int, int], random: np.random.Generator, cell: float) -> np.ndarray:
    """Return smooth noise (H, W) with mean 0, about unit variance and spots of `cell` pixels."""
    small = [max(2, round(side / cell)) for side in shape]
    return cv2.resize(random.standard_normal(small, np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
