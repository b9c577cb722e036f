"""Faults for real, on clusters of several simulated nodes: workers, nodes and drivers die, weights do not.

Each trained weight is compared, bit by bit, with that of the same training left alone.
"""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_runs import EVERY, RECIPE, add_node, finish, report_recoveries
from faulty_trials import Fault, Scenario, events
from run_comparison import assert_same_run
from workers import train_together

from regproxy.config.profile import Resources
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import run_to_end

pytestmark = pytest.mark.soak
MakeTrial = Callable[..., Trial]


def test_dead_workers_and_nodes_change_nothing(
    make_trial: MakeTrial, run: Callable, cluster: Any, tmp_path: Path
) -> None:
    """kill -9 at a random step, right after a resume, amid a checkpoint; SIGTERM; a node with all it runs."""
    draw = random.Random(7)
    first, second, stop, last = (draw.randrange(EVERY + 1, 2 * EVERY) for _ in range(4))
    faults = {
        "killed": [Fault(what="kill", attempt=1, after=first), Fault(what="kill", attempt=2, after=1)],
        "checkpoint": [Fault(what="checkpoint", attempt=1, after=second)],
        "signalled": [Fault(what="term", attempt=1, after=stop)],
        "node": [Fault(what="node", attempt=1, after=last)],
    }
    trials = {name: make_trial(run=name, **RECIPE) for name in faults}
    whole = make_trial(run="whole", **RECIPE)
    run_to_end(train(whole, Context()))
    scenario = Scenario(
        trials=list(trials.values()),
        log=str(tmp_path / "log"),
        faults={trials[name].workspace.run_dir: each for name, each in faults.items()},
    )
    errors = finish(run(scenario), scenario)
    add_node(cluster)
    assert errors == {trial.workspace.run_dir: None for trial in trials.values()}
    for trial in trials.values():
        assert_same_run(trial, whole)
        report_recoveries(scenario, trial)

    def resumed(name: str) -> list[int]:
        return [event["step"] for event in events(scenario, trials[name], "begin")]

    assert resumed("killed") == [0, EVERY, EVERY]
    assert resumed("checkpoint") == [0, EVERY]
    assert resumed("signalled") == [0, stop]
    assert resumed("node") == [0, EVERY]
    before, after = (event["node"] for event in events(scenario, trials["node"], "start"))
    assert before != after


def test_dead_loaders_and_noticed_nodes_change_nothing(
    make_trial: MakeTrial, run: Callable, cluster: Any, tmp_path: Path
) -> None:
    """A process that loads data is killed; a node is told that its machine will be gone."""
    whole = make_trial(run="whole", **RECIPE)
    run_to_end(train(whole, Context()))
    loader = make_trial(run="loader", **RECIPE, loader_workers=1)
    noticed = make_trial(run="noticed", **RECIPE)
    faults = {
        loader.workspace.run_dir: [Fault(what="loader", attempt=1, after=EVERY + 2)],
        noticed.workspace.run_dir: [Fault(what="drain", attempt=1, after=EVERY + 2)],
    }
    trials, log = [loader, noticed], str(tmp_path / "log")
    scenario = Scenario(trials=trials, log=log, faults=faults, step_s=0.2)
    assert finish(run(scenario), scenario) == {trial.workspace.run_dir: None for trial in trials}
    for trial in trials:
        assert_same_run(trial, whole)
        report_recoveries(scenario, trial)
    first, second = (event["step"] for event in events(scenario, loader, "begin"))
    assert first == 0 and second >= EVERY  # torch raises in the training, or at a report, where it is closed
    made = [event["made"] for event in events(scenario, noticed, "step") if event["attempt"] == 1]
    assert [event["step"] for event in events(scenario, noticed, "begin")] == [0, made[-1]]
    before, after = (event["node"] for event in events(scenario, noticed, "start"))
    assert before != after
    (gone,) = (node for node in cluster.list_all_nodes() if node.node_id == before)
    cluster.remove_node(gone)
    add_node(cluster)


def test_dead_driver_and_interrupt_change_nothing(
    make_trial: MakeTrial, run: Callable, tmp_path: Path
) -> None:
    """The driver is killed, the next run is stopped by Ctrl-C, the one after that ends in the same bits."""
    trial, whole = make_trial(run="trial", **RECIPE), make_trial(run="whole", **RECIPE)
    run_to_end(train(whole, Context()))
    faults = [Fault(what="driver", attempt=1, after=7), Fault(what="interrupt", attempt=2, after=1)]
    scenario = Scenario(
        trials=[trial], log=str(tmp_path / "log"), faults={trial.workspace.run_dir: faults}, step_s=0.2
    )
    assert run(scenario).wait(timeout=120) == -signal.SIGKILL
    assert run(scenario).wait(timeout=120) == 128 + signal.SIGINT
    assert trial.finished_record() is None
    assert finish(run(scenario), scenario) == {trial.workspace.run_dir: None}
    assert_same_run(trial, whole)
    killed, stopped, last = (event["step"] for event in events(scenario, trial, "begin"))
    made = [event["made"] for event in events(scenario, trial, "step") if event["attempt"] == 2]
    assert (killed, stopped, last) == (0, EVERY, EVERY + made[-1])


def test_crash_without_progress_ends_the_trial_alone(
    make_trial: MakeTrial, run: Callable, tmp_path: Path
) -> None:
    """A segfault at every start is an error; a trial that dies more often but makes progress is not."""
    crashing, dying = make_trial(run="crashing", **RECIPE), make_trial(run="dying", **RECIPE)
    deaths = 2 * [EVERY - 1] + [EVERY + 1] + 2 * [EVERY - 1]
    faults = {
        crashing.workspace.run_dir: [Fault(what="start", attempt=attempt) for attempt in range(1, 20)],
        dying.workspace.run_dir: [
            Fault(what="kill", attempt=a, after=n) for a, n in enumerate(deaths, start=1)
        ],
    }
    scenario = Scenario(trials=[crashing, dying], log=str(tmp_path / "log"), faults=faults)
    errors = finish(run(scenario), scenario)
    assert "died 4 times" in errors[crashing.workspace.run_dir]
    assert errors[dying.workspace.run_dir] is None
    assert len(events(scenario, crashing, "start")) == 4
    assert len(events(scenario, dying, "start")) == 6


def test_workers_of_one_training_die_and_stop_together(
    make_trial: MakeTrial, run: Callable, cluster: Any, tmp_path: Path
) -> None:
    """Ray Train on two nodes: rank 1 killed, then signalled, then its node lost and another one added."""
    whole, trial = (make_trial(run=name, **RECIPE) for name in ("whole", "trial"))
    faults = [
        Fault(what="kill", attempt=1, after=7, rank=1),
        Fault(what="term", attempt=2, after=2, rank=1),
        Fault(what="node", attempt=3, after=3, rank=1),
    ]
    log = str(tmp_path / "log")
    two = Resources(workers=2)
    scenario = Scenario(
        trials=[trial], log=log, resources=two, faults={trial.workspace.run_dir: faults}, step_s=0.2
    )
    process = run(scenario)
    while len(events(scenario, trial, "fault", rank=1)) < 3:
        assert process.poll() is None
        time.sleep(0.2)
    add_node(cluster)
    assert finish(process, scenario) == {trial.workspace.run_dir: None}
    train_together(whole, 2)
    assert_same_run(trial, whole)
    report_recoveries(scenario, trial, rank=1)
    resumed = [event["step"] for event in events(scenario, trial, "begin")]
    made = [
        max(e["made"] for e in events(scenario, trial, "step") if e["attempt"] == a) for a in (1, 2, 3, 4)
    ]
    assert resumed[:2] == [0, EVERY]
    assert resumed[2] == EVERY + made[1], "the signalled workers left no checkpoint where they stopped"
    assert resumed[3] >= resumed[2]
    assert len(resumed) == 4


def test_trials_wait_for_nodes_and_uses_those_that_join(
    make_trial: MakeTrial, run: Callable, cluster: Any, tmp_path: Path
) -> None:
    """Two trainings of three workers on two CPUs: neither starts, nor locks the other out, until it fits."""
    trials = [make_trial(run=f"{n}", seed=n, **{**RECIPE, "batch_size": 6, "steps": 4}) for n in range(2)]
    scenario = Scenario(trials=trials, log=str(tmp_path / "log"), resources=Resources(workers=3))
    process = run(scenario)
    time.sleep(15)
    assert process.poll() is None
    assert not any(events(scenario, trial, "start") for trial in trials)
    node = add_node(cluster)
    assert finish(process, scenario) == {trial.workspace.run_dir: None for trial in trials}
    used = {event["node"] for rank in range(3) for event in events(scenario, trials[0], "start", rank=rank)}
    assert node.node_id in used and len(used) == 3
