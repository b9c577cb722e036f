"""Sizes of rescaled images: the one rule that training and evaluation share."""


def rescaled_size(size: tuple[int, int], scale: tuple[int, int]) -> tuple[int, int]:
    """Returns (H, W) after rescaling `size` into `scale`, keeping the aspect ratio; 1 or more each.

    Args:
        size: (H, W) of the image.
        scale: (long, short): neither may be exceeded by the image's longer and shorter side.
    """
    factor = min(max(scale) / max(size), min(scale) / min(size))
    height, width = (max(int(side * factor + 0.5), 1) for side in size)
    return height, width
