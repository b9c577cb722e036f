"""The report before it is rendered: sections of sentences and tables, and the format of numbers and labels.

The modules for Markdown, LaTeX, HTML and the terminal render these values and add no content.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from regproxy.config.profile import Profile

NO_VALUE = "–"


@dataclass(frozen=True)
class Column:
    """A column of a table: its header, one text per line, and which are bold; without `bold`, none is."""

    header: str
    texts: Sequence[str]
    bold: Sequence[bool] = ()


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
    def lines(self) -> list[tuple[tuple[str, bool], ...]]:
        """Each line as pairs of a text and whether it is bold."""
        pairs = (zip_longest(column.texts, column.bold, fillvalue=False) for column in self.columns)
        return list(zip(*pairs, strict=True))

    def grid(self, escape: Callable[[str], str], bold: str) -> list[list[str]]:
        """Return the headers, then the lines, all escaped; `bold` formats bold texts, such as "**{}**"."""
        lines = [
            [bold.format(escape(text)) if is_bold else escape(text) for text, is_bold in line]
            for line in self.lines
        ]
        return [list(map(escape, self.headers)), *lines]


@dataclass(frozen=True)
class Picture:
    """A PNG file of the report, with its path relative to the report's folder, and what one sees in it."""

    path: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the report: sentences, bullet points, a table, pictures; rendered in this order.

    `name` is an identifier for links.
    """

    name: str
    title: str
    sentences: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    table: TextTable | None = None
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Document:
    """The whole report of the profile `name`; `runs` is the table of what was run, one line per data set."""

    name: str
    title: str
    sentences: tuple[str, ...]
    runs: TextTable
    sections: tuple[Section, ...]


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
