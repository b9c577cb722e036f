"""The complexity columns: the paper's costs beside ours, and its values that do not follow from totals."""

import json
import re
from pathlib import Path

import pytest
from report_records import COSTS

from regproxy.config.profile import Row, Table
from regproxy.errors import DataError
from regproxy.report.aggregate import read_complexity
from regproxy.report.complexity_columns import complexity_columns, row_costs

# A line: our GFLOPs (counted as in the paper) and parameters, then the texts in the paper's Tables 1 and 2.
TABLE_1 = """
Ti linear    3.8179  5712342  3.8  5.7
Ti 1x1       3.8604  5753439  3.9  5.8
Ti 2x2       3.8658  5758650 +0.0 +0.0
Ti 4x4       3.8871  5779494 +0.0 +0.0
Ti 8x8       3.9725  5862870 +0.1 +0.1
Ti 16x16     4.3140  6196374 +0.4 +0.4
S linear    14.8907 22041366 14.9 22.0
S 1x1       15.0512 22197279 15.1 22.2
S 2x2       15.0618 22207674 +0.0 +0.0
S 4x4       15.1044 22249254 +0.1 +0.1
S 8x8       15.2747 22415574 +0.2 +0.2
S 16x16     15.9559 23080854 +0.8 +0.9
R26 1x1     16.2372 36340063 16.2 36.3
R26 2x2     16.2398 36350458 +0.0 +0.0
R26 4x4     16.2505 36392038 +0.1 +0.1
R26 8x8     16.2931 36558358 +0.2 +0.2
R26 16x16   16.4634 37223638 +0.3 +0.9
"""
TABLE_2 = """
Ti none      3.8464  5740100  3.9  5.7
Ti normal    4.1867  6072300 +0.3 +0.4
Ti depthwise 3.8871  5779494 +0.0 +0.1
S none      14.9475 22096800 15.0 22.1
S normal    16.3076 23424700 +1.3 +1.3
S depthwise 15.1044 22249254 +0.1 +0.2
"""


def printed_table(text: str) -> tuple[Table, dict[str, dict[str, float]]]:
    parts = [line.split() for line in text.strip().splitlines()]
    costs = {
        f"{arch}-{what}": {"params": int(params), "gflops_paper": float(gflops), "gmacs": 1.0}
        for arch, what, gflops, params, *_ in parts
    }
    lines = tuple(
        Row(label=(arch, what), variant=f"{arch}-{what}", gflops=gflops, params=params)
        for arch, what, _, _, gflops, params in parts
    )
    return Table(name="t", title="t", columns=("arch.", "what"), complexity=True, rows=lines), costs


def test_the_papers_complexity_follows_from_the_totals_except_for_five_values() -> None:
    mismatches = {}
    for text in (TABLE_1, TABLE_2):
        table, costs = printed_table(text)
        for quantity in ("gflops", "params"):
            found = row_costs(table, quantity, costs)
            assert None not in [cost.as_printed for cost in found]
            mismatches |= {
                (*row.label, quantity): cost.as_printed
                for row, cost in zip(table.rows, found, strict=True)
                if not cost.agrees
            }
    assert mismatches == {
        ("S", "4x4", "gflops"): "+0.0",
        ("S", "16x16", "gflops"): "+0.9",
        ("R26", "2x2", "params"): "+0.1",
        ("R26", "8x8", "gflops"): "+0.1",
        ("R26", "8x8", "params"): "+0.3",
    }


def test_complexity_columns_mark_values_that_do_not_follow() -> None:
    table, costs = printed_table(TABLE_1)
    columns, notes = complexity_columns(table, costs)
    assert [column.header for column in columns] == ["params (M)", "printed", "GFLOPs", "printed", "GMACs"]
    lines = list(zip(*(column.texts for column in columns), strict=True))
    assert lines[0] == ("5.71", "5.7", "3.82", "3.8", "1.00")
    assert lines[11] == ("23.08 (+0.9)", "+0.9", "15.96 (+0.9)", "+0.8†", "1.00")
    (note,) = notes
    assert note.startswith(
        "† The printed value does not follow from our totals, which give: S 4x4, GFLOPs: +0.0; "
    )
    assert len(re.findall(r": \+0\.\d", note)) == 5

    columns, notes = complexity_columns(
        table, {"Ti-2x2": costs["Ti-2x2"]}
    )  # the base of the increment is missing
    assert columns[0].texts[:3] == ["–", "–", "5.76"]
    assert columns[1].texts[:3] == ["5.7", "5.8", "+0.0"]
    assert notes == []


def test_halves_round_up() -> None:
    table = Table(
        name="t",
        title="t",
        rows=tuple(Row(label=(variant,), variant=variant, params="1.0") for variant in ("a", "b")),
    )
    costs = {"a": {"params": 1_145_000}, "b": {"params": 14_945_000}}  # 1.15 and 14.95 after two decimals
    assert [cost.as_printed for cost in row_costs(table, "params", costs)] == ["1.2", "15.0"]


def test_complexity_file(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    assert read_complexity(path) == {}
    path.write_text(json.dumps({"format": 1, "variants": COSTS}))
    assert read_complexity(path) == COSTS
    for variants in (
        {"linear": {"params": 3}},
        {"linear": None},
        [],
        {"a": COSTS["linear"] | {"gmacs": "1"}},
    ):
        path.write_text(json.dumps({"format": 1, "variants": variants}))
        with pytest.raises(DataError, match=r"p\.json is damaged: .*\. Delete it and run"):
            read_complexity(path)
