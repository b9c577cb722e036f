"""The report's tables: medians of all seeds only, the best two bold, the paper's costs beside ours."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from report_records import COSTS, ROWS, bold, gather, rows, texts, write, write_seeds

from regproxy.config.profile import Profile, Row, Table
from regproxy.report.aggregate import read_complexity
from regproxy.report.complexity_columns import complexity_columns, read_figures
from regproxy.report.document import compose
from regproxy.report.latex import latex
from regproxy.report.markdown import markdown
from regproxy.report.tables import best_two, table_grid


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
        profile, variants=tuple(variant for variant in profile.variants if variant.data.name == "ade20k")
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
    assert (lines[-1]["published"], lines[-1]["params_printed"], lines[-1]["variant"]) == ("81.0", "87.3", "")


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
    variants = ("linear", "region-4x4", "region-8x8")
    template = profile.variants[0]
    profile = dataclasses.replace(
        profile, variants=tuple(dataclasses.replace(template, name=name) for name in variants)
    )
    lines = tuple(
        Row(label=(name,), variant=name, group="g", published={"ade20k": value})
        for name, value in zip(variants, published, strict=True)
    )
    table = Table(name="t", title="t", rows=lines)
    profile = dataclasses.replace(profile, tables=(table,))
    for name, miou in zip(variants, (0.1, 0.2, 0.3), strict=True):
        write_seeds(tmp_path, "ade20k", name, (miou, miou, miou), run={"variant": template.to_dict()})
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
        Row(label=(arch, what), variant=f"{arch}-{what}", gflops=gflops, params=params)
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
        name="t",
        title="t",
        rows=tuple(Row(label=(variant,), variant=variant, params="1.0") for variant in ("a", "b")),
    )
    costs = {"a": {"params": 1_145_000}, "b": {"params": 14_945_000}}  # 1.15 and 14.95 on the way
    assert [figure.as_printed for figure in read_figures(table, "params", costs)] == ["1.2", "15.0"]


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
        with pytest.raises(ValueError, match=r"p\.json cannot be used, .*; delete it and run"):
            read_complexity(path)
