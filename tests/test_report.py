"""The report: medians only where all seeds are there, published values where there are any, sane pictures."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines import report as stage
from regproxy.config import IGNORE_LABEL
from regproxy.profile import Profile, Row, Table
from regproxy.profile_file import load_profile
from regproxy.report import drawing, figures, tables
from regproxy.report.aggregate import Score, collect

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = (
    Row(label="Linear", cell="linear", published={"ade20k": 38.76}),
    Row(label="4x4", cell="region-4x4", published={"ade20k": 40.0, "cityscapes": 75.08}),
)


@pytest.fixture
def profile() -> Profile:
    """The smoke profile with three seeds and published values."""
    table = Table(name="t1", title="Output strides", rows=ROWS)
    return dataclasses.replace(load_profile("smoke"), name="p", seeds=(0, 1, 2), tables=(table,))


def write(root: Path, place: str, miou: float, **changes: object) -> Path:
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
        "num_parameters": 5_712_342,
        "gflops_paper": 3.8179,
        **changes,
    }
    run = {
        "format": 1,
        "identity": "run",
        "cell": {"recipe": {"batch_size": 4}},
        "steps": 8,
        "workers": 1,
        "data_manifest": "d" * 64,
        "git_commit": f"{COMMIT}-dirty",
    }
    result_file, run_dir = root / f"results/p/{place}.json", root / "runs/p" / place
    for path, record in ((result_file, result), (run_dir / "run.json", run)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
    lines = [{"step": s, "loss": 2.0 / s, "learning_rate": 1e-3} for s in (2, 4, 6)]
    lines.append({"step": 8, "loss": 0.2, "val_miou": miou})
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return result_file


def gather(profile: Profile, root: Path) -> dict[tuple[str, str], Score]:
    return collect(profile, results_dir=root / "results", runs_dir=root / "runs")


def write_seeds(root: Path, dataset: str, cell: str, mious: tuple[float, ...]) -> None:
    for seed, miou in enumerate(mious):
        write(root, f"{dataset}/{cell}/{seed}", miou)


def test_median_of_three(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    score = gather(profile, tmp_path)["linear", "ade20k"]
    assert score.summary == pytest.approx((40.0, 38.0, 41.0))
    assert score.median_seed == 2


def test_incomplete_shows_a_count_and_no_median(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38))
    scores = gather(profile, tmp_path)
    assert scores["linear", "ade20k"].summary is None
    assert scores["linear", "ade20k"].median_seed == 1
    text = tables.markdown(profile, scores)
    assert "| Linear | 5.71 | 3.82 | 2 of 3 | 38.76 | – | 0 of 3 | – | – |" in text
    assert "10 of 12 trials have no result yet" in text
    (line,) = [line for line in rows(profile, scores) if line["cell"] == "linear" and line["params"]]
    assert (line["median"], line["min"], line["max"], line["seeds_found"]) == ("", "", "", "2")


def test_published_and_difference(profile: Profile, tmp_path: Path) -> None:
    for dataset in ("ade20k", "cityscapes"):
        write_seeds(tmp_path, dataset, "linear", (0.3876, 0.38, 0.40))
        write_seeds(tmp_path, dataset, "region-4x4", (0.40, 0.38, 0.41))
    scores = gather(profile, tmp_path)
    header, (linear, region) = tables.table_cells(profile, profile.tables[0], scores)
    assert header[3:] == ["ade20k", "published", "difference", "cityscapes", "published", "difference"]
    assert linear[3:] == ["38.76 (38.00–40.00)", "38.76", "+0.00", "38.76 (38.00–40.00)", "–", "–"]
    assert region[3:] == ["40.00 (38.00–41.00)", "40.00", "+0.00", "40.00 (38.00–41.00)", "75.08", "-35.08"]
    bare = Table(name="t2", title="", rows=tuple(dataclasses.replace(row, published={}) for row in ROWS))
    assert tables.table_cells(profile, bare, scores)[0] == [
        "",
        "params (M)",
        "GFLOPs",
        "ade20k",
        "cityscapes",
    ]


def test_one_seed_is_no_median(profile: Profile, tmp_path: Path) -> None:
    profile = dataclasses.replace(profile, seeds=(0,))
    write_seeds(tmp_path, "ade20k", "linear", (0.41,))
    text = tables.markdown(profile, gather(profile, tmp_path))
    assert "| 41.00 |" in text
    assert "single run (1 seed)" in text
    assert "median" not in text


def test_report_says_what_was_run(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38))
    header, (ade20k, cityscapes) = tables.what_was_run(profile, gather(profile, tmp_path))
    assert dict(zip(header, ade20k, strict=True)) == {
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


def rows(profile: Profile, scores: dict[tuple[str, str], Score]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(tables.csv_text(profile, scores))))


def test_csv_round_trip(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "region-4x4", (0.401234, 0.38, 0.41))
    lines = rows(profile, gather(profile, tmp_path))
    assert tuple(lines[0]) == tables.CSV_COLUMNS
    assert [(line["cell"], line["dataset"]) for line in lines] == [
        (cell, data) for cell in ("linear", "region-4x4") for data in ("ade20k", "cityscapes")
    ]
    assert lines[2] == {
        "table": "t1",
        "row": "4x4",
        "cell": "region-4x4",
        "dataset": "ade20k",
        "seeds_found": "3",
        "seeds_wanted": "3",
        "median": "40.1234",
        "min": "38.0",
        "max": "41.0",
        "published": "40.0",
        "params": "5712342",
        "gflops": "3.8179",
    }


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


@pytest.mark.parametrize("miou", [None, True, 41.0, float("nan")])
def test_an_impossible_score_is_refused(profile: Profile, tmp_path: Path, miou: object) -> None:
    write(tmp_path, "ade20k/linear/1", miou)
    with pytest.raises(ValueError, match=r"1\.json cannot be used, miou .* is not between 0 and 1"):
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
    assert stage.main(["p"]) == 0
    assert "reports/p/tables.md" in capsys.readouterr().out
    report = tmp_path / "reports/p"
    assert "![curves-ade20k](figures/curves-ade20k.png)" in (report / "tables.md").read_text()
    assert [path.name for path in (report / "figures").iterdir()] == ["curves-ade20k.png"]
    before = (report / "tables.md").read_text()

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
