"""The run of a variant, above the runs of its seeds: status, scores over the seeds, settings that differ."""

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import Run

from pipelines.tracking.connection import ACTIVE, FINGERPRINT, Connection
from pipelines.tracking.description import (
    CLASSES_PRESENT,
    NOTE,
    PARENT,
    common_tags,
    data_statistics,
    dataset_inputs,
    variant_note,
)
from pipelines.tracking.values import different_settings, score_time, seed_statistics, start_time
from regproxy.runs.classes_present import classes_present
from regproxy.runs.fingerprint import hash_json
from regproxy.runs.trial import Trial
from regproxy.storage.json_file import write_json

_STATISTICS = "regproxy.statistics"  # the tag with the SHA-256 of the data whose statistics the run has


class VariantRuns:
    """The variants' runs of one profile; `trials` are all of the profile's trials."""

    def __init__(self, mlflow: Connection, trials: Sequence[Trial], git_commit: str | None) -> None:
        self._mlflow, self._trials, self._git_commit = mlflow, trials, git_commit
        self._results: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}  # by variant and seed
        self._changed: dict[tuple[str, str], tuple[Trial, str]] = {}  # a trial of the variant, its experiment
        self._active: dict[tuple[str, str], tuple[Trial, str]] = {}  # those shown as running

    def find_or_create(self, trial: Trial, experiment: str, started: float) -> Run:
        """Return the run of a trial's variant; a new one starts at `started`, or earlier if a seed did."""
        seeds = self._seeds(trial)
        records = [record for seed in seeds if (record := seed.finished_record())]
        parts = dict(records[0]["fingerprint_parts"] if records else trial.fingerprint_parts)
        if accepted := records and records[0].get("accepted_sources"):
            parts["source"] = accepted[0]["source"]
        parts["seed"] = None
        fingerprint = f"variant {hash_json([trial.variant.name, parts])}"
        found = self._mlflow.find_runs(experiment, fingerprint)
        if found:
            run = found[0]
        else:
            started = min([started, *map(start_time, records)])
            tags = common_tags(trial.profile, trial.variant.data.name, self._git_commit)
            tags |= {FINGERPRINT: fingerprint, NOTE: variant_note(trial, len(seeds))}
            run = self._mlflow.create_run(experiment, trial.variant.name, tags, started)
        variants = [other.variant for other in self._trials if other.variant.data == trial.variant.data]
        self._mlflow.describe(run, different_settings(trial.variant, variants), dataset_inputs(trial, parts))
        self._add_statistics(run, trial, parts)
        return run

    def _add_statistics(self, run: Run, trial: Trial, parts: Mapping[str, Any]) -> None:
        """Store the statistics of the data as statistics.json, unless the run has them."""
        if run.data.tags.get(_STATISTICS) == parts["data"]:
            return
        statistics = data_statistics(trial, parts)
        if statistics is None:
            return
        with TemporaryDirectory() as folder:
            file = Path(folder, "statistics.json")
            write_json(file, {"splits": statistics.splits, "warnings": statistics.warnings})
            self._mlflow.upload(run, file)
        self._mlflow.client.set_tag(run.info.run_id, _STATISTICS, parts["data"])

    def seed_changed(self, trial: Trial, experiment: str, result: dict[str, Any] | None = None) -> None:
        """Remember that the run of a trial or its result changed, for the next `update`."""
        variant = (trial.variant.data.name, trial.variant.name)
        self._changed[variant] = trial, experiment
        if result:
            self._results.setdefault(variant, {})[trial.seed] = result

    def update(self, waiting: Collection[str], *, last: bool) -> None:
        """Bring status, end and scores of the changed variants up to date.

        Args:
            waiting: names of trials that this stage has still to train.
            last: no more results follow; without it, only variants with all their seeds get scores.
        """
        if last:
            self._changed = self._active | self._changed
            self._active.clear()
        for variant, (trial, experiment) in list(self._changed.items()):
            seeds, results = self._seeds(trial), self._results.get(variant, {})
            parent = self.find_or_create(trial, experiment, started=time.time())
            active = any(seed.name in waiting for seed in seeds)
            self._set_status(parent, experiment, active, len(seeds))
            complete = last or len(results) == len(seeds)
            if results and complete:
                newest = max(map(score_time, results.values()))
                self._mlflow.replace_metrics(parent, seed_statistics(results.values()), newest)
                if present := classes_present(results.values()):
                    self._mlflow.client.set_tag(parent.info.run_id, CLASSES_PRESENT, present)
            if active:  # until another of its seeds changes, there is nothing to do
                self._active[variant] = trial, experiment
            if active or complete or not results:
                del self._changed[variant]

    def _set_status(self, parent: Run, experiment: str, active: bool, num_seeds: int) -> None:
        """Derive status and end of a variant's run from its seeds; `active` if some are to be trained."""
        below = f"tags.`{PARENT}` = '{parent.info.run_id}'"
        runs = reversed(list(self._mlflow.client.search_runs([experiment], below)))  # the newest run last
        newest = {run.data.tags.get("seed"): run.info for run in runs}
        statuses = {info.status for info in newest.values()}
        if active or not statuses.isdisjoint(ACTIVE):
            status = "RUNNING"
        elif "FAILED" in statuses:
            status = "FAILED"
        elif "KILLED" in statuses or len(newest) < num_seeds:
            status = "KILLED"
        else:
            status = "FINISHED"
        end = max((info.end_time for info in newest.values() if info.end_time), default=None)
        if parent.info.status != status or (status != "RUNNING" and parent.info.end_time != end):
            ended = None if status == "RUNNING" else (end or parent.info.start_time) / 1000
            self._mlflow.set_status(parent.info.run_id, status, ended)

    def _seeds(self, trial: Trial) -> list[Trial]:
        """Return the trials of a trial's variant."""
        variant = trial.variant
        same = [
            other
            for other in self._trials
            if (other.variant.name, other.variant.data.name) == (variant.name, variant.data.name)
        ]
        return same or [trial]
