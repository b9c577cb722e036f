"""The report before it is rendered: sections of sentences and grids; and how numbers and labels read.

markdown.py, latex.py, page.py and the terminal render these values; nothing of what is said is decided there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from regproxy.config.profile import Profile

NOTHING = "–"


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a grid."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a grid: its head, and an entry a line."""

    head: str
    entries: Sequence[Entry]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Columns of equal length, of which the first `labels` hold words and the others numbers.

    `breaks` are the lines before which a rule may stand; `notes` are sentences under the grid.
    """

    columns: tuple[Column, ...]
    labels: int = 1
    breaks: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def header(self) -> list[str]:
        return [column.head for column in self.columns]

    @property
    def lines(self) -> list[tuple[Entry, ...]]:
        return list(zip(*(column.entries for column in self.columns), strict=True))


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report, in this order: sentences, points of a list, a grid, pictures (relative paths)."""

    name: str
    title: str
    sentences: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    grid: Grid | None = None
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Document:
    """The whole report: `runs` is the grid of what was run, a line a data set."""

    name: str
    title: str
    sentences: tuple[str, ...]
    runs: Grid
    sections: tuple[Section, ...]


def words(head: str, texts: Sequence[str]) -> Column:
    """Returns a column of plain entries."""
    return Column(head, [Entry(text) for text in texts])


def signed(difference: float) -> str:
    """Returns a difference with its sign and two decimals; zero counts as positive."""
    # 0.0 takes the sign off a zero; U+2212 is as wide as the plus sign.
    return f"{round(difference, 2) + 0.0:+.2f}".replace("-", "−")


def joined(label: Sequence[str]) -> str:
    """Returns a row's labels as one name, without those that only fill their column."""
    return " ".join(part for part in label if part not in ("", "-", NOTHING))


def row_label(profile: Profile, variant: str) -> str:
    """Returns what the first table row of a variant calls it, or else its name."""
    rows = (row for table in profile.tables for row in table.rows)
    return next((joined(row.label) for row in rows if row.variant == variant), variant)
