"""Draw docs/method.svg, the picture of the method in the README: `python docs/method.py`.

Lengths are in tokens inside the street scene and in SVG pixels elsewhere.
"""

from collections import Counter
from itertools import groupby
from math import hypot
from pathlib import Path

COLUMNS, ROWS, SUB_CELLS, TOKEN = 6, 4, 4, 24  # a token is 24 px wide and has 4 x 4 sub-cells
COLOURS = {
    "sky": "#8ec5ea",
    "building": "#8d8a99",
    "tree": "#4e9a51",
    "road": "#6d5a7d",
    "walk": "#e5b8c4",
    "car": "#d9534f",
}
INK, MUTED, BLUE, ORANGE = "#1f2933", "#52606d", "#2563a8", "#c05a12"
FONT = "font-family='Helvetica, Arial, sans-serif'"


def class_at(x: float, y: float) -> str:
    """Return the class of the scene at a point, x to the right in [0, 6], y down in [0, 4]."""
    if hypot((x - 3.4) / 0.85, (y - 2.65) / 0.42) < 1:
        return "car"
    if hypot(x - 4.75, y - 1.45) < 0.95 or (abs(x - 4.75) < 0.16 and 2 < y < 2.9):
        return "tree"
    if y > 3.0 - 0.04 * x:
        return "road"
    if y > 2.4:
        return "walk"
    return "building" if x < 2.35 and y > 0.75 + 0.12 * x else "sky"


def scene(left: float, top: float, cells: int) -> str:
    """Draw the scene with `cells` squares per token side, each in its most frequent class."""
    probes, size = max(2, 16 // cells), TOKEN / cells
    runs = []
    for row in range(ROWS * cells):
        names = []
        for column in range(COLUMNS * cells):
            offsets = [(i + 0.5) / probes for i in range(probes)]
            found = (class_at((column + dx) / cells, (row + dy) / cells) for dx in offsets for dy in offsets)
            names.append(Counter(found).most_common(1)[0][0])
        start = 0
        for name, group in groupby(names):
            end = start + len(list(group))
            x, y, width = left + start * size, top + row * size, (end - start) * size
            runs.append(rect(x, y, width, size, COLOURS[name], "shape-rendering='crispEdges'"))
            start = end
    return "".join(runs)


def rect(x: float, y: float, width: float, height: float, fill: str, more: str = "") -> str:
    return f"<rect x='{x:g}' y='{y:g}' width='{width:g}' height='{height:g}' fill='{fill}' {more}/>"


def text(x: float, y: float, words: str, size: int = 14, fill: str = INK, more: str = "") -> str:
    style = f"font-size='{size}' fill='{fill}' text-anchor='middle' {FONT} {more}"
    return f"<text x='{x:g}' y='{y:g}' {style}>{words}</text>"


def line(path: str, colour: str, width: float = 2, more: str = "") -> str:
    return f"<path d='{path}' fill='none' stroke='{colour}' stroke-width='{width:g}' {more}/>"


def arrow(path: str, colour: str = MUTED) -> str:
    return line(path, colour, 2, f"marker-end='url(#{colour[1:]})'")


def lattice(
    left: float, top: float, colour: str, columns: int = COLUMNS, rows: int = ROWS, side: float = TOKEN
) -> str:
    """Draw the lines of a token grid."""
    vertical = "".join(f"M{left + i * side:g} {top}v{rows * side:g}" for i in range(columns + 1))
    horizontal = "".join(f"M{left} {top + i * side:g}h{columns * side:g}" for i in range(rows + 1))
    return line(vertical + horizontal, colour, 1)


def box(x: float, y: float, title: str, detail: str, colour: str) -> str:
    frame = rect(x, y, 128, 58, "#ffffff", f"rx='8' stroke='{colour}' stroke-width='2'")
    return (
        frame
        + text(x + 64, y + 25, title, 15, INK, "font-weight='bold'")
        + text(x + 64, y + 44, detail, 12, MUTED)
    )


def affinity(left: float, top: float) -> str:
    """Draw a token's 3 x 3 neighbourhood with the nine weights of one sub-cell as lines of nine widths."""
    side, weights = 40, [0.02, 0.05, 0.03, 0.06, 0.36, 0.24, 0.03, 0.13, 0.08]
    sub = side / SUB_CELLS
    x, y = left + side + 2.5 * sub, top + side + 2.5 * sub
    parts = [rect(left, top, 3 * side, 3 * side, "#eaf2fb"), lattice(left, top, "#9fb8d3", 3, 3, side)]
    parts.append(lattice(left + side, top + side, "#9fb8d3", SUB_CELLS, SUB_CELLS, sub))
    parts.append(rect(left + side, top + side, side, side, "none", f"stroke='{BLUE}' stroke-width='2'"))
    for index, weight in enumerate(weights):
        centre = left + (index % 3 + 0.5) * side, top + (index // 3 + 0.5) * side
        parts.append(
            line(f"M{x:g} {y:g}L{centre[0]:g} {centre[1]:g}", BLUE, 1 + 12 * weight, "stroke-opacity='0.55'")
        )
        parts.append(f"<circle cx='{centre[0]:g}' cy='{centre[1]:g}' r='{2 + 9 * weight:g}' fill='{BLUE}'/>")
    parts.append(rect(x - sub / 2, y - sub / 2, sub, sub, ORANGE, "stroke='#ffffff'"))
    return "".join(parts)


def transformer(left: float, top: float) -> str:
    """Draw the blocks of the vision transformer, the tapped one and the last one in colour."""
    colours = ["#d5dce4", BLUE, "#d5dce4", "#d5dce4", "#d5dce4", ORANGE]
    frame = rect(left, top, 92, 222, "#ffffff", f"rx='10' stroke='{MUTED}' stroke-width='2'")
    bars = (rect(left + 12, top + 16 + 34 * i, 68, 22, c, "rx='4'") for i, c in enumerate(colours))
    return frame + "".join(bars)


def tokens(left: float, top: float, colour: str) -> str:
    """Draw a grid of tokens as shades of one colour."""
    shades = (
        rect(
            left + c * 15,
            top + r * 15,
            15,
            15,
            colour,
            f"fill-opacity='{0.2 + (7 * c + 5 * r) % 11 / 18:.2f}'",
        )
        for r in range(ROWS)
        for c in range(COLUMNS)
    )
    return "".join(shades) + lattice(left, top, "#ffffff", side=15)


def method() -> str:
    """Return the picture as SVG. Its light background keeps it readable on dark pages."""
    heads = "".join(
        f"<marker id='{colour[1:]}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='6' markerHeight='6' "
        "orient='auto'>"
        f"<path d='M0 0L8 4L0 8z' fill='{colour}'/></marker>"
        for colour in (MUTED, BLUE, ORANGE)
    )
    return "\n".join(
        [
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1100 366' width='1100' height='366'>",
            "<title>Early tokens give the affinity, late tokens the logits, painting joins them</title>",
            f"<defs>{heads}</defs>",
            rect(1, 1, 1098, 364, "#fbfcfd", "rx='14' stroke='#d5dce4'"),
            scene(24, 130, 24),
            lattice(24, 130, "#ffffff"),
            text(96, 250, "image, one token a patch", 13, MUTED),
            arrow("M172 178H208"),
            transformer(214, 67),
            text(260, 312, "vision transformer", 13, MUTED),
            arrow("M302 128C322 128 318 94 340 94", BLUE),
            arrow("M302 264C322 264 318 270 340 270", ORANGE),
            tokens(346, 64, BLUE),
            text(391, 145, "early tokens", 13, BLUE),
            tokens(346, 240, ORANGE),
            text(391, 321, "late tokens", 13, ORANGE),
            arrow("M440 94H466", BLUE),
            arrow("M440 270H466", ORANGE),
            box(472, 65, "affinity head", "softmax over 3 × 3", BLUE),
            box(472, 241, "class head", "one linear layer", ORANGE),
            arrow("M602 94H630", BLUE),
            arrow("M602 270H630", ORANGE),
            affinity(648, 34),
            text(708, 172, "affinity: which pixels", 13, BLUE),
            text(708, 188, "belong to which token", 13, BLUE),
            scene(636, 222, 1),
            lattice(636, 222, "#ffffff"),
            text(708, 338, "token logits: what each token is", 13, ORANGE),
            arrow("M772 94C806 94 806 160 832 166", BLUE),
            arrow("M788 270C812 270 806 196 832 190", ORANGE),
            f"<circle cx='854' cy='178' r='26' fill='#ffffff' stroke='{INK}' stroke-width='2'/>",
            text(854, 184, "Σ", 20),
            text(854, 228, "painting", 14, INK, "font-weight='bold'"),
            text(854, 245, "weighted sum", 12, MUTED),
            text(854, 260, "of 9 neighbours", 12, MUTED),
            arrow("M882 178H916"),
            scene(924, 130, SUB_CELLS),
            text(996, 250, "segmentation", 13, MUTED),
            text(996, 267, "at the stride of a sub-cell", 12, MUTED),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(method())
