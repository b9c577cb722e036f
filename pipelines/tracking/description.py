"""What a run says about itself besides numbers: tags, a sentence or two, and its data set."""

import getpass
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag

from regproxy.data.prepared import data_sha256
from regproxy.data.statistics import Statistics, read_statistics
from regproxy.errors import DataError
from regproxy.runs.trial import Trial
from regproxy.storage.remote import is_url

NOTE, COMMIT, PARENT = "mlflow.note.content", "mlflow.source.git.commit", "mlflow.parentRunId"
CLASSES_PRESENT = "classes present"  # a tag: over how many classes the mIoU is the mean
_CONTEXTS = {"train": "training", "val": "validation"}  # by split


def common_tags(profile: str, data: str, git_commit: str | None) -> dict[str, str]:
    """Return the tags that all runs of a data set have; MLflow itself shows user, source and commit."""
    tags = {"mlflow.user": user(), "mlflow.source.name": "pipelines.ablate", "mlflow.source.type": "LOCAL"}
    tags |= {"profile": profile, "data set": data}
    return tags | ({COMMIT: git_commit} if git_commit else {})


def user() -> str:
    """Return the name of the user; containers may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def experiment_note(profile: str, data: str) -> str:
    return (
        f"Profile {profile} on data set {data}: a run per variant, and below it a run per seed. "
        f"The report is in the experiment {profile}."
    )


def variant_note(trial: Trial, num_seeds: int) -> str:
    variant, seeds = trial.variant, "1 seed" if num_seeds == 1 else f"{num_seeds} seeds"
    return (
        f"{variant.model.arch} with head {variant.model.head} on {variant.data.name}, trained with {seeds}. "
        f"Each score is the median of the scored seeds; `min` and `max` in a name say their range."
    )


def trial_note(trial: Trial, error: str | None = None) -> str:
    variant, recipe = trial.variant, trial.variant.recipe
    note = (
        f"Seed {trial.seed} of variant {variant.name} on {variant.data.name}: "
        f"{recipe.steps} steps of {recipe.batch_size} images."
    )
    return f"{note}\n\n**It failed:**\n\n```\n{error}\n```" if error else note


def dataset_inputs(trial: Trial, parts: Mapping[str, Any]) -> list[DatasetInput]:
    """Return the two splits of a trial's data set; `parts` is what its fingerprint was computed from.

    Its profile holds the statistics of the split, if the prepared data are here. The digest starts with the
    SHA-256 of the data and ends with the split, because MLflow keeps one context for each name and digest.
    """
    source = json.dumps({"uri": trial.workspace.data_dir})
    statistics = data_statistics(trial, parts)
    return [
        DatasetInput(
            Dataset(
                trial.variant.data.name,
                f"{parts['data'][:16]}-{split}",
                "local",
                source,
                profile=_profile(statistics, split),
            ),
            [InputTag("mlflow.data.context", context)],
        )
        for split, context in _CONTEXTS.items()
    ]


def data_statistics(trial: Trial, parts: Mapping[str, Any]) -> Statistics | None:
    """Return the statistics of a trial's data; None if they are not here or changed since its training."""
    folder = trial.workspace.data_dir
    try:
        if is_url(folder) or data_sha256(folder) != parts["data"]:
            return None
        return read_statistics(Path(folder))
    except DataError:  # the data set is not prepared here
        return None


def _profile(statistics: Statistics | None, split: str) -> str | None:
    found = statistics and statistics.splits.get(split)
    return json.dumps(found) if found else None
