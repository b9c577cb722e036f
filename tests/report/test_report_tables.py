"""The report's tables: medians need all seeds, the best two are bold, published values are kept."""

import dataclasses
from pathlib import Path

import pytest
from report_records import COSTS, ROWS, bold, gather, rows, texts, write, write_seeds

from regproxy.config.profile import Profile, Row, Table
from regproxy.data.statistics import Statistics
from regproxy.report.document import compose
from regproxy.report.latex import latex
from regproxy.report.markdown import markdown
from regproxy.report.tables import best_two, table_section


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
    ours = table_section(profile, profile.tables[0], scores, COSTS).table
    linear, region = texts(ours)
    assert ours.headers[:5] == ["arch.", "h×w", "params (M)", "GFLOPs", "GMACs"]
    assert ours.headers[5:] == [
        *("ADE20K layout", "published", "difference"),
        *("Cityscapes layout", "published", "difference"),
    ]
    assert linear[5:] == ["38.76 (38.00–40.00)", "38.76", "+0.00", "38.76 (38.00–40.00)", "–", "–"]
    assert region[5:] == ["40.00 (38.00–41.00)", "40.00", "+0.00", "40.00 (38.00–41.00)", "75.08", "−35.08"]
    plain = tuple(dataclasses.replace(row, published={}) for row in ROWS)
    bare = Table(name="t2", title="", columns=("arch.", "h×w"), rows=plain)
    assert table_section(profile, bare, scores, COSTS).table.headers == [
        "arch.",
        "h×w",
        "ADE20K layout",
        "Cityscapes layout",
    ]


def test_one_seed_has_no_median(profile: Profile, tmp_path: Path) -> None:
    profile = dataclasses.replace(profile, seeds=(0,))
    write_seeds(tmp_path, "ade20k", "linear", (0.41,))
    document = compose(profile, gather(profile, tmp_path), COSTS)
    assert "| 41.00 |" in markdown(document)
    assert "single run (1 seed)" in document.sentences[0]
    assert "median" not in document.sentences[0]


def test_multi_scale_scores_have_their_own_tables(profile: Profile, tmp_path: Path) -> None:
    table = dataclasses.replace(profile.tables[0], metric="multi_scale_miou", complexity=False)
    profile = dataclasses.replace(profile, tables=(table,))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40), multi_scale={"miou": 0.5})
    write_seeds(tmp_path, "ade20k", "region-4x4", (0.41, 0.38, 0.40), multi_scale=None)
    write(tmp_path, "ade20k/region-4x4/1", 0.4, multi_scale={"miou": 0.5})
    linear, region = texts(table_section(profile, table, gather(profile, tmp_path), {}).table)
    assert linear[2] == "50.00 (50.00–50.00)"
    assert region[2] == "1 of 3"
    lines = rows(profile, gather(profile, tmp_path))
    assert [line["median"] for line in lines] == ["50.0", "", "", ""]
    assert {line["metric"] for line in lines} == {"multi_scale_miou"}


def test_rows_that_do_not_run_keep_published_values(profile: Profile, tmp_path: Path) -> None:
    profile = dataclasses.replace(
        profile, variants=tuple(variant for variant in profile.variants if variant.data.name == "ade20k")
    )
    needed = Row(label=("B", ""), needs="weights", published={"cityscapes": 81.0}, params="87.3")
    table = dataclasses.replace(profile.tables[0], rows=(*ROWS, needed), complexity=True)
    profile = dataclasses.replace(profile, tables=(table,))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    scores = gather(profile, tmp_path)
    linear, region, weights = texts(table_section(profile, table, scores, COSTS).table)
    assert linear[-3:] == ["–", "–", "–"]
    assert region[-3:] == ["–", "75.08", "–"]
    assert weights[2:] == [*"–", "87.3", *"––", "not run: needs weights", *"–––", "81.00", "–"]
    lines = rows(profile, scores)
    found = [(line["row"], line["dataset"], line["needs"]) for line in lines]
    assert found == [
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
        ([5, 3, 1, 3.001], "aaaa", [1, 1, 0, 1]),  # equal with two decimals, as printed
        ([4, 4, 4, 1], "aaaa", [1, 1, 1, 0]),
        ([1, None, 2, 3], "aaaa", [0, 0, 1, 1]),
        ([1, None, None, 3], "aaaa", [0, 0, 0, 0]),
        ([1, 2, 3, 9, 8, 7], "aaabbb", [0, 1, 1, 1, 1, 0]),
        ([1, 2, 3], ["", "", ""], [0, 0, 0]),
    ],
)
def test_best_two(values: list[float | None], groups: str, expected: list[int]) -> None:
    assert best_two(values, groups) == [bool(flag) for flag in expected]


def test_our_and_published_values_are_ranked_separately(profile: Profile, tmp_path: Path) -> None:
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
    ours = table_section(profile, table, scores, {}).table
    assert bold(ours, "ADE20K layout") == [False, True, True]
    assert bold(ours, "published") == [True, True, False]
    assert ours.notes[0].startswith("Bold: the two best")
    document = compose(profile, scores, {})
    assert "| **20.00 (20.00–20.00)** | **2.00** | +18.00 |" in markdown(document)
    assert r"\textbf{20.00 (20.00--20.00)} & \textbf{2.00} & +18.00" in latex(document)

    (tmp_path / "results/p/ade20k/linear/0.json").unlink()
    assert (
        bold(table_section(profile, table, gather(profile, tmp_path), {}).table, "ADE20K layout")
        == [False] * 3
    )


def test_a_table_names_the_classes_that_miou_leaves_out(profile: Profile, tmp_path: Path) -> None:
    seen = {"classes": ["sky", "road", "car"], "iou_per_class": [0.5, 0.3, None]}
    write_seeds(tmp_path, "ade20k", "linear", (0.4, 0.4, 0.4), **seen)
    write_seeds(tmp_path, "cityscapes", "linear", (0.4, 0.4, 0.4), classes=["a"], iou_per_class=[0.4])
    notes = table_section(profile, profile.tables[0], gather(profile, tmp_path), COSTS).table.notes
    assert "mIoU of ADE20K layout: mean over 2 of 3 classes; absent: car." in notes
    assert not any("Cityscapes layout" in note for note in notes)
    seen["iou_per_class"] = [0.5, 0.3, 0.0]
    write(tmp_path, "ade20k/linear/1", 0.3, **seen)
    notes = table_section(profile, profile.tables[0], gather(profile, tmp_path), COSTS).table.notes
    assert "mIoU of ADE20K layout: mean over 2 to 3 of 3 classes; absent in some runs: car." in notes


def test_a_data_set_has_its_statistics_and_warnings(profile: Profile, tmp_path: Path) -> None:
    split = {
        "num_images": 4,
        "void_share": 0.125,
        "classes": {"sky": {"pixels": 1200, "share": 1, "images": 4}},
    }
    statistics = {"ade20k": Statistics({"train": split, "val": split}, ("boats are rare.",))}
    document = compose(profile, gather(profile, tmp_path), COSTS, statistics=statistics)
    (section,) = [section for section in document.sections if section.name.startswith("data-")]
    assert section.title == "Data of ADE20K layout" and section.points == ("Warning: boats are rare.",)
    assert "Void pixels: 12.50 % of train, 12.50 % of val." in section.sentences[0]
    assert section.table.headers[:5] == [
        *("class", "share in train", "share in val"),
        *("images in train", "images in val"),
    ]
    assert texts(section.table) == [["sky", "100.00 %", "100.00 %", "4", "4", "1,200", "1,200"]]
