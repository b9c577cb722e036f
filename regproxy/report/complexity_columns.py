"""The complexity columns of a table: our parameters, GFLOPs and GMACs beside the paper's values.

The paper rounds each total to two decimals and then, half up, to one. It prints this value, or an increment
(with a leading +): the difference of two such values. Decimal arithmetic is needed because binary numbers do
not represent the halves exactly.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from regproxy.config.profile import Row, Table
from regproxy.report.aggregate import Complexity
from regproxy.report.layout import NO_VALUE, Column, label_text

_HEADERS = {"params": "params (M)", "gflops": "GFLOPs", "gmacs": "GMACs"}


@dataclass(frozen=True)
class Cost:
    """One quantity of one row; a field is None if its value is not known.

    `total` is ours, to two decimals. `printed` is the paper's text. `as_printed` is our value in the form of
    that text, rounded as the paper does.
    """

    total: Decimal | None
    printed: str | None
    as_printed: str | None

    @property
    def agrees(self) -> bool:
        """Whether the paper's text equals ours; True if one of them is not known."""
        return None in (self.printed, self.as_printed) or self.printed == self.as_printed


def complexity_columns(table: Table, complexity: Complexity) -> tuple[list[Column], list[str]]:
    """Return the complexity columns of a table, and the notes to print under it.

    Args:
        table: its rows have the variants, and the paper's texts in 10^6 parameters and 10^9 operations.
        complexity: by name of variant: `params`, `gflops_paper` (10^9), `gmacs` (10^9).
    """
    columns = []
    costs = {quantity: row_costs(table, quantity, complexity) for quantity in _HEADERS}
    for quantity, header in _HEADERS.items():
        columns.append(Column(header, [_our_text(cost) for cost in costs[quantity]]))
        if any(cost.printed for cost in costs[quantity]):
            printed = [(cost.printed or NO_VALUE) + "†" * (not cost.agrees) for cost in costs[quantity]]
            columns.append(Column("printed", printed))
    mismatches = [
        f"{label_text(row.label)}, {header.removesuffix(' (M)')}: {cost.as_printed}"
        for row, *row_of_costs in zip(table.rows, *costs.values(), strict=True)
        for header, cost in zip(_HEADERS.values(), row_of_costs, strict=True)
        if not cost.agrees
    ]
    note = f"† The printed value does not follow from our totals, which give: {'; '.join(mismatches)}."
    return columns, [note] if mismatches else []


def row_costs(table: Table, quantity: str, complexity: Complexity) -> list[Cost]:
    """Return params, gflops or gmacs of all rows; increments are relative to the last row with a total."""
    costs, base = [], None
    for row in table.rows:
        total = _total(row, quantity, complexity)
        rounded = None if total is None else total.quantize(Decimal("0.1"), ROUND_HALF_UP)
        printed = getattr(row, quantity, None)  # the paper prints no GMACs
        increment = bool(printed) and printed.startswith("+")
        if printed and not increment:
            base = rounded
        as_printed = None
        if printed and None not in (rounded, base):
            as_printed = f"{rounded - base:+}" if increment else str(rounded)
        costs.append(Cost(total, printed, as_printed))
    return costs


def _total(row: Row, quantity: str, complexity: Complexity) -> Decimal | None:
    counts = complexity.get(row.variant)
    if counts is None:
        return None
    # str() gives the decimal number of the record; Decimal(float) would give the nearest binary number.
    count = Decimal(str(counts["gflops_paper" if quantity == "gflops" else quantity]))
    return (count / (10**6 if quantity == "params" else 1)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _our_text(cost: Cost) -> str:
    if cost.total is None:
        return NO_VALUE
    increment = cost.printed and cost.printed.startswith("+") and cost.as_printed
    return f"{cost.total} ({increment.replace('-', '−')})" if increment else str(cost.total)
