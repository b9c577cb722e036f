"""The bootstrap against plain loops, and on variants whose difference is known."""

import numpy as np
import pytest

from regproxy.eval import bootstrap
from regproxy.eval.bootstrap import NUM_RESAMPLES, difference_interval, resampled_mious

Counts = tuple[np.ndarray, np.ndarray]


def split(seed: int, ious: float | np.ndarray, *, num_images: int = 40, num_classes: int = 3) -> Counts:
    """Return intersection and union (N, K) of a split whose images have about these IoUs."""
    random = np.random.default_rng(seed)
    union = random.integers(100, 1000, (num_images, num_classes))
    noise = random.normal(0, 0.05, union.shape)
    return np.rint(union * np.clip(ious + noise, 0, 1)).astype(np.int64), union


def resampled(*splits: Counts) -> dict[int, np.ndarray]:
    return {seed: resampled_mious(*counts) for seed, counts in enumerate(splits)}


def variant(first: int, ious: float) -> dict[int, np.ndarray]:
    """Return the resamples of three seeds; `first` is the first of their random seeds."""
    return resampled(*(split(first + seed, ious) for seed in range(3)))


def test_resamples_equal_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in parts, and with a class that only some resamples contain."""
    intersection, union = split(0, 0.5, num_images=5)
    intersection[1:, 2] = union[1:, 2] = 0
    random = np.random.default_rng(bootstrap._IMAGES_SEED)
    drawn = random.integers(5, size=(NUM_RESAMPLES, 5))
    expected = []
    for images in drawn:
        ious = []
        for k in range(3):
            whole = sum(union[image, k] for image in images)
            if whole:
                ious.append(sum(intersection[image, k] for image in images) / whole)
        expected.append(sum(ious) / len(ious))
    np.testing.assert_allclose(resampled_mious(intersection, union), expected, rtol=1e-12)
    monkeypatch.setattr(bootstrap, "_WEIGHTS_AT_ONCE", 5 * 7)
    np.testing.assert_allclose(resampled_mious(intersection, union), expected, rtol=1e-12)


def test_the_interval_equals_plain_loops() -> None:
    first, second = (
        resampled(*[split(s, 0.5) for s in (1, 2, 3)]),
        resampled(*[split(s, 0.4) for s in (4, 5, 6)]),
    )
    drawn = np.random.default_rng(bootstrap._SEEDS_SEED).integers(3, size=(NUM_RESAMPLES, 3))
    differences = [
        sorted(first[s][index] for s in seeds)[1] - sorted(second[s][index] for s in seeds)[1]
        for index, seeds in enumerate(drawn)
    ]
    expected = np.percentile(differences, (2.5, 97.5))
    assert difference_interval(first, second) == pytest.approx(tuple(expected))


def test_equal_variants_have_no_difference() -> None:
    same = variant(0, 0.5)
    assert difference_interval(same, dict(same)) == (0.0, 0.0)


def test_a_clear_difference_is_found_and_swapping_mirrors_it() -> None:
    good, bad = (
        resampled(*[split(s, 0.6) for s in range(3)]),
        resampled(*[split(s + 9, 0.5) for s in range(3)]),
    )
    low, high = difference_interval(good, bad)
    assert 0.05 < low < 0.1 < high < 0.15
    assert difference_interval(bad, good) == pytest.approx((-high, -low))
    assert difference_interval(good, bad) == (low, high)  # the same draws in every call


def test_images_are_drawn_in_pairs() -> None:
    """The images differ by far more than the variants, whose difference is the same on every image."""
    union = np.full((30, 2), 1000)
    intersection = np.linspace(100, 900, 60).astype(np.int64).reshape(30, 2)
    one, other = resampled((intersection, union)), resampled((intersection + 5, union))
    assert difference_interval(other, one) == pytest.approx((0.005, 0.005))
    assert np.ptp(one[0]) > 0.1


def test_seeds_are_drawn_in_pairs_if_both_variants_have_the_same() -> None:
    """The seeds differ by far more than the variants; with other seeds, nothing can be concluded."""
    first = {seed: np.full(NUM_RESAMPLES, 0.4 + seed / 100) for seed in range(3)}
    second = {seed: values - 0.001 for seed, values in first.items()}
    assert difference_interval(first, second) == pytest.approx((0.001, 0.001))
    low, high = difference_interval(first, {seed + 1: values for seed, values in second.items()})
    assert low < -0.01 and high > 0.01
    fewer = {seed: second[seed] for seed in (0, 1)}
    low, high = difference_interval(first, fewer)
    assert low < 0 < high


def test_resamples_without_valid_pixels_do_not_count() -> None:
    intersection, union = np.array([[3, 0], [0, 0]]), np.array([[4, 0], [0, 0]])
    mious = resampled_mious(intersection, union)
    assert np.isnan(mious).any() and set(mious[~np.isnan(mious)]) == {0.75}
    assert difference_interval({0: mious}, {0: mious - 0.25}) == pytest.approx((0.25, 0.25))


def test_the_interval_covers_zero_in_about_95_percent_of_null_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants that are better on different images, equally good on average. A binomial with 300 cases and
    95 % has a standard deviation of 1.3 %; a percentile interval of 60 images covers slightly less."""
    monkeypatch.setattr(bootstrap, "NUM_RESAMPLES", 400)
    random, covered = np.random.default_rng(11), 0
    union = np.full((60, 3), 1000)
    for _ in range(300):
        pair = (random.normal(500, 60, union.shape).astype(np.int64) for _ in range(2))
        low, high = difference_interval(*(resampled((one, union)) for one in pair))
        covered += low <= 0 <= high
    assert 0.90 <= covered / 300 <= 0.985


def test_seeds_alone_seem_to_differ_in_one_of_four_null_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says so for three seeds. The standard deviation of 400 cases is 2.2 %."""
    monkeypatch.setattr(bootstrap, "NUM_RESAMPLES", 400)
    random, excluded = np.random.default_rng(12), 0
    for _ in range(400):
        pair = ({seed: np.full(400, random.normal()) for seed in range(3)} for _ in range(2))
        low, high = difference_interval(*pair)
        excluded += low > 0 or high < 0
    assert 0.18 <= excluded / 400 <= 0.32
