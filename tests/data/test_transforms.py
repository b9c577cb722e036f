"""The augmentation compared with plain implementations of the recipe, and its laws."""

import cv2
import numpy as np
import pytest

from regproxy.config.recipe import Recipe
from regproxy.data.geometry import rescaled_size
from regproxy.data.order import augmentation_generator
from regproxy.data.transforms import (
    augment,
    distort_photometry,
    largest_class_share,
    pad,
    random_window,
    rescaled_window,
)

RECIPE = Recipe(steps=1, crop=(48, 64), scale=(512, 128))


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (100, 130, 3), dtype=np.uint8)
    label = cv2.resize(random.integers(0, 5, (10, 13), dtype=np.uint8), (130, 100), interpolation=0)
    return image, label


def views(pair: tuple, recipe: Recipe, count: int = 30) -> list[tuple[np.ndarray, np.ndarray]]:
    return [augment(*pair, recipe, augmentation_generator(0, step, 0)) for step in range(count)]


def test_views_repeat_to_the_byte_and_leave_the_input_alone(pair: tuple) -> None:
    before = [array.copy() for array in pair]
    for one, two in zip(views(pair, RECIPE), views(pair, RECIPE), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(before, pair, strict=True))


def test_views_fit_the_crop_and_labels_stay_labels(pair: tuple) -> None:
    for image, label in views(pair, RECIPE):
        assert image.shape[:2] == label.shape == (48, 64)
        assert image.dtype == label.dtype == np.uint8
        assert set(np.unique(label)) <= set(range(5))


def test_without_randomness_views_equal_the_input(pair: tuple) -> None:
    recipe = Recipe(
        steps=1,
        crop=(100, 130),
        scale=(512, 100),
        ratio_range=(1.0, 1.0),
        flip_probability=0.0,
        photometric=False,
    )
    for image, label in views(pair, recipe, count=3):
        assert np.array_equal(image, pair[0])
        assert np.array_equal(label, pair[1])


def test_image_and_label_move_together() -> None:
    """Encode the label in the colour and check that both still agree after resizing, cropping, flipping."""
    label = np.kron(np.arange(12, dtype=np.uint8).reshape(3, 4), np.ones((40, 40), np.uint8))
    image = np.repeat(label[..., None] * 20, 3, axis=2)
    recipe = Recipe(steps=1, crop=(64, 64), scale=(512, 120), photometric=False, max_class_share=1.0)
    for view, view_label in views((image, label), recipe):
        agree = np.abs(view[..., 0].astype(int) - view_label * 20) <= 1
        assert agree.mean() > 0.85  # bilinear interpolation blends the edges


def test_ratio_is_uniform_in_its_range(pair: tuple) -> None:
    recipe = Recipe(steps=1, crop=(999, 999), scale=(1000, 100), flip_probability=0.0, photometric=False)
    heights = [label.shape[0] for _, label in views(pair, recipe, count=400)]
    assert 50 <= min(heights) < 60
    assert 190 < max(heights) <= 200
    assert 118 < np.mean(heights) < 132


def test_crop_is_redrawn_while_one_class_fills_it() -> None:
    label = np.zeros((64, 640), np.uint8)
    label[:, 560:] = 1 + np.arange(64)[:, None] % 3
    recipe = Recipe(steps=1, crop=(64, 64), scale=(640, 64))
    shares = [
        largest_class_share(label[random_window(label, recipe, augmentation_generator(1, step, 0))])
        for step in range(300)
    ]
    mixed = np.mean(np.array(shares) < 0.75)
    once = np.mean(  # the share of start columns whose crop is mixed enough
        [largest_class_share(label[:, left : left + 64]) < 0.75 for left in range(577)]
    )
    assert mixed == pytest.approx(1 - (1 - once) ** 11, abs=0.08)


def test_a_share_of_one_takes_the_first_crop() -> None:
    label = np.zeros((64, 640), np.uint8)
    recipe = Recipe(steps=1, crop=(64, 64), scale=(640, 64), max_class_share=1.0)
    generator, again = augmentation_generator(1, 0, 0), augmentation_generator(1, 0, 0)
    top, left = (int(again.integers(rest + 1)) for rest in (0, 576))
    window = random_window(label, recipe, generator)
    assert window == (slice(top, top + 64), slice(left, left + 64))


@pytest.mark.parametrize("source", [(100, 130), (97, 256), (512, 683), (333, 1)])
def test_a_rescaled_window_equals_the_window_of_the_rescaled_image(source: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (*source, 3), dtype=np.uint8)
    for _ in range(60):
        height, width = rescaled_size(source, (2 * max(source), int(random.integers(1, 2 * min(source) + 2))))
        if min(height, width) < 1:
            continue
        top, left = random.integers(height), random.integers(width)
        window = (
            slice(top, int(random.integers(top, height)) + 1),
            slice(left, int(random.integers(left, width)) + 1),
        )
        whole = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(rescaled_window(image, (height, width), window), whole[window])


def test_largest_class_share_counts_valid_pixels_only() -> None:
    assert largest_class_share(np.array([[1, 1, 2, 255, 255, 255]], np.uint8)) == pytest.approx(2 / 3)
    assert largest_class_share(np.full((2, 2), 255, np.uint8)) == 1.0


def test_photometry_equals_the_plain_implementation(pair: tuple) -> None:
    """Compare with float arithmetic, clipping and truncation, as in the authors' pipeline."""
    for step in range(40):
        fast = distort_photometry(pair[0].copy(), augmentation_generator(7, step, 0))
        plain = plain_photometry(pair[0].copy(), augmentation_generator(7, step, 0))
        assert np.array_equal(fast, plain)


def plain_photometry(image: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    def convert(values: np.ndarray, alpha: float = 1.0, beta: float = 0.0) -> np.ndarray:
        return np.clip(values.astype(np.float32) * np.float32(alpha) + np.float32(beta), 0, 255).astype(
            np.uint8
        )

    if draw.integers(2):
        image = convert(image, beta=draw.uniform(-32, 32))
    mode = draw.integers(2)
    if mode == 1 and draw.integers(2):
        image = convert(image, alpha=draw.uniform(0.5, 1.5))
    if draw.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[:, :, 1] = convert(hsv[:, :, 1], alpha=draw.uniform(0.5, 1.5))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if draw.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + draw.integers(-18, 18)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if mode == 0 and draw.integers(2):
        image = convert(image, alpha=draw.uniform(0.5, 1.5))
    return image


def test_pad_fills_right_and_bottom() -> None:
    image, label = pad(np.full((2, 3, 3), 9, np.uint8), np.full((2, 3), 4, np.uint8), (4, 5))
    assert image.shape == (4, 5, 3)
    assert image[:2, :3].min() == 9
    assert image[2:].max() == image[:, 3:].max() == 0
    assert (label[:2, :3] == 4).all()
    assert (label[2:] == 255).all()
    assert (label[:, 3:] == 255).all()
