"""Runs of variants: scores over the seeds, settings that differ, descriptions; names that MLflow refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name
from shown_runs import Shown

from pipelines.tracking.uploader import Uploader
from pipelines.tracking.values import class_names
from regproxy.data.prepared import data_sha256
from regproxy.data.statistics import read_statistics
from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress

AWKWARD = [
    "car [old]",
    "car (old)",
    "a,b",
    "a%b|c",
    "a/b",
    '"quoted"',
    "naïve café",
    "日本",
    "🚗",
    "..",
    " ",
    "",
    "x" * 400,
]


@pytest.fixture
def three_seeds(trial: Trial, tmp_path: Path) -> list[Trial]:
    """Finished trials of three seeds; their records have one fingerprint each."""
    seeds = [replace(trial.moved(run_dir=str(tmp_path / f"run-{seed}")), seed=seed) for seed in range(3)]
    for seed in seeds:
        shutil.copytree(trial.workspace.run_dir, seed.workspace.run_dir)
        started = f"2026-01-0{seed.seed + 1}T00:00:00+00:00"
        seed.write_record({"started": started, "seconds": 1.0}, git_commit=None)
    return seeds


def test_a_variant_has_median_and_range_of_its_seeds(
    three_seeds: list[Trial], result: dict, shown: Shown
) -> None:
    for seed in three_seeds:
        result["miou"], result["fingerprint"] = 0.1 * (seed.seed + 1) ** 2, f"of seed {seed.seed}"
        with Uploader("smoke", three_seeds) as uploader:
            uploader.add_result(seed, dict(result))
    with Uploader("smoke", three_seeds) as uploader:
        for seed in three_seeds:
            result["miou"], result["fingerprint"] = 0.1 * (seed.seed + 1) ** 2, f"of seed {seed.seed}"
            uploader.add_result(seed, dict(result))
    run = shown.variant()
    metrics = run.data.metrics
    assert {name: round(metrics[name], 9) for name in ("miou", "miou min", "miou max", "iou/road")} == {
        "miou": 0.4,
        "miou min": 0.1,
        "miou max": 0.9,
        "iou/road": 0.5,
    }
    assert metrics["all/miou"] == metrics["miou"]
    assert metrics["iou max/road"] == 0.5 and "iou/sky" not in metrics
    assert all(point.step == 0 for point in shown.client.get_metric_history(run.info.run_id, "miou"))
    assert run.info.status == "FINISHED"
    starts = [shown.seed(number).info.start_time for number in range(3)]
    ends = [shown.seed(number).info.end_time for number in range(3)]
    assert (run.info.start_time, run.info.end_time) == (min(starts), max(ends))


def test_a_variant_waits_for_its_seeds(three_seeds: list[Trial], shown: Shown) -> None:
    with Uploader("smoke", three_seeds) as uploader:
        uploader.add_run(three_seeds[0])
    assert shown.variant().info.status == "KILLED", "two seeds are missing"
    with Uploader("smoke", three_seeds) as uploader:
        for seed in three_seeds:
            uploader.add_run(seed)
    assert shown.variant().info.status == "FINISHED"


def test_a_variant_has_only_the_settings_that_differ(trial: Trial, shown: Shown) -> None:
    recipe = replace(trial.variant.recipe, learning_rate=0.5)
    other = replace(trial, variant=replace(trial.variant, name="fast", recipe=recipe))
    with Uploader("smoke", [trial, other]) as uploader:
        uploader.add_run(trial)
    assert shown.variant().data.params == {"variant": "region-4x4", "recipe.learning_rate": "0.001"}
    settings = shown.seed().data.params
    assert settings["variant"] == "region-4x4" and settings["recipe.steps"] == "8"
    assert len(settings) > 40


def test_names_tags_and_data_are_readable(trial: Trial, shown: Shown) -> None:
    trial.write_record({"seconds": 1.0}, git_commit="abc-dirty")
    with Uploader("smoke") as uploader:
        uploader.add_run(trial)
    seed, variant = shown.seed(), shown.variant()
    assert (variant.info.run_name, seed.info.run_name) == ("region-4x4", "seed 0")
    experiment = shown.client.get_experiment(seed.info.experiment_id)
    assert experiment.name == "smoke/ade20k"
    tags = seed.data.tags
    assert tags["mlflow.source.git.commit"] == "abc-dirty"
    assert tags["profile"] == "smoke" and tags["data set"] == "ade20k" and tags["mlflow.user"]
    assert tags["host"] == trial.finished_record()["host"]
    assert "Seed 0 of variant region-4x4 on ade20k" in tags["mlflow.note.content"]
    assert "median" in variant.data.tags["mlflow.note.content"]
    digest = data_sha256(trial.workspace.data_dir)[:16]
    for run in (seed, variant):
        inputs = [(each.dataset.digest, each.tags[0].value) for each in run.inputs.dataset_inputs]
        assert sorted(inputs) == [(f"{digest}-train", "training"), (f"{digest}-val", "validation")]
        assert {each.dataset.name for each in run.inputs.dataset_inputs} == {"ade20k"}


def test_a_variant_whose_training_changed_gets_a_new_run(trial: Trial, shown: Shown) -> None:
    for changed in (
        trial,
        replace(trial, variant=replace(trial.variant, recipe=replace(trial.variant.recipe, steps=9))),
    ):
        changed.write_record({"seconds": 1.0}, git_commit=None)
        with Uploader("smoke", [changed]) as uploader:
            uploader.add_run(changed)
        assert not uploader.failed
    names = sorted(run.info.run_name for run in shown.runs())
    assert names == ["region-4x4", "region-4x4", "seed 0", "seed 0"]


def test_awkward_classes_and_long_settings_are_stored(trial: Trial, result: dict, shown: Shown) -> None:
    values = [number / 100 for number in range(len(AWKWARD))]
    classes = tuple(f"{number} {'y' * 500}" for number in range(40))
    long = replace(trial, variant=replace(trial.variant, data=replace(trial.variant.data, classes=classes)))
    long.write_record({"seconds": 1.0}, git_commit=None)
    with Uploader("smoke") as uploader:
        uploader.add_result(long, result | {"classes": AWKWARD, "iou_per_class": values})
    assert not uploader.failed
    run = shown.seed()
    found = {name: value for name, value in run.data.metrics.items() if name.startswith("iou/")}
    assert sorted(found.values()) == values
    assert found["iou/naïve café"] == AWKWARD.index("naïve café") / 100
    assert len(run.data.params["data.classes"]) == 6000


@given(st.lists(st.text(max_size=12) | st.sampled_from(["a_", "a_:0", "a[", "a_:2", ".", ".."]), max_size=8))
def test_no_two_classes_share_a_name(classes: list[str]) -> None:
    names = class_names(classes)
    assert len(set(names)) == len(classes)
    for name in names:
        _validate_metric_name(f"iou/{name}")


def test_the_seed_that_started_first_is_uploaded_first(new_trial: Trial) -> None:
    """It creates the run of its variant, whose start MLflow cannot change later."""
    uploader, order = Uploader("smoke"), []
    for seed, started in enumerate((200.0, None, 100.0)):
        trial = replace(new_trial, seed=seed)
        uploader.add_missing(trial)
        if started:
            uploader.progress(trial, ["vm"], Progress(0, 8, started=started))

    def ignore(*_: object, **__: object) -> None:
        pass

    store = SimpleNamespace(
        update=lambda state: order.append(state.trial.seed), update_variants=ignore, add_host_metrics=ignore
    )
    assert uploader._upload(store, closing=False) == []
    assert order == [2, 0, 1]


def test_the_data_have_their_statistics(trial: Trial, result: dict, shown: Shown, folder: Path) -> None:
    with Uploader("smoke", [trial]) as uploader:
        uploader.add_result(trial, result)
    wanted = read_statistics(Path(trial.workspace.data_dir)).splits
    for run in (shown.seed(), shown.variant()):
        profiles = {each.dataset.digest[17:]: each.dataset.profile for each in run.inputs.dataset_inputs}
        assert {split: json.loads(profile) for split, profile in profiles.items()} == wanted
        assert run.data.tags["classes present"] == "1 of 2"
    (file,) = folder.rglob("statistics.json")
    assert json.loads(file.read_text()) == {"splits": wanted, "warnings": []}
