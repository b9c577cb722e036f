"""Boundary IoU: how well the borders of a prediction follow the borders of the label.

Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021. The boundary
region of a class is that part of its mask that lies within `boundary_width` pixels of the mask's contour. The
boundary IoU of a class is the intersection over union of its boundary regions in prediction and label. The
counts of a split are sums over its images.
"""

import math

import cv2
import numpy as np

_WIDTH = 0.02  # of the image's diagonal, the paper's default; the authors' code has 0.005 for Cityscapes


def boundary_width(shape: tuple[int, int]) -> int:
    """Return the width of boundary regions, in pixels: 2 % of the diagonal of an image (X, Y), at least 1."""
    return max(round(_WIDTH * math.hypot(*shape)), 1)


def boundary_counts(
    prediction: np.ndarray, label: np.ndarray, *, num_classes: int, ignore_label: int
) -> np.ndarray:
    """Return the pixels of each class in the intersection and the union of its boundary regions.

    A pixel belongs to the boundary region of its class if a pixel of another class, or the outside of the
    image, is at most `boundary_width` pixels away, in rows and in columns. The paper's code has the same
    distance and the same treatment of the image's frame.

    Pixels whose label is `ignore_label` (void) count in no region, and they are no "other class" either, in
    label and prediction alike. A prediction has no void. If void made a contour, it would be a contour of the
    label alone, and a perfect prediction would score less than 1.

    Args:
        prediction: (X, Y) classes 0..K-1.
        label: (X, Y) classes 0..K-1 or `ignore_label`.

    Returns:
        (2, K) int64: intersections and unions.
    """
    void = label == ignore_label
    regions = [boundary_region(classes, void, num_classes=num_classes) for classes in (label, prediction)]
    both = regions[0] & regions[1] & (label == prediction)
    masks = ((label, both), (label, regions[0]), (prediction, regions[1]))
    shared, labelled, predicted = (np.bincount(one[mask], minlength=num_classes) for one, mask in masks)
    return np.stack([shared, labelled + predicted - shared])


def boundary_region(classes: np.ndarray, void: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Return which pixels lie in the boundary region of their own class, bool (X, Y); no void pixel does.

    Args:
        classes: (X, Y) classes 0..K-1; the values of void pixels do not matter.
        void: bool (X, Y).
    """
    width = boundary_width(classes.shape)
    classes = classes.astype(np.uint8 if num_classes <= 255 else np.uint16)
    square = np.ones((2 * width + 1,) * 2, np.uint8)
    # The lowest and the highest class around a pixel are equal only if there is no class but its own.
    lowest = cv2.erode(np.where(void, classes.dtype.type(num_classes), classes), square)
    highest = cv2.dilate(np.where(void, classes.dtype.type(0), classes), square)
    region = lowest != highest
    for frame in (region[:width], region[-width:], region[:, :width], region[:, -width:]):
        frame[:] = True
    return region & ~void
