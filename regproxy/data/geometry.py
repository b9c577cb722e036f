"""Sizes of rescaled images; training and evaluation use the same rule."""


def rescaled_size(size: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (H, W) within `scale` that keeps the aspect ratio of `size`; each is at least 1.

    Args:
        size: (H, W) of the image in pixels.
        scale: (long, short), the largest allowed longer and shorter side in pixels.
    """
    factor = min(max(scale) / max(size), min(scale) / min(size))
    height, width = (max(int(side * factor + 0.5), 1) for side in size)
    return height, width
