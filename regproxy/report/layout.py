"""The report before it is rendered: sections of sentences and tables, and the format of numbers and labels.

The modules for Markdown, LaTeX, HTML and the terminal render these values and add no content.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from regproxy.config.dataset import DataConfig
from regproxy.config.formats import FORMATS
from regproxy.config.profile import Profile

NO_VALUE = "–"


@dataclass(frozen=True)
class Column:
    """A column of a table: its header, one text per line, and which are bold; without `bold`, none is.

    `details` say more about a text, such as the score of each seed; only the HTML page shows them.
    """

    header: str
    texts: Sequence[str]
    bold: Sequence[bool] = ()
    details: Sequence[str] = ()


@dataclass(frozen=True)
class Cell:
    """A text of a table, whether it is bold, and its detail."""

    text: str
    bold: bool = False
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table of texts: columns of equal length; the first `labels` columns hold words, the others numbers.

    A renderer may draw a rule above the lines in `breaks` (0-based). `notes` are sentences under the table.
    """

    columns: tuple[Column, ...]
    labels: int = 1
    breaks: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def headers(self) -> list[str]:
        return [column.header for column in self.columns]

    @property
    def lines(self) -> list[tuple[Cell, ...]]:
        """The cells of each line."""
        columns = (
            [
                Cell(text, bool(bold), detail or "")
                for text, bold, detail in zip_longest(c.texts, c.bold, c.details)
            ]
            for c in self.columns
        )
        return list(zip(*columns, strict=True))

    def grid(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        """Return the headers, then the lines, all escaped; `bold` formats bold texts, such as "**{}**"."""
        lines = [
            [bold.format(escape(cell.text)) if cell.bold else escape(cell.text) for cell in line]
            for line in self.lines
        ]
        return [list(map(escape, self.headers)), *lines]


@dataclass(frozen=True)
class Picture:
    """A PNG file of the report, with its path relative to the report's folder, and what one sees in it."""

    path: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class ExplorerNetwork:
    """What the region explorer shows of one network on one image, on an H x W token grid.

    Attributes:
        label: the network's label in the tables.
        region: (h, w) sub-cells of a token.
        affinity: base64 of a zlib stream of H W h w 9 bytes; a byte is 255 times an affinity.
        token_class: index of each token's best class, row by row, H W numbers.
        token_entropy: entropy of each token's class probabilities in nats, H W numbers.
    """

    label: str
    region: tuple[int, int]
    affinity: str
    token_class: tuple[int, ...]
    token_entropy: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ExplorerImage:
    """An image of the region explorer, with every network that it shows.

    Attributes:
        title: data set and number of the image.
        picture: the image as a data URI, `height` x `width` pixels.
        patch: side of a token in pixels; rows, columns: the token grid, H x W.
        classes, colours: names and CSS colours, by index of the class.
        selected: label of the network that is shown first.
    """

    title: str
    picture: str
    height: int
    width: int
    patch: int
    rows: int
    columns: int
    classes: tuple[str, ...]
    colours: tuple[str, ...]
    networks: tuple[ExplorerNetwork, ...]
    selected: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the report: sentences, points, commands, a table, pictures; rendered in this order.

    `name` is an identifier for links, `link` a short title for them. Pictures that are `pairwise` may lie in
    two columns. `explorer` has the images of the region explorer, which only the HTML page shows.
    """

    name: str
    title: str
    short_title: str = ""
    sentences: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    table: TextTable | None = None
    pictures: tuple[Picture, ...] = ()
    pairwise: bool = True
    explorer: tuple[ExplorerImage, ...] = ()

    @property
    def link(self) -> str:
        """The text of links to the section."""
        return self.short_title or self.title


@dataclass(frozen=True, kw_only=True)
class Document:
    """The whole report of the profile `name`; `runs` is the table of what was run, one line per data set."""

    name: str
    title: str
    sentences: tuple[str, ...]
    runs: TextTable
    sections: tuple[Section, ...]


def data_title(profile: Profile, data: DataConfig) -> str:
    """Return the name of a data set for readers: the published name if the format has one."""
    name = FORMATS[data.format].title or data.name
    others = [other for other in profile.datasets if other.format == data.format]
    name = name if len(others) == 1 else data.name
    return f"{name} layout" if profile.demo and name != data.name else name


def signed(difference: float) -> str:
    """Return a difference with its sign and two decimals; the sign of zero is +."""
    # Adding 0.0 turns -0.0 into 0.0. U+2212 is as wide as the plus sign.
    return f"{round(difference, 2) + 0.0:+.2f}".replace("-", "−")


def label_text(label: Sequence[str]) -> str:
    """Return the labels of a row as one text, without empty labels and dashes."""
    return " ".join(part for part in label if part not in ("", "-", NO_VALUE))


def row_label(profile: Profile, variant: str) -> str:
    """Return the labels of the first table row that shows a variant, or the variant's name if no row does."""
    rows = (row for table in profile.tables for row in table.rows)
    return next((label_text(row.label) for row in rows if row.variant == variant), variant)
