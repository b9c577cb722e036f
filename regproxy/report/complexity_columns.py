"""The complexity columns of a table: parameters, GFLOPs and GMACs, beside what the paper prints.

The paper's figures follow from totals that are rounded to two decimals and then, half up, to one: a total
is printed as it is, an increment (a leading +) is the difference of two such figures. Decimal arithmetic
keeps the halves that binary numbers miss.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from regproxy.config.profile import Row, Table
from regproxy.report.aggregate import Complexity
from regproxy.report.layout import NOTHING, Column, joined, words

Quantity = Literal["params", "gflops", "gmacs"]
HEADS: dict[Quantity, str] = {"params": "params (M)", "gflops": "GFLOPs", "gmacs": "GMACs"}


@dataclass(frozen=True)
class Figure:
    """One row's quantity: ours to two decimals, and what the paper's rounding makes of it.

    `printed` is the paper's own text, `as_printed` ours in the same form; None where there is none.
    """

    total: Decimal | None
    printed: str | None
    as_printed: str | None

    @property
    def follows(self) -> bool:
        """Whether the printed text is what our totals give; true where one of the two is missing."""
        return None in (self.printed, self.as_printed) or self.printed == self.as_printed


def complexity_columns(table: Table, complexity: Complexity) -> tuple[list[Column], list[str]]:
    """Returns the complexity columns of a table and the notes under it.

    Args:
        table: its rows say which variants, and what the paper prints in 10^6 parameters and 10^9 operations.
        complexity: by name of variant: `params`, `gflops_paper` (10^9), `gmacs` (10^9).
    """
    columns, doubts = [], []
    for quantity, head in HEADS.items():
        figures = read_figures(table, quantity, complexity)
        columns.append(words(head, [_ours(figure) for figure in figures]))
        if any(figure.printed for figure in figures):
            columns.append(words("printed", [_printed(figure) for figure in figures]))
        doubts += [
            (place, f"{joined(row.label)}, {head.removesuffix(' (M)')}: {figure.as_printed}")
            for place, (row, figure) in enumerate(zip(table.rows, figures, strict=True))
            if not figure.follows
        ]
    if not doubts:
        return columns, []
    listed = "; ".join(text for _, text in sorted(doubts, key=lambda doubt: doubt[0]))
    return columns, [f"† does not follow from the totals (ours: {listed})"]


def read_figures(table: Table, quantity: Quantity, complexity: Complexity) -> list[Figure]:
    """Returns one quantity of every row; an increment counts from the last row that prints a total."""
    figures, base = [], None
    for row in table.rows:
        total = _total(row, quantity, complexity)
        printed = None if quantity == "gmacs" else getattr(row, quantity)
        as_printed = None
        if printed is not None and printed.startswith("+"):
            if total is not None and base is not None:
                as_printed = f"{_tenths(total) - _tenths(base):+}"
        elif printed is not None:
            base = total
            as_printed = None if total is None else str(_tenths(total))
        figures.append(Figure(total, printed, as_printed))
    return figures


def _total(row: Row, quantity: Quantity, complexity: Complexity) -> Decimal | None:
    counts = complexity.get(row.variant) if row.variant else None
    if counts is None:
        return None
    # By way of str: the decimal number as it stands in the record, not the binary one next to it.
    counted = counts["gflops_paper" if quantity == "gflops" else quantity]
    exact = Decimal(str(counted)) / (10**6 if quantity == "params" else 1)
    return exact.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _tenths(total: Decimal) -> Decimal:
    return total.quantize(Decimal("0.1"), ROUND_HALF_UP)


def _ours(figure: Figure) -> str:
    if figure.total is None:
        return NOTHING
    increment = figure.printed and figure.printed.startswith("+") and figure.as_printed
    return f"{figure.total} ({increment.replace('-', '−')})" if increment else str(figure.total)


def _printed(figure: Figure) -> str:
    return (figure.printed or NOTHING) + ("" if figure.follows else "†")
