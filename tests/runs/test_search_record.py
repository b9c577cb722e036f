"""The records of a search: the best trial, what is still to be trained, and the lines for the profile."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from smoke_profile import SMOKE_VARIANTS

from regproxy.config.profile import Profile
from regproxy.config.profile_file import load_profile, resolve_profile
from regproxy.config.search import Search, with_values
from regproxy.errors import DataError
from regproxy.runs.history import read_history
from regproxy.runs.search_record import (
    SearchTrial,
    best_trial,
    profile_lines,
    read_result,
    read_trial,
    write_result,
)
from regproxy.runs.search_run import SearchRun
from regproxy.runs.shared_storage import SharedStorage
from regproxy.storage.remote import Storage
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import run_to_end

START = SMOKE_VARIANTS["ade20k", "region-4x4"]


@pytest.fixture
def profile(smoke_data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """The smoke profile, in a working directory with its data."""
    profile = load_profile("smoke")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/prepared").mkdir(parents=True)
    (tmp_path / "data/prepared/smoke").symlink_to(smoke_data["ade20k"].parent)
    return with_search(profile, trials=4)


def with_search(profile: Profile, **changes: Any) -> Profile:
    return dataclasses.replace(profile, search=dataclasses.replace(profile.search, **changes))


def draw(search: Search, number: int, scored: Any) -> dict[str, Any]:
    """Return values that depend on the number and on the number of scored trials."""
    return {"learning_rate": 0.001 * (number + 1), "region": [2, 2] if len(list(scored)) % 2 else [4, 4]}


def trained(run: SearchRun, number: int, miou: float, *, step: int = 8, error: str | None = None) -> None:
    run.begin(number, draw)
    run.validated(number, 8, miou)
    run.end(number, step=step, steps=8, error=error)


def test_a_trial_is_read_as_it_was_written(tmp_path: Path) -> None:
    trial = SearchTrial(
        number=3,
        values={"region": [2, 2]},
        fingerprint="f",
        state="finished",
        steps=8,
        validations=((4, 0.25), (8, 0.5)),
    )
    trial.write(Storage(str(tmp_path / "3")))
    assert read_trial(Storage(str(tmp_path / "3"))) == trial
    assert read_trial(Storage(str(tmp_path / "4"))) is None
    (tmp_path / "3/trial.json").write_text('{"format": 1, "number": 3}')
    assert read_trial(Storage(str(tmp_path / "3"))) is None


def test_the_best_trial_has_finished(profile: Profile) -> None:
    run = SearchRun(profile, START)
    trained(run, 0, 0.9, step=8, error="the loss is nan")
    trained(run, 1, 0.8, step=4)  # stopped early
    assert best_trial(run.ended) is None
    assert run.pending(retry_failed=False) == [0, 2, 3], "without a finished trial, the failed one is retried"
    trained(run, 2, 0.3)
    trained(run, 3, 0.4)
    assert best_trial(run.ended).number == 3
    assert [trial.state for trial in run.ended] == ["failed", "stopped early", "finished", "finished"]


def test_a_search_continues_from_its_records(profile: Profile) -> None:
    run = SearchRun(profile, START)
    trained(run, 0, 0.3)
    trained(run, 1, 0.0, error="the loss is nan")
    trained(run, 2, 0.2, step=4)
    values = run.begin(3, draw)
    again = SearchRun(profile, START)
    assert again.records == run.records
    assert again.pending(retry_failed=False) == [3]
    assert again.pending(retry_failed=True) == [1, 3]
    assert again.begin(3, lambda *_: pytest.fail("the values are known")) == values
    more = SearchRun(with_search(profile, trials=5), START)
    assert more.pending(retry_failed=False) == [3, 4]
    to_the_end = SearchRun(with_search(profile, early_stopping=False), START)
    assert to_the_end.pending(retry_failed=False) == [2, 3]


def test_a_trial_that_ended_after_the_search_was_killed_is_finished(profile: Profile) -> None:
    run = SearchRun(profile, START)
    trial = dataclasses.replace(run.trials[0], variant=with_values(START, run.begin(0, draw)))
    run_to_end(train(trial, Context()))
    history = read_history(Path(trial.workspace.run_dir) / "metrics.jsonl")
    again = SearchRun(profile, START)
    assert (again.records[0].state, again.records[0].steps) == ("finished", 8)
    assert again.records[0].validations == ((8, history[-1]["val_miou"]),)
    assert best_trial(again.ended).number == 0
    assert SearchRun(profile, START).records == again.records
    assert not Path(trial.workspace.run_dir, "model.safetensors").exists()


@pytest.mark.parametrize("change", ["seed", "sampler", "space", "recipe", "evaluation"])
def test_another_search_trains_its_own_trials(profile: Profile, change: str) -> None:
    trained(SearchRun(profile, START), 0, 0.3)
    start, space = START, dict(profile.search.space)
    rate = dataclasses.replace(space["learning_rate"], high=0.2)
    if change == "recipe":
        start = dataclasses.replace(START, recipe=dataclasses.replace(START.recipe, weight_decay=0.5))
    elif change == "evaluation":
        evaluation = dataclasses.replace(START.evaluation, window=(32, 32), stride=(32, 32))
        start = dataclasses.replace(START, evaluation=evaluation)
    else:
        changes = {"seed": 1, "sampler": "optuna", "space": {**space, "learning_rate": rate}}
        profile = with_search(profile, **{change: changes[change]})
    assert SearchRun(profile, start).records == {}


def test_the_records_of_a_cluster_lie_on_its_storage(profile: Profile, shared: SharedStorage) -> None:
    run = SearchRun(profile, START, shared)
    trained(run, 0, 0.3)
    assert not Path("search").exists()
    assert SearchRun(profile, START, shared).records == run.records
    (trial,) = run.located([1])
    assert trial.workspace.run_dir == f"{shared.storage.url}/search/smoke/ade20k/1"
    assert Storage(trial.workspace.data_dir).size("manifest.json")


def test_the_profile_lines_give_the_best_variant(profile: Profile) -> None:
    path = Path(__file__).parents[2] / "pipelines/profiles/smoke.yaml"
    content = yaml.safe_load(path.read_text())
    lines = yaml.safe_load(profile_lines(START, {"learning_rate": 2.0e-5, "region": [2, 2]}))
    content["variants"]["region-4x4"] |= lines["variants"]["region-4x4"]
    found = {variant.data.name: variant for variant in resolve_profile("smoke", content).variants[1::2]}
    assert found["ade20k"].recipe.learning_rate == 2.0e-5 and found["ade20k"].model.region == (2, 2)
    assert found["cityscapes"].recipe == SMOKE_VARIANTS["cityscapes", "region-4x4"].recipe


def test_the_result_has_all_trials_or_is_empty(profile: Profile, tmp_path: Path) -> None:
    run, path = SearchRun(profile, START), tmp_path / "result.json"
    assert read_result(path)["datasets"] == {}
    trained(run, 0, 0.3)
    write_result(path, "smoke", profile.search, [START], {"ade20k": run.ended})
    found = read_result(path)["datasets"]["ade20k"]
    assert found["best"] == 0 and found["trials"] == [run.records[0].to_dict()]
    write_result(path, "smoke")
    assert read_result(path)["search"] is None and read_result(path)["datasets"] == {}
    path.write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        read_result(path)
