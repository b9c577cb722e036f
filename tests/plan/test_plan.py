"""`regproxy plan`: its speeds, its arithmetic and its output."""

import dataclasses
import json
from pathlib import Path

import pytest

from regproxy.cli.main import main
from regproxy.config.profile_file import load_profile, profile_path
from regproxy.errors import ConfigError
from regproxy.plan.complexity import build_on_meta, gmacs
from regproxy.plan.simulation import longest_first, plan
from regproxy.plan.speeds import Assumptions, Speeds, assumed_speed, crop_gmacs, recorded_speeds
from regproxy.plan.text import summary
from regproxy.storage.json_file import write_json

SMOKE = load_profile("smoke")
PROFILES = profile_path("smoke").parent.absolute()


@pytest.fixture(autouse=True)
def no_finished_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the checkout's own `runs/`: commands run in an empty folder that has only the profiles."""
    (tmp_path / "pipelines").symlink_to(PROFILES.parent, target_is_directory=True)
    monkeypatch.chdir(tmp_path)


def test_assumed_speed_is_the_arithmetic_of_the_network() -> None:
    variant = SMOKE.variants[-1]
    size = variant.recipe.crop
    macs = gmacs(build_on_meta(variant, image_size=size), image_size=size)
    speed = assumed_speed(variant, Assumptions(tflops=100.0, mfu=0.5))
    assert speed == pytest.approx(50e12 / (6 * macs * 1e9))
    bf16 = dataclasses.replace(variant, recipe=dataclasses.replace(variant.recipe, precision="bf16"))
    assert assumed_speed(bf16, Assumptions()) == pytest.approx(16 * assumed_speed(variant, Assumptions()))


def test_workers_share_a_training_and_hold_their_gpus() -> None:
    assumptions = Assumptions(efficiency=0.5, startup_seconds=7.0)
    one, two = (plan(SMOKE, gpus=2, workers=n, assumptions=assumptions) for n in (1, 2))
    for alone, shared in zip(one.trials, two.trials, strict=True):
        assert shared.task.gpus == 2 * alone.task.gpus == 2
        assert shared.images_per_second == pytest.approx(1.5 * alone.images_per_second)
        assert alone.task.seconds - 7 == pytest.approx(1.5 * (shared.task.seconds - 7))
    assert two.schedule.makespan == pytest.approx(sum(trial.task.seconds for trial in two.trials))


def test_longest_first_is_a_stable_order_by_cost() -> None:
    trials = plan(SMOKE, gpus=1).trials
    longer = dataclasses.replace(
        trials[-1].variant, recipe=dataclasses.replace(trials[-1].variant.recipe, steps=10**6)
    )
    last = dataclasses.replace(trials[-1], variant=longer, seed=99)
    assert longest_first([*trials, last]) == [last, *trials]
    costs = [crop_gmacs(trial.variant) for trial in trials]
    assert costs == sorted(costs, reverse=True) and len(set(costs)) > 1


def test_the_most_specific_speed_wins_and_records_come_before_assumptions(tmp_path: Path) -> None:
    variant = SMOKE.variants[-1]
    for seed, speed in enumerate((100.0, 40.0, 380.0)):
        record = {"variant": variant.to_dict(), "workers": 3, "images_per_second": speed}
        write_json(tmp_path / "cityscapes" / variant.name / str(seed) / "run.json", record)
    write_json(tmp_path / "old" / "run.json", {"variant": {"name": "of another version"}})
    recorded = recorded_speeds(tmp_path, Assumptions(efficiency=0.5))
    assert recorded == {variant.fingerprint(): 50.0}
    names = [
        f"{variant.data.name}/{variant.name}",
        variant.name,
        f"{variant.data.name}/{variant.model.arch}",
        variant.model.arch,
    ]
    for first in range(4):
        speeds = Speeds(given={name: 10.0 + index for index, name in enumerate(names) if index >= first})
        assert speeds.of(variant, Assumptions()) == (10.0 + first, "measured")
    assert Speeds(recorded=recorded).of(variant, Assumptions()) == (50.0, "measured")
    assert Speeds().of(variant, Assumptions()) == (assumed_speed(variant, Assumptions()), "assumed")


def test_summary_adds_up() -> None:
    result = plan(SMOKE, gpus=3, speeds=Speeds(given={"Smoke/16": 1.0}))
    total = summary(result, 2.0)
    assert total["gpu_hours"] == pytest.approx(sum(trial.task.seconds for trial in result.trials) / 3600)
    assert total["reserved_gpu_hours"] == pytest.approx(3 * total["makespan_hours"])
    assert total["utilisation"] == pytest.approx(total["gpu_hours"] / total["reserved_gpu_hours"])
    assert total["cost"] == pytest.approx(2 * total["reserved_gpu_hours"])


def test_the_demo_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--profile", "demo", "--gpus", "2", "--price", "3"]) == 0
    table, total = capsys.readouterr().out.split("\n\n")
    rows = [line.split() for line in table.splitlines()[1:]]
    assert [(row[0], row[1], int(row[2])) for row in rows] == [
        ("Demo/16", "ade20k", 36),
        ("Demo/16", "cityscapes", 33),
        ("R+Demo/32", "ade20k", 15),
        ("R+Demo/32", "cityscapes", 15),
    ]
    assert "99 trainings of profile demo on 2 GPUs" in total and "at 3 a GPU hour" in total
    assert "assumed: 19.5 TFLOP/s (float32) a GPU, MFU 0.35" in total


def test_speeds_of_finished_runs_are_used(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    variant = SMOKE.variants[0]
    record = {"variant": variant.to_dict(), "workers": 1, "images_per_second": 123.0}
    write_json(tmp_path / "runs" / "smoke" / "run.json", record)
    for flags, expected in (([], "measured"), (["--runs", "elsewhere"], "assumed")):
        assert main(["plan", "--profile", "smoke", "--gpus", "1", "--json", *flags]) == 0
        trials = json.loads(capsys.readouterr().out)["trials"]
        key = {"data": variant.data.name, "variant": variant.name, "seed": 0}
        (trial,) = [trial for trial in trials if key.items() <= trial.items()]
        assert trial["speed"] == expected
        assert (trial["images_per_second"] == 123.0) == (expected == "measured")


def test_json_holds_every_training(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--gpus", "5", "--workers", "2", "--json", "--tflops", "0.01"]
    assert main(["plan", "--profile", "demo", *flags]) == 0
    content = json.loads(capsys.readouterr().out)
    trials = content["trials"]
    assert {(t["data"], t["variant"], t["seed"]) for t in trials} == {
        (variant.data.name, variant.name, seed) for variant, seed in load_profile("demo").trials()
    }
    assert content["trainings"] == 99 and {trial["gpus"] for trial in trials} == {2}
    assert content["makespan_hours"] == pytest.approx(max(t["start_hours"] + t["hours"] for t in trials))
    for trial in trials:  # five GPUs fit two trials of two workers, not three
        now = trial["start_hours"]
        before = [other for other in trials if other["start_hours"] <= now]
        assert sum(other["start_hours"] + other["hours"] > now + 1e-9 for other in before) <= 2
    assert 0.7 < content["utilisation"] <= 4 / 5 and content["cost"] is None


def test_given_speeds_are_used_and_marked_as_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "speeds.json"
    file.write_text('{"linear": 400, "ade20k/Demo/16": 200}')
    assert main(["plan", "--profile", "demo", "--gpus", "2", "--json", "--speeds", str(file)]) == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    for trial in trials:
        on_ade20k = trial["data"] == "ade20k" and not trial["variant"].startswith("hybrid")
        known = trial["variant"] == "linear" or on_ade20k
        assert trial["speed"] == ("measured" if known else "assumed")
        if known:
            assert trial["images_per_second"] == (400 if trial["variant"] == "linear" else 200)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--gpus", "0"], "--gpus is invalid: expected at least 1; got 0"),
        (["--gpus", "1", "--workers", "2"], "a training needs 2 GPUs but there are 1"),
        (["--gpus", "8", "--workers", "3"], "do not divide batch_size"),
        (["--gpus", "8", "--workers", "0"], "workers is invalid: expected at least 1; got 0"),
        (["--gpus", "8", "--mfu", "0"], "mfu is invalid: expected more than 0 and at most 1; got 0"),
        (["--gpus", "8", "--mfu", "1.5"], "mfu is invalid: expected more than 0 and at most 1; got 1.5"),
        (["--gpus", "8", "--tflops", "-1"], "tflops is invalid: expected more than 0; got -1"),
        (["--gpus", "8", "--tflops", "nan"], "tflops is invalid: expected more than 0; got nan"),
        (["--gpus", "8", "--efficiency", "0"], "efficiency is invalid"),
        (["--gpus", "8", "--startup", "-1"], "startup_seconds is invalid: expected at least 0; got -1"),
        (["--gpus", "8", "--price", "-1"], "price is invalid: expected at least 0; got -1"),
        (["--gpus", "8", "--speeds", "absent.json"], "absent.json cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--profile", "smoke", *flags]) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_unknown_names_are_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--profile", "papr", "--gpus", "8"]) == 1
    assert "did you mean 'paper'?" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="did you mean 'Smoke/16'"):
        plan(SMOKE, gpus=1, speeds=Speeds(given={"Smok/16": 3.0}))
    with pytest.raises(
        ConfigError, match="speed of Smoke/16 is invalid: expected images/s of one GPU, above 0; got 0"
    ):
        plan(SMOKE, gpus=1, speeds=Speeds(given={"Smoke/16": 0}))
