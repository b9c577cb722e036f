"""A search on one data set: its trials, their records in the run folders, and what is still to be trained."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from regproxy.config.profile import Profile
from regproxy.config.search import Search, with_values
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError
from regproxy.runs.fingerprint import hash_json
from regproxy.runs.history import read_history
from regproxy.runs.result import result_parts
from regproxy.runs.search_record import SearchTrial, best_trial, read_trial
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.trial import Trial, Workspace
from regproxy.storage.remote import Storage

Draw = Callable[[Search, int, Iterable[tuple[Mapping[str, Any], float]]], dict[str, Any]]


class SearchRun:
    """The search of a profile on the data set of `start`, the variant whose settings are searched.

    The run folder of trial `number` is `search/<profile>/<data set>/<number>/`, or below the shared storage.
    Its record there is all that a search needs to continue after it was killed.

    Attributes:
        trials: the trials by number, with the variant as it is before its values are drawn.
        records: the record of each trial that has started, by number.

    Raises:
        DataError: the data set is not prepared.
        StorageError: the shared storage cannot be used.
    """

    def __init__(self, profile: Profile, start: Variant, shared: SharedStorage | None = None) -> None:
        self.settings, self.start, self._shared = profile.search, start, shared
        folder = f"search/{profile.name}/{start.data.name}"
        self._folder = f"{shared.storage.url}/{folder}" if shared else str(Path(folder).absolute())
        self.trials = [
            Trial(
                profile=profile.name,
                variant=replace(start, name=f"search-{number}"),
                seed=self.settings.seed,
                workspace=Workspace(
                    data_dir=str(Path("data/prepared", profile.name, start.data.name).absolute()),
                    run_dir=f"{self._folder}/{number}",
                    pretrained_dir=str(Path(profile.pretrained_dir).absolute()),
                ),
            )
            for number in range(self.settings.trials)
        ]
        read = map(self._read, range(self.settings.trials))
        self.records = {record.number: record for record in read if record}
        for number, record in self.records.items():
            if record.state == "started":
                self._finish_if_trained(number)

    def pending(self, *, retry_failed: bool) -> list[int]:
        """Return the numbers of the trials to train.

        A trial that failed is trained again if `retry_failed` is set or if no trial has finished: most losses
        that became infinite do so again.
        """
        done = {"finished"}
        if self.settings.early_stopping:
            done.add("stopped early")
        if not retry_failed and best_trial(self.ended):
            done.add("failed")
        ended = {number for number, record in self.records.items() if record.state in done}
        return [number for number in range(len(self.trials)) if number not in ended]

    @property
    def ended(self) -> list[SearchTrial]:
        """The records of the trials that have ended, in order."""
        return [self.records[n] for n in sorted(self.records) if self.records[n].state != "started"]

    def located(self, numbers: Iterable[int]) -> list[Trial]:
        """Return trials as the cluster trains them; upload their data and weights to the shared storage."""
        trials = [self.trials[number] for number in numbers]
        if self._shared is None:
            return trials
        uploaded = self._shared.upload_inputs(trials)
        return [
            there.moved(run_dir=here.workspace.run_dir) for here, there in zip(trials, uploaded, strict=True)
        ]

    def begin(self, number: int, draw: Draw) -> dict[str, Any]:
        """Return the values of a trial that starts or restarts, and record that it has started.

        Args:
            number: of the trial.
            draw: returns the values of a new trial from settings, number, and values and mIoU (0..1) of the
                trials that have ended; those of a failed trial count as 0.
        """
        record = self.records.get(number)
        if record is None:
            scored = [
                (trial.values, 0.0 if trial.state == "failed" else trial.val_miou) for trial in self.ended
            ]
            values = draw(self.settings, number, scored)
            record = SearchTrial(number=number, values=values, fingerprint=self._fingerprint(number, values))
        self._write(replace(record, state="started", error=None))
        return dict(record.values)

    def validated(self, number: int, step: int, val_miou: float) -> None:
        """Record a validation of a trial after `step` steps."""
        record = self.records[number]
        validations = dict(record.validations) | {step: val_miou}
        self._write(replace(record, validations=tuple(sorted(validations.items()))))

    def end(self, number: int, *, step: int, steps: int, error: str | None) -> None:
        """Record the end of a trial after `step` of `steps` steps and remove its weights.

        The checkpoints of a failed trial remain.
        """
        state = "failed" if error else "finished" if step == steps else "stopped early"
        if number in self.records:
            self._write(replace(self.records[number], state=state, steps=step, error=error))
        if not error:
            for name in ("model.safetensors", "checkpoints", "files.json"):
                self._storage(number).remove(name)

    def _storage(self, number: int) -> Storage:
        return Storage(f"{self._folder}/{number}")

    def _write(self, record: SearchTrial) -> None:
        self.records[record.number] = record
        record.write(self._storage(record.number))

    def _read(self, number: int) -> SearchTrial | None:
        """Return the record of a trial; None if there is none or if it belongs to another search."""
        record = read_trial(self._storage(number))
        if record is None or record.values.keys() != self.settings.space.keys():
            return None
        try:
            if record.fingerprint != self._fingerprint(number, record.values):
                return None
        except ConfigError:  # this version does not know the values
            return None
        return record

    def _finish_if_trained(self, number: int) -> None:
        """Record the end of a trial that finished on this machine when the search had been killed."""
        record = self.records[number]
        run = self._with_values(number, record.values).finished_record()
        if run is None:
            return
        history = read_history(Path(self.trials[number].workspace.run_dir) / "metrics.jsonl")
        scores = tuple((entry["step"], entry["val_miou"]) for entry in history if "val_miou" in entry)
        self.records[number] = replace(record, validations=scores)
        self.end(number, step=run["steps"], steps=run["steps"], error=None)

    def _with_values(self, number: int, values: Mapping[str, Any]) -> Trial:
        trial = self.trials[number]
        return replace(trial, variant=with_values(trial.variant, values))

    def _fingerprint(self, number: int, values: Mapping[str, Any]) -> str:
        """Return the hash of all that a trial's mIoU depends on: training, scoring, and how it was drawn."""
        drawn = {"sampler": self.settings.sampler, "space": repr(self.settings.space)}
        return hash_json({**result_parts(self._with_values(number, values)), **drawn})
