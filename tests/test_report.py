"""The report: medians only where all seeds are there, the paper's figures beside ours, sane pictures."""

import base64
import csv
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from pipelines import report as stage
from regproxy.config import IGNORE_LABEL
from regproxy.profile import Profile, Row, Table, Trend
from regproxy.profile_file import load_profile
from regproxy.report import drawing, figures
from regproxy.report.aggregate import Score, collect, read_complexity
from regproxy.report.complexity_columns import complexity_columns, read_figures
from regproxy.report.csv_file import CSV_COLUMNS, csv_text
from regproxy.report.document import compose, write_report
from regproxy.report.findings import region_entropy, trends
from regproxy.report.latex import escape, latex
from regproxy.report.layout import Grid, row_label
from regproxy.report.markdown import markdown
from regproxy.report.page import page
from regproxy.report.tables import best_two, table_grid
from regproxy.report.what_was_run import deviations, runs_grid

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = (
    Row(label=("ViT", "-"), cell="linear", published={"ade20k": 38.76}),
    Row(label=("RegProxy", "4×4"), cell="region-4x4", published={"ade20k": 40.0, "cityscapes": 75.08}),
)
COSTS = {
    "linear": {"params": 5_712_342, "gflops_paper": 3.8179, "gmacs": 10.4629},
    "region-4x4": {"params": 5_779_494, "gflops_paper": 3.8871, "gmacs": 10.5528},
}


@pytest.fixture
def profile() -> Profile:
    """The smoke profile with three seeds and published values."""
    table = Table(name="t1", title="Output strides", columns=("arch.", "h×w"), complexity=True, rows=ROWS)
    return dataclasses.replace(load_profile("smoke"), name="p", seeds=(0, 1, 2), tables=(table,))


def write(root: Path, place: str, miou: float, *, run: dict | None = None, **changes: object) -> Path:
    """Writes a result and its run record for `<data set>/<cell>/<seed>`; returns the result's file."""
    dataset, cell, seed = place.split("/")
    result = {
        "format": 1,
        "run_identity": "run",
        "dataset": dataset,
        "cell": cell,
        "seed": int(seed),
        "miou": miou,
        "num_images": 4,
        **changes,
    }
    record = {
        "format": 1,
        "identity": "run",
        "cell": {"recipe": {"batch_size": 4}},
        "steps": 8,
        "workers": 1,
        "data_manifest": "d" * 64,
        "git_commit": f"{COMMIT}-dirty",
        **(run or {}),
    }
    result_file, run_dir = root / f"results/p/{place}.json", root / "runs/p" / place
    for path, content in ((result_file, result), (run_dir / "run.json", record)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    lines = [{"step": s, "loss": 2.0 / s, "learning_rate": 1e-3} for s in (2, 4, 6)]
    lines.append({"step": 8, "loss": 0.2, "val_miou": miou})
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return result_file


def gather(profile: Profile, root: Path) -> dict[tuple[str, str], Score]:
    return collect(profile, results_dir=root / "results", runs_dir=root / "runs")


def write_seeds(root: Path, dataset: str, cell: str, mious: tuple[float, ...], **changes: object) -> None:
    for seed, miou in enumerate(mious):
        write(root, f"{dataset}/{cell}/{seed}", miou, **changes)


def texts(grid: Grid) -> list[list[str]]:
    return [[entry.text for entry in line] for line in grid.lines]


def bold(grid: Grid, head: str) -> list[bool]:
    return [entry.bold for column in grid.columns if column.head == head for entry in column.entries]


def rows(profile: Profile, scores: dict[tuple[str, str], Score]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(profile, scores, COSTS))))


def test_median_of_three(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    score = gather(profile, tmp_path)["linear", "ade20k"]
    assert score.summary() == pytest.approx((40.0, 38.0, 41.0))
    assert score.median_seed == 2


def test_incomplete_shows_a_count_and_no_median(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38))
    scores = gather(profile, tmp_path)
    assert scores["linear", "ade20k"].summary() is None
    assert scores["linear", "ade20k"].median_seed == 1
    text = markdown(compose(profile, scores, COSTS))
    assert "| ViT | - | 5.71 | 3.82 | 10.46 | 2 of 3 | 38.76 | – | 0 of 3 | – | – |" in text
    assert "10 of 12 trials have no result yet" in text
    line = rows(profile, scores)[0]
    assert (line["median"], line["difference"], line["seeds_found"]) == ("", "", "2")


def test_published_and_difference(profile: Profile, tmp_path: Path) -> None:
    for dataset in ("ade20k", "cityscapes"):
        write_seeds(tmp_path, dataset, "linear", (0.3876, 0.38, 0.40))
        write_seeds(tmp_path, dataset, "region-4x4", (0.40, 0.38, 0.41))
    scores = gather(profile, tmp_path)
    grid = table_grid(profile, profile.tables[0], scores, COSTS)
    linear, region = texts(grid)
    assert grid.header[:5] == ["arch.", "h×w", "params (M)", "GFLOPs", "GMACs"]
    assert grid.header[5:] == ["ade20k", "published", "difference", "cityscapes", "published", "difference"]
    assert linear[5:] == ["38.76 (38.00–40.00)", "38.76", "+0.00", "38.76 (38.00–40.00)", "–", "–"]
    assert region[5:] == ["40.00 (38.00–41.00)", "40.00", "+0.00", "40.00 (38.00–41.00)", "75.08", "−35.08"]
    plain = tuple(dataclasses.replace(row, published={}) for row in ROWS)
    bare = Table(name="t2", title="", columns=("arch.", "h×w"), rows=plain)
    assert table_grid(profile, bare, scores, COSTS).header == ["arch.", "h×w", "ade20k", "cityscapes"]


def test_one_seed_is_no_median(profile: Profile, tmp_path: Path) -> None:
    profile = dataclasses.replace(profile, seeds=(0,))
    write_seeds(tmp_path, "ade20k", "linear", (0.41,))
    document = compose(profile, gather(profile, tmp_path), COSTS)
    assert "| 41.00 |" in markdown(document)
    assert "single run (1 seed)" in document.sentences[0]
    assert "median" not in document.sentences[0]


def test_multi_scale_scores_have_tables_of_their_own(profile: Profile, tmp_path: Path) -> None:
    table = dataclasses.replace(profile.tables[0], metric="multi_scale_miou", complexity=False)
    profile = dataclasses.replace(profile, tables=(table,))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40), multi_scale={"miou": 0.5})
    write_seeds(tmp_path, "ade20k", "region-4x4", (0.41, 0.38, 0.40), multi_scale=None)
    write(tmp_path, "ade20k/region-4x4/1", 0.4, multi_scale={"miou": 0.5})
    linear, region = texts(table_grid(profile, table, gather(profile, tmp_path), {}))
    assert linear[2] == "50.00 (50.00–50.00)"
    assert region[2] == "1 of 3"
    lines = rows(profile, gather(profile, tmp_path))
    assert [line["median"] for line in lines] == ["50.0", "", "", ""]
    assert {line["metric"] for line in lines} == {"multi_scale_miou"}


def test_rows_that_do_not_run_keep_what_is_published(profile: Profile, tmp_path: Path) -> None:
    profile = dataclasses.replace(
        profile, cells=tuple(cell for cell in profile.cells if cell.data.name == "ade20k")
    )
    needed = Row(label=("B", ""), needs="weights", published={"cityscapes": 81.0}, params="87.3")
    table = dataclasses.replace(profile.tables[0], rows=(*ROWS, needed), complexity=True)
    profile = dataclasses.replace(profile, tables=(table,))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    scores = gather(profile, tmp_path)
    linear, region, weights = texts(table_grid(profile, table, scores, COSTS))
    assert linear[-3:] == ["–", "–", "–"]
    assert region[-3:] == ["–", "75.08", "–"]
    assert weights[2:] == [*"–", "87.3", *"––", "not run: needs weights", *"–––", "81.00", "–"]
    lines = rows(profile, scores)
    places = [(line["row"], line["dataset"], line["needs"]) for line in lines]
    assert places == [
        ("ViT", "ade20k", ""),
        ("RegProxy 4×4", "ade20k", ""),
        ("RegProxy 4×4", "cityscapes", ""),
        ("B", "ade20k", "weights"),
        ("B", "cityscapes", "weights"),
    ]
    assert (lines[-1]["published"], lines[-1]["params_printed"], lines[-1]["cell"]) == ("81.0", "87.3", "")


@pytest.mark.parametrize(
    ("values", "groups", "expected"),
    [
        ([1, 3, 2, 4], "aaaa", [0, 1, 0, 1]),
        ([1, 3, 2, 3], "aaaa", [0, 1, 0, 1]),
        ([5, 3, 1, 3.001], "aaaa", [1, 1, 0, 1]),  # ties as shown, with two decimals
        ([4, 4, 4, 1], "aaaa", [1, 1, 1, 0]),
        ([1, None, 2, 3], "aaaa", [0, 0, 1, 1]),
        ([1, None, None, 3], "aaaa", [0, 0, 0, 0]),
        ([1, 2, 3, 9, 8, 7], "aaabbb", [0, 1, 1, 1, 1, 0]),
        ([1, 2, 3], ["", "", ""], [0, 0, 0]),
    ],
)
def test_best_two(values: list[float | None], groups: str, expected: list[int]) -> None:
    assert best_two(values, groups) == [bool(flag) for flag in expected]


def test_ours_and_published_are_bold_each_by_themselves(profile: Profile, tmp_path: Path) -> None:
    published = (3.0, 2.0, 1.0)
    cells = ("linear", "region-4x4", "region-8x8")
    template = profile.cells[0]
    profile = dataclasses.replace(
        profile, cells=tuple(dataclasses.replace(template, name=name) for name in cells)
    )
    lines = tuple(
        Row(label=(name,), cell=name, group="g", published={"ade20k": value})
        for name, value in zip(cells, published, strict=True)
    )
    table = Table(name="t", title="t", rows=lines)
    profile = dataclasses.replace(profile, tables=(table,))
    for name, miou in zip(cells, (0.1, 0.2, 0.3), strict=True):
        write_seeds(tmp_path, "ade20k", name, (miou, miou, miou))
    scores = gather(profile, tmp_path)
    grid = table_grid(profile, table, scores, {})
    assert bold(grid, "ade20k") == [False, True, True]
    assert bold(grid, "published") == [True, True, False]
    assert grid.notes[0].startswith("Bold: the best two")
    document = compose(profile, scores, {})
    assert "| **20.00 (20.00–20.00)** | **2.00** | +18.00 |" in markdown(document)
    assert r"\textbf{20.00 (20.00--20.00)} & \textbf{2.00} & +18.00" in latex(document)

    (tmp_path / "results/p/ade20k/linear/0.json").unlink()
    assert bold(table_grid(profile, table, gather(profile, tmp_path), {}), "ade20k") == [False] * 3


# Totals of the paper's networks (GFLOPs its way, parameters) with what its Tables 1 and 2 print of them.
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
        Row(label=(arch, what), cell=f"{arch}-{what}", gflops=gflops, params=params)
        for arch, what, _, _, gflops, params in parts
    )
    return Table(name="t", title="t", columns=("arch.", "what"), complexity=True, rows=lines), costs


def test_the_papers_complexity_follows_from_the_totals_but_for_five_figures() -> None:
    doubts = {}
    for text in (TABLE_1, TABLE_2):
        table, costs = printed_table(text)
        for quantity in ("gflops", "params"):
            found = read_figures(table, quantity, costs)
            assert None not in [figure.as_printed for figure in found]
            doubts |= {
                (*row.label, quantity): figure.as_printed
                for row, figure in zip(table.rows, found, strict=True)
                if not figure.follows
            }
    assert doubts == {
        ("S", "4x4", "gflops"): "+0.0",
        ("S", "16x16", "gflops"): "+0.9",
        ("R26", "2x2", "params"): "+0.1",
        ("R26", "8x8", "gflops"): "+0.1",
        ("R26", "8x8", "params"): "+0.3",
    }


def test_complexity_columns_mark_what_does_not_follow() -> None:
    table, costs = printed_table(TABLE_1)
    columns, notes = complexity_columns(table, costs)
    assert [column.head for column in columns] == ["params (M)", "printed", "GFLOPs", "printed", "GMACs"]
    lines = list(zip(*([entry.text for entry in column.entries] for column in columns), strict=True))
    assert lines[0] == ("5.71", "5.7", "3.82", "3.8", "1.00")
    assert lines[11] == ("23.08 (+0.9)", "+0.9", "15.96 (+0.9)", "+0.8†", "1.00")
    (note,) = notes
    assert note.startswith("† does not follow from the totals (ours: S 4x4, GFLOPs: +0.0; S 16x16, GFLOPs: ")
    assert len(re.findall(r": \+0\.\d", note)) == 5

    columns, notes = complexity_columns(table, {"Ti-2x2": costs["Ti-2x2"]})  # no total to count from
    assert [entry.text for entry in columns[0].entries][:3] == ["–", "–", "5.76"]
    assert [entry.text for entry in columns[1].entries][:3] == ["5.7", "5.8", "+0.0"]
    assert notes == []


def test_halves_round_up() -> None:
    table = Table(
        name="t", title="t", rows=tuple(Row(label=(cell,), cell=cell, params="1.0") for cell in ("a", "b"))
    )
    costs = {"a": {"params": 1_145_000}, "b": {"params": 14_945_000}}  # 1.15 and 14.95 on the way
    assert [figure.as_printed for figure in read_figures(table, "params", costs)] == ["1.2", "15.0"]


def test_complexity_file(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    assert read_complexity(path) == {}
    path.write_text(json.dumps({"format": 1, "cells": COSTS}))
    assert read_complexity(path) == COSTS
    for cells in ({"linear": {"params": 3}}, {"linear": None}, [], {"a": COSTS["linear"] | {"gmacs": "1"}}):
        path.write_text(json.dumps({"format": 1, "cells": cells}))
        with pytest.raises(ValueError, match=r"p\.json cannot be used, .*; delete it and run"):
            read_complexity(path)


def test_report_says_what_was_run(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38))
    grid = runs_grid(profile, gather(profile, tmp_path))
    ade20k, cityscapes = texts(grid)
    assert dict(zip(grid.header, ade20k, strict=True)) == {
        "data set": "ade20k",
        "scored runs": "2 of 6",
        "steps": "8",
        "batch size": "4",
        "workers": "1",
        "images evaluated": "4",
        "data manifest": "d" * 12,
        "commit": "0123456789ab-dirty",
    }
    assert cityscapes[2:] == ["–"] * 6


def test_deviations_are_notes_and_what_the_records_say(profile: Profile, tmp_path: Path) -> None:
    clean = {"git_commit": COMMIT}
    write(tmp_path, "ade20k/linear/0", 0.4, run=clean)
    assert deviations(profile, gather(profile, tmp_path)) is None

    other = {"git_commit": "f" * 40 + "-dirty", "steps": 16, "cell": {"recipe": {"batch_size": 2}}}
    write(tmp_path, "ade20k/linear/1", 0.4, run=other)
    write(tmp_path, "cityscapes/linear/0", 0.4, run={**clean, "steps": 32})
    profile = dataclasses.replace(profile, seeds=(0, 1), notes=("Short schedules.",))
    assert deviations(profile, gather(profile, tmp_path)).points == (
        "Short schedules.",
        "The paper reports the median of 3 runs; here a cell has 2 seeds.",
        "Runs on ade20k differ in steps: 8, 16.",
        "Runs on ade20k differ in batch size: 2, 4.",
        "1 of 3 runs were trained with uncommitted changes (`-dirty`).",
        "The runs come from 2 commits: 0123456789ab, ffffffffffff-dirty.",
    )


def test_trends_hold_or_are_named(profile: Profile, tmp_path: Path) -> None:
    assert trends(profile, gather(profile, tmp_path)) is None
    trend = Trend(claim="4×4 above linear", better="region-4x4", than="linear")
    profile = dataclasses.replace(profile, trends=(trend,))
    nothing = trends(profile, gather(profile, tmp_path))
    assert texts(nothing.grid) == [["4×4 above linear", "–", "–"]]
    assert nothing.sentences == ("None of the comparisons can be made yet.",)

    for dataset, miou in (("ade20k", 0.4245), ("cityscapes", 0.397)):
        write_seeds(tmp_path, dataset, "linear", (0.4,) * 3)
        write_seeds(tmp_path, dataset, "region-4x4", (miou,) * 3)
    found = trends(profile, gather(profile, tmp_path))
    assert texts(found.grid) == [["4×4 above linear", "yes (+2.45)", "no (−0.30)"]]
    assert found.sentences == (
        "1 of 2 comparisons hold at this scale; not: 4×4 above linear, on cityscapes.",
    )

    write_seeds(tmp_path, "cityscapes", "region-4x4", (0.4,) * 3)
    assert texts(trends(profile, gather(profile, tmp_path)).grid)[0][2] == "no (+0.00)"


def test_region_entropy_of_cells_that_have_any(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.4,) * 3, region_entropy=None)
    assert region_entropy(profile, gather(profile, tmp_path)) is None
    for seed, entropy in enumerate((0.3, 0.1, 0.2)):
        write(tmp_path, f"ade20k/region-4x4/{seed}", 0.4, region_entropy=entropy)
    write(tmp_path, "cityscapes/region-4x4/0", 0.4, region_entropy=0.3)
    section = region_entropy(profile, gather(profile, tmp_path))
    assert texts(section.grid) == [["region-4x4", "RegProxy 4×4", "0.200 (0.100–0.300)", "1 of 3"]]
    lines = rows(profile, gather(profile, tmp_path))
    assert [line["region_entropy"] for line in lines] == ["", "", "0.2", ""]


def test_csv_round_trip(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "region-4x4", (0.401234, 0.38, 0.41))
    lines = rows(profile, gather(profile, tmp_path))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert [(line["cell"], line["dataset"]) for line in lines] == [
        (cell, data) for cell in ("linear", "region-4x4") for data in ("ade20k", "cityscapes")
    ]
    assert lines[2] == {
        "table": "t1",
        "row": "RegProxy 4×4",
        "cell": "region-4x4",
        "dataset": "ade20k",
        "metric": "miou",
        "seeds_found": "3",
        "seeds_wanted": "3",
        "median": "40.1234",
        "min": "38.0",
        "max": "41.0",
        "published": "40.0",
        "difference": "0.1234",
        "params": "5779494",
        "params_printed": "",
        "gflops": "3.8871",
        "gflops_printed": "",
        "gmacs": "10.5528",
        "region_entropy": "",
        "needs": "",
    }


def test_markdown_has_no_broken_tables(profile: Profile, tmp_path: Path) -> None:
    lines = (Row(label=("a|b", ""), needs="two\nlines"), *ROWS)
    table = dataclasses.replace(profile.tables[0], rows=lines)
    profile = dataclasses.replace(profile, tables=(table,), notes=("a note",))
    text = markdown(compose(profile, gather(profile, tmp_path), COSTS, ["figures/a.png"]))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 2
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1
    assert "| a\\|b |" in text and "not run: needs two lines" in text
    assert "- a note" in text and text.endswith("![a](figures/a.png)\n")


def test_latex_is_balanced_and_escaped(profile: Profile, tmp_path: Path) -> None:
    assert escape("50 % of_a & {b}, 4×4 – −1 † ✓\\") == (
        r"50 \% of\_a \& \{b\}, 4$\times$4 -- $-$1 $^\dagger$ $\checkmark$\textbackslash{}"
    )
    trend = Trend(claim="4×4 above linear", better="region-4x4", than="linear")
    grouped = tuple(dataclasses.replace(row, group=row.cell) for row in ROWS)
    table = dataclasses.replace(profile.tables[0], title="Strides & more", rows=grouped)
    profile = dataclasses.replace(profile, tables=(table,), trends=(trend,))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38))
    text = latex(compose(profile, gather(profile, tmp_path), COSTS))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert text.count(r"\midrule") == 3
    assert r"\caption{Strides \& more}" in text and r"\label{tab:p-t1}" in text
    assert "% data set: ade20k; scored runs: 2 of 6; steps: 8;" in text
    assert text.count("{") == text.count("}")
    for body, columns in zip(re.findall(r"\\toprule(.*?)\\bottomrule", text, re.S), (11, 3), strict=True):
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {columns}
    assert all(ord(char) < 128 for char in text.split(r"\begin{table}", 1)[1])


class Page(HTMLParser):
    """Checks that every element ends where it must; gathers the cells of each table and all pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.pictures: list[bytes] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            head, data = dict(attrs)["src"].split(",")
            assert head == "data:image/png;base64"
            self.pictures.append(base64.b64decode(data, validate=True))
        if tag in ("img", "meta"):
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def test_page_says_all_and_needs_nothing_beside_it(profile: Profile, tmp_path: Path) -> None:
    lines = (Row(label=("<b>a&b", ""), needs="weights"), *ROWS)
    table = dataclasses.replace(profile.tables[0], title="Strides <i>", rows=lines)
    profile = dataclasses.replace(profile, tables=(table,), notes=("a <note> of `code`",))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    (tmp_path / "a.png").write_bytes(b"\x89PNG, so to speak")
    document = compose(profile, gather(profile, tmp_path), COSTS, ["a.png"])
    text = page(document, tmp_path)
    shown = Page(text)
    grids = [document.runs, *(section.grid for section in document.sections if section.grid)]
    assert shown.tables == [[grid.header, *texts(grid)] for grid in grids]
    assert shown.pictures == [b"\x89PNG, so to speak"]
    assert "a &lt;note&gt; of <code>code</code>" in text and "Strides &lt;i&gt;" in text
    assert not re.search(r"(?:src|href)=.(?!data:|#)|url\(|<script|@import", text)


def test_files_are_whole(profile: Profile, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    document = write_report(profile, gather(profile, tmp_path), COSTS, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "report.html",
        "tables.csv",
        "tables.md",
        "tables.tex",
    ]
    assert (out / "tables.md").read_text(encoding="utf-8") == markdown(document)
    assert (out / "tables.tex").read_text(encoding="utf-8") == latex(document)
    assert (out / "report.html").read_text(encoding="utf-8") == page(document, out)


def test_terminal_shows_texts_as_they_are(profile: Profile, tmp_path: Path) -> None:
    lines = (Row(label=("[red]x", ""), needs="[bold]y"), *ROWS)
    table = dataclasses.replace(profile.tables[0], rows=lines)
    profile = dataclasses.replace(profile, tables=(table,), notes=("[i]note",))
    console = Console(file=io.StringIO(), width=200)
    stage.show(compose(profile, gather(profile, tmp_path), COSTS, ["figures/a.png"]), console)
    shown = console.file.getvalue()
    assert all(text in shown for text in ("[red]x", "needs [bold]y", "- [i]note", "Output strides", "75.08"))
    assert "a.png" not in shown


def test_a_narrow_terminal_shows_wide_tables_in_parts(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    grid = table_grid(profile, profile.tables[0], gather(profile, tmp_path), COSTS)
    assert stage.parts(grid, 200) == [grid]
    pieces = stage.parts(grid, 60)
    assert sum((piece.columns[2:] for piece in pieces), ()) == grid.columns[2:]
    assert all(piece.columns[:2] == grid.columns[:2] for piece in pieces)
    console = Console(file=io.StringIO(), width=60)
    stage.show(compose(profile, gather(profile, tmp_path), COSTS), console)
    assert "40.00 (38.00–41.00)" in console.file.getvalue()
    assert stage.parts(grid, 1)[0].columns == grid.columns[:3]  # hopeless: a column at a time


def test_pictures_call_a_cell_by_its_labels(profile: Profile) -> None:
    assert row_label(profile, "linear") == "ViT"
    assert row_label(profile, "region-4x4") == "RegProxy 4×4"
    assert row_label(profile, "unlisted") == "unlisted"


def test_strays_and_results_of_earlier_runs_do_not_count(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40, 0.99))
    write(tmp_path, "ade20k/gone/0", 0.99).write_text("broken, but nobody asks for it")
    write(tmp_path, "ade20k/linear/1", 0.38, run_identity="an earlier run")
    scores = gather(profile, tmp_path)
    assert set(scores["linear", "ade20k"].outcomes) == {0, 2}
    assert len(scores) == 4


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "\xff", json.dumps({"format": 1, "miou": 0.4}), json.dumps({"format": 2})],
    ids=["cut off", "no record", "no text", "keys missing", "another format"],
)
def test_a_damaged_record_is_named(profile: Profile, tmp_path: Path, content: str) -> None:
    path = write(tmp_path, "ade20k/linear/1", 0.4)
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"ade20k/linear/1\.json cannot be used, .*; delete it and run"):
        gather(profile, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("miou", None, "miou None is not between 0 and 1"),
        ("miou", True, "miou True is not"),
        ("miou", 41.0, "miou 41.0 is not"),
        ("miou", float("nan"), "miou nan is not"),
        ("multi_scale", {"miou": 41.0}, "multi_scale_miou 41.0 is not between 0 and 1"),
        ("multi_scale", [0.4], r"multi_scale_miou \[0.4\] is not"),
        ("region_entropy", -0.1, "region_entropy -0.1 is not a number of 0 or more"),
        ("region_entropy", "low", "region_entropy 'low' is not"),
    ],
)
def test_an_impossible_score_is_refused(
    profile: Profile, tmp_path: Path, key: str, value: object, message: str
) -> None:
    write(tmp_path, "ade20k/linear/1", **{"miou": 0.4, key: value})
    with pytest.raises(ValueError, match=rf"1\.json cannot be used, {message}"):
        gather(profile, tmp_path)


@pytest.mark.parametrize(("size", "count"), [((64, 64), 4), ((64, 128), 4), ((360, 480), 3), ((32, 40), 1)])
def test_draw_writes_a_png_of_sane_size(tmp_path: Path, size: tuple[int, int], count: int) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    panels = [drawing.Panel(f"panel {index}", pixels) for index in range(count)]
    legend = [(f"class {index}", np.array([20 * index, 0, 200], np.uint8)) for index in range(10)]
    for name in ("a.png", "b.png"):
        drawing.draw(panels, legend, tmp_path / name)
    height, width, _ = cv2.imread(str(tmp_path / "a.png")).shape
    assert 400 < width <= 2000 and 200 < height <= 2000
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_void_is_dark_and_no_class(tmp_path: Path) -> None:
    label = np.array([[0, 1], [IGNORE_LABEL, 1]], np.uint8)
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    painted = drawing.paint_label(label, colours)
    assert painted[:, 1].tolist() == [[0, 0, 255]] * 2
    assert painted[1, 0].max() <= 110


def test_images_are_spread_over_the_split() -> None:
    assert figures.spread(64, 2) == [16, 48]
    assert figures.spread(2, 5) == [0, 1]
    assert figures.spread(500, 500) == list(range(500))
    assert figures.spread(0, 2) == []


def test_stage_swaps_a_whole_report_in(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "load_profile", lambda _: dataclasses.replace(profile, pictures=None))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    (tmp_path / "complexity").mkdir()
    (tmp_path / "complexity/p.json").write_text(json.dumps({"format": 1, "cells": COSTS}))
    assert stage.main(["p"]) == 0
    shown = capsys.readouterr().out
    assert "reports/p/report.html" in shown and "40.00 (38.00–41.00)" in shown
    report = tmp_path / "reports/p"
    assert "![curves-ade20k](figures/curves-ade20k.png)" in (report / "tables.md").read_text()
    assert [path.name for path in (report / "figures").iterdir()] == ["curves-ade20k.png"]
    before = (report / "tables.md").read_text()
    assert "| ViT | - | 5.71 | 3.82 | 10.46 |" in before

    write(tmp_path, "ade20k/linear/1", 0.4).write_text("{")
    assert stage.main(["p"]) == 1
    assert "1.json cannot be used" in capsys.readouterr().err
    assert (report / "tables.md").read_text() == before
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["p"]


def test_predictions_of_a_trained_run(make_trial, profile: Profile, tmp_path: Path) -> None:
    """A real network and real shards, weights as drawn: a picture for each image asked for."""
    from regproxy.model.network import build, save_model

    trial = make_trial()
    write(tmp_path, "ade20k/region-4x4/0", 0.4)
    run_dir = tmp_path / "runs/p/ade20k/region-4x4/0"
    save_model(build(trial.cell), run_dir)
    record = json.loads((run_dir / "run.json").read_text()) | {"cell": trial.cell.to_dict()}
    (run_dir / "run.json").write_text(json.dumps(record))
    data_dir = Path(trial.data_dir)
    paths = figures.predictions(
        profile, gather(profile, tmp_path), trial.cell.data, data_dir=data_dir, out=tmp_path
    )
    assert [path.name for path in paths] == ["ade20k-1.png"]
    assert cv2.imread(str(paths[0])).shape[1] > 400
