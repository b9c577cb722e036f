"""Draw predicted classes over an image, with a legend of those that occur. Only Pillow draws here.

The size of the picture depends on the image's size and all class names alone. So the pictures of a video's
frames can be joined to a video; their sides are even, which most encoders need.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_LETTER_PX = 13  # of a small image's legend
_IMAGE_PER_LETTER = 45  # height of an image, in letters
_LINE = 1.6  # height of a line of the legend, in letters
_MAX_LINES = 20  # for which the picture becomes higher than a small image
_MAX_NAME = 28  # letters
_PAPER, _INK, _EDGE = (255, 255, 255), (30, 30, 30), (120, 120, 120)


def with_legend(
    picture: Image.Image, labels: np.ndarray, classes: Sequence[str], palette: np.ndarray
) -> Image.Image:
    """Return a picture with a legend beside it: colour, name and share of the classes, the largest first.

    If there are too many classes for the height, the last line counts those that are not listed.

    Args:
        picture: of the size of the labels.
        labels: (X, Y), class ids.
        classes: the K names.
        palette: uint8 (K, 3) RGB.
    """
    letter = max(_LETTER_PX, picture.height // _IMAGE_PER_LETTER)
    font, line = ImageFont.load_default(letter), round(letter * _LINE)
    names = [_shortened(name) for name in classes]
    longest = max(round(font.getlength(f"{name}  00.0 %")) for name in (*names, "000 further classes"))
    lines = min(len(classes), _MAX_LINES)
    width = _even(picture.width + longest + 4 * letter)
    height = _even(max(picture.height, lines * line + letter))
    page = Image.new("RGB", (width, height), _PAPER)
    page.paste(picture)
    draw = ImageDraw.Draw(page)
    left, right = picture.width + letter, width - letter
    rows = _rows(labels, names, max((height - letter) // line, 1))
    for row, (text, share, number) in enumerate(rows):
        top = letter // 2 + row * line
        middle = top + line // 2
        if number is not None:
            box = (left, middle - letter // 2, left + letter, middle + letter // 2)
            draw.rectangle(box, fill=tuple(map(int, palette[number])), outline=_EDGE)
        draw.text((left + round(1.6 * letter), middle), text, fill=_INK, font=font, anchor="lm")
        draw.text((right, middle), share, fill=_INK, font=font, anchor="rm")
    return page


def _rows(labels: np.ndarray, names: Sequence[str], most: int) -> list[tuple[str, str, int | None]]:
    """Return name, share and id of the classes that occur; the last of `most` rows counts the rest."""
    counts = np.bincount(labels.ravel(), minlength=len(names))
    order = [int(number) for number in np.argsort(-counts, kind="stable") if counts[number]]
    rows = [(names[number], _percent(counts[number] / labels.size), number) for number in order]
    if len(rows) <= most:
        return rows
    hidden = order[most - 1 :]
    share = _percent(counts[hidden].sum() / labels.size)
    return [*rows[: most - 1], (f"{len(hidden)} further classes", share, None)]


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def _shortened(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…"


def _even(side: int) -> int:
    return side + side % 2
