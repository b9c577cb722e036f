"""Which tokens a picture of regions shows: those of thin classes first, then some inside of large areas.

K classes, X Y a label, H W the token grid. Labels outside 0..K-1, such as void, count nowhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.eval.image_regions import ImageRegions
from regproxy.model.regions import class_counts, region_masses


@dataclass(frozen=True)
class Token:
    """A token of one of several images: the image's number, its place in the grid and its class."""

    image: int
    row: int
    column: int
    class_id: int


@dataclass(frozen=True, eq=False)
class Candidates:
    """The tokens of an image that can be shown.

    `classes` are int64 (H, W), the others float64 (H, W). `shares` are the shares of a token's own class in
    its region, `shares_around` those in the 3 x 3 tokens around it. `depths` are the distances of its centre
    from the next other class or the image's edge, in sides of a token. `eligible` may be chosen.
    """

    classes: np.ndarray
    shares: np.ndarray
    shares_around: np.ndarray
    depths: np.ndarray
    eligible: np.ndarray


def classes_by_shape(labels: Iterable[np.ndarray], num_classes: int) -> tuple[list[int], list[int]]:
    """Return the classes that occur, the thinnest first, and again with the largest first.

    Thinness is the number of border pixels divided by the area, over all labels (X, Y). A border pixel has a
    pixel of another class above, below, left or right of it.
    """
    areas, borders = np.zeros((2, num_classes), np.int64)
    for label in labels:
        valid = label < num_classes
        areas += np.bincount(label[valid], minlength=num_classes)
        borders += np.bincount(label[valid & border_pixels(label)], minlength=num_classes)
    present = np.flatnonzero(areas)
    thinness, size = borders[present] / areas[present], areas[present]
    thin, large = (present[np.argsort(-values, kind="stable")].tolist() for values in (thinness, size))
    return thin, large


def border_pixels(label: np.ndarray) -> np.ndarray:
    """Return which pixels of a label (X, Y) have one of another class beside them, bool (X, Y).

    Void is no class: a pixel beside void is no border pixel for that reason.
    """
    borders, known = np.zeros(label.shape, bool), label != IGNORE_LABEL
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differs = (label[one] != label[other]) & known[one] & known[other]
        borders[one] |= differs
        borders[other] |= differs
    return borders


def candidates(regions: ImageRegions, label: np.ndarray) -> Candidates:
    """Return the tokens of an image. Eligible are those with eight neighbours, if there are any.

    Tokens whose centres lie in the padding of the network's input are neither eligible nor neighbours.

    Args:
        label: (X, Y) classes of the same image in any size: its annotation, or a prediction.
    """
    eligible = np.zeros(regions.grid, bool)
    rows, columns = (max(int(side / regions.patch + 0.5), 1) for side in regions.pixels.shape[:2])
    eligible[tuple(slice(1, count - 1) if count > 2 else slice(count) for count in (rows, columns))] = True
    affinity = torch.from_numpy(regions.affinity)[None]
    shares, around = (own_shares(regions, label, one) for one in (affinity, torch.ones_like(affinity)))
    return Candidates(regions.classes, shares, around, _depths(regions, label), eligible)


def own_shares(regions: ImageRegions, label: np.ndarray, affinity: Tensor) -> np.ndarray:
    """Return the share of each token's own class in its region, float64 (H, W): its bin of Eq. 5's histogram.

    It is 0 for a region without labelled pixels.

    Args:
        regions: gives the tokens' classes.
        label: as in `candidates`.
        affinity: (1, 9, h, w, H, W), the weights of the pixels.
    """
    scale = [rescaled / own for rescaled, own in zip(regions.pixels.shape[:2], label.shape, strict=True)]

    def mass(selected: np.ndarray) -> np.ndarray:  # one class at a time: all at once need much memory
        excluded = torch.from_numpy(~selected)[None].long()
        counts = class_counts(excluded, affinity, num_classes=1, patch=regions.patch, scale=tuple(scale))
        return region_masses(affinity, counts)[0, 0].double().numpy()

    masses = np.zeros(regions.grid)
    for class_id in np.intersect1d(regions.classes, label):
        masses = np.where(regions.classes == class_id, mass(label == class_id), masses)
    return masses / np.maximum(mass(label < len(regions.token_logits)), 1e-6)


def choose_tokens(
    images: Sequence[Candidates],
    thin: Sequence[int],
    large: Sequence[int],
    *,
    num_thin: int = 6,
    num_inner: int = 2,
) -> list[Token]:
    """Return up to `num_thin` tokens of thin classes and `num_inner` inner tokens of large ones.

    A class is shown by the token whose region has the most of it compared with the 3 x 3 tokens around: such
    a region follows a border. An inner token is the deepest one of its class. Of equal tokens the first is
    taken. Chosen tokens of an image are at least three tokens apart, so that their regions do not overlap.
    Classes without such a token are skipped.

    Args:
        thin, large: orders of the classes, as from `classes_by_shape`.
    """
    free, chosen = [image.eligible.copy() for image in images], list[Token]()
    for order, values, count in (
        (thin, [image.shares - image.shares_around for image in images], num_thin),
        (large, [image.depths for image in images], num_inner),
    ):
        last = len(chosen) + count
        for class_id in order:
            allowed = [place & (image.classes == class_id) for place, image in zip(free, images, strict=True)]
            token = _best(allowed, values, class_id) if len(chosen) < last else None
            if token:
                chosen.append(token)
                rows, columns = (slice(max(at - 2, 0), at + 3) for at in (token.row, token.column))
                free[token.image][rows, columns] = False
    return chosen


def _best(allowed: Sequence[np.ndarray], values: Sequence[np.ndarray], class_id: int) -> Token | None:
    """Return the allowed token with the largest value above 0 over all images; None if there is none."""
    best, token = 0.0, None
    for image, (mask, value) in enumerate(zip(allowed, values, strict=True)):
        own = np.where(mask, value, 0.0)
        if own.max() > best:
            row, column = np.unravel_index(own.argmax(), own.shape)
            best, token = own.max(), Token(image, int(row), int(column), class_id)
    return token


def _depths(regions: ImageRegions, label: np.ndarray) -> np.ndarray:
    """Return the distance of each token's centre from a border pixel or the image's edge, float64 (H, W)."""
    inside = np.pad((~border_pixels(label)).astype(np.uint8), 1)
    distances = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    top, left, bottom, right = regions.cell(0, 0, label.shape)
    y, x = (
        ((np.arange(count) + 0.5) * side).astype(int).clip(max=length - 1)
        for count, side, length in zip(regions.grid, (bottom - top, right - left), label.shape, strict=True)
    )
    return distances[y[:, None], x] / np.sqrt((bottom - top) * (right - left))
