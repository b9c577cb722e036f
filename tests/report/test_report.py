"""The report's records, the runs it describes, boundaries and entropies; the stage that writes it."""

import dataclasses
import json
from pathlib import Path

import pytest
from report_records import COMMIT, COSTS, VARIANTS, gather, rows, texts, write, write_seeds

from pipelines import report as stage
from regproxy.config.profile import Profile
from regproxy.errors import DataError
from regproxy.report.findings import boundary_iou, region_entropy
from regproxy.report.what_was_run import deviations, runs_table


def test_report_describes_the_runs(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38))
    table = runs_table(profile, gather(profile, tmp_path))
    ade20k, cityscapes = texts(table)
    assert dict(zip(table.headers, ade20k, strict=True)) == {
        "data set": "ADE20K layout",
        "scored runs": "2 of 6",
        "steps": "8",
        "batch size": "4",
        "workers": "1",
        "images evaluated": "4",
        "data": "d" * 12,
        "commit": "0123456789ab-dirty",
    }
    assert cityscapes[2:] == ["–"] * 6


def test_deviations_are_notes_and_differences_in_the_records(profile: Profile, tmp_path: Path) -> None:
    clean = {"git_commit": COMMIT}
    write(tmp_path, "ade20k/linear/0", 0.4, run=clean)
    assert deviations(profile, gather(profile, tmp_path)) is None

    other = {"git_commit": "f" * 40 + "-dirty", "steps": 16}
    write(tmp_path, "ade20k/region-4x4/1", 0.4, run=other)
    write(tmp_path, "cityscapes/linear/0", 0.4, run=clean)
    write(tmp_path, "cityscapes/region-4x4/0", 0.4, run={**clean, "data_manifest": "e" * 64}, num_images=3)
    profile = dataclasses.replace(profile, seeds=(0, 1), notes=("Short schedules.",))
    assert deviations(profile, gather(profile, tmp_path)).points == (
        "Short schedules.",
        "The paper reports the median of 3 runs; here, a variant has 2 seeds.",
        "region-4x4 on ade20k, seed 1: 16 steps; the profile asks for 8.",
        "Runs on cityscapes differ in images evaluated: 3, 4.",
        "Runs on cityscapes differ in data: dddddddddddd, eeeeeeeeeeee.",
        "1 of 4 runs were trained with uncommitted changes (`-dirty`).",
        "The runs come from 2 commits: 0123456789ab, ffffffffffff-dirty.",
    )


def test_what_the_profile_asks_for_is_no_deviation(profile: Profile, tmp_path: Path) -> None:
    variant = VARIANTS["region-4x4", "ade20k"]
    shorter = dataclasses.replace(variant.recipe, batch_size=2, steps=6)
    small = dataclasses.replace(variant, recipe=shorter)
    variants = tuple(small if other == variant else other for other in profile.variants)
    profile = dataclasses.replace(profile, variants=variants)
    clean = {"git_commit": COMMIT}
    write(tmp_path, "ade20k/linear/0", 0.4, run=clean)
    write(tmp_path, "ade20k/region-4x4/0", 0.4, run={**clean, "steps": 6, "variant": small.to_dict()})
    scores = gather(profile, tmp_path)
    assert deviations(profile, scores) is None
    table = runs_table(profile, scores)
    shown = dict(zip(table.headers, texts(table)[0], strict=True))
    assert (shown["steps"], shown["batch size"]) == ("8, 6", "4, 2")


def test_boundary_iou_of_variants_that_have_one(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.4,) * 3)
    assert boundary_iou(profile, gather(profile, tmp_path)) is None
    for seed, value in enumerate((0.3, 0.1, 0.25)):
        write(tmp_path, f"ade20k/region-4x4/{seed}", 0.4, boundary_iou=value)
    write(tmp_path, "cityscapes/region-4x4/0", 0.4, boundary_iou=0.3)
    section = boundary_iou(profile, gather(profile, tmp_path))
    assert texts(section.table) == [["region-4x4", "RegProxy 4×4", "25.00 (10.00–30.00)", "1 of 3"]]
    lines = rows(profile, gather(profile, tmp_path))
    assert [line["boundary_iou"] for line in lines] == ["", "", "25.0", ""]


def test_region_entropy_of_variants_that_have_one(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.4,) * 3, region_entropy=None)
    assert region_entropy(profile, gather(profile, tmp_path)) is None
    for seed, entropy in enumerate((0.3, 0.1, 0.2)):
        write(tmp_path, f"ade20k/region-4x4/{seed}", 0.4, region_entropy=entropy)
    write(tmp_path, "cityscapes/region-4x4/0", 0.4, region_entropy=0.3)
    section = region_entropy(profile, gather(profile, tmp_path))
    assert texts(section.table) == [["region-4x4", "RegProxy 4×4", "0.200 (0.100–0.300)", "1 of 3"]]
    assert section.table.columns[2].details == ["seed 0: 0.300\nseed 1: 0.100\nseed 2: 0.200"]
    lines = rows(profile, gather(profile, tmp_path))
    assert [line["region_entropy"] for line in lines] == ["", "", "0.2", ""]


def test_other_files_and_results_of_earlier_runs_do_not_count(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40, 0.99))
    write(tmp_path, "ade20k/gone/0", 0.99).write_text("damaged, but not part of the profile")
    write(tmp_path, "ade20k/linear/1", 0.38, run_fingerprint="an earlier run")
    scores = gather(profile, tmp_path)
    assert set(scores["linear", "ade20k"].trials) == {0, 2}
    assert len(scores) == 4


def test_runs_with_another_recipe_do_not_count(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38))
    variant = VARIANTS["linear", "ade20k"]
    faster = dataclasses.replace(variant, recipe=dataclasses.replace(variant.recipe, learning_rate=1.0))
    scored = dataclasses.replace(variant, name="x", evaluation=VARIANTS["linear", "cityscapes"].evaluation)
    for other, found in ((faster, 2), (scored, 3)):  # neither name nor scoring settings change the training
        write(tmp_path, "ade20k/linear/2", 0.99, run={"variant": other.to_dict()})
        assert len(gather(profile, tmp_path)["linear", "ade20k"].trials) == found


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "\xff", json.dumps({"format": 1, "miou": 0.4}), json.dumps({"format": 2})],
    ids=["truncated", "no mapping", "no text", "keys missing", "another format"],
)
def test_a_damaged_record_is_named(profile: Profile, tmp_path: Path, content: str) -> None:
    path = write(tmp_path, "ade20k/linear/1", 0.4)
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"ade20k/linear/1\.json is damaged: .*\. Delete it and run"):
        gather(profile, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("miou", None, r"miou: expected a number in 0\.\.1; got None"),
        ("miou", True, "miou: .*; got True"),
        ("miou", 41.0, "miou: .*; got 41.0"),
        ("miou", float("nan"), "miou: .*; got nan"),
        ("multi_scale", {"miou": 41.0}, r"multi_scale_miou: expected a number in 0\.\.1; got 41.0"),
        ("multi_scale", [0.4], r"multi_scale_miou: .*; got \[0.4\]"),
        ("boundary_iou", 30.0, r"boundary_iou: expected a number in 0\.\.1; got 30.0"),
        ("region_entropy", -0.1, "region_entropy: expected a number at least 0; got -0.1"),
        ("region_entropy", "low", "region_entropy: .*; got 'low'"),
    ],
)
def test_an_impossible_score_is_refused(
    profile: Profile, tmp_path: Path, key: str, value: object, message: str
) -> None:
    write(tmp_path, "ade20k/linear/1", **{"miou": 0.4, key: value})
    with pytest.raises(DataError, match=rf"1\.json is damaged: {message}"):
        gather(profile, tmp_path)


def test_stage_replaces_the_whole_report_or_nothing(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "load_profile", lambda _: dataclasses.replace(profile, pictures=None))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    (tmp_path / "complexity").mkdir()
    (tmp_path / "complexity/p.json").write_text(json.dumps({"format": 1, "variants": COSTS}))
    assert stage.main(["p"]) == 0
    shown = capsys.readouterr().out
    assert "reports/p/report.html" in shown and "40.00 (38.00–41.00)" in shown
    report = tmp_path / "reports/p"
    assert "](figures/curves-t1-ade20k.png)" in (report / "tables.md").read_text()
    files = sorted(path.name for path in (report / "figures").iterdir())
    assert files == ["curves-t1-ade20k.png", "curves-t1-ade20k.svg"]
    before = (report / "tables.md").read_text()
    assert "| ViT | - | 5.71 | 3.82 | 10.46 |" in before

    write(tmp_path, "ade20k/linear/1", 0.4).write_text("{")
    assert stage.main(["p"]) == 1
    assert "1.json is damaged" in capsys.readouterr().err
    assert (report / "tables.md").read_text() == before
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["p"]
