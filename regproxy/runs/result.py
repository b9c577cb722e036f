"""Result records: `results/<profile>/<data set>/<variant>/<seed>.json`, the scores of one finished run."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from regproxy.runs.fingerprint import SCORING, hash_json, source_hash
from regproxy.runs.record import RECORD_FORMAT, read_record
from regproxy.runs.saved_model import load_model
from regproxy.runs.scoring import score_network
from regproxy.runs.stored_run import local_run
from regproxy.runs.trial import Trial


def result_path(trial: Trial) -> Path:
    """Return where a trial's result record lies, relative to the working directory."""
    folder = Path("results", trial.profile, trial.variant.data.name, trial.variant.name)
    return folder / f"{trial.seed}.json"


def result_parts(trial: Trial) -> dict[str, str]:
    """Return what can move a score: the run's fingerprint, and hashes of settings and source code."""
    return {
        "run": trial.fingerprint,
        "evaluation": hash_json(asdict(trial.variant.evaluation)),
        "source": source_hash(trial.variant, SCORING),
    }


def is_scored(trial: Trial) -> bool:
    """Return whether the trial's result record is there and belongs to this run, settings and source."""
    record = read_record(result_path(trial))
    return record is not None and record.get("fingerprint") == hash_json(result_parts(trial))


def score_run(trial: Trial, device: torch.device) -> dict[str, Any]:
    """Score a finished run on its validation split and return the result record.

    Data and run are downloaded first if they lie on a storage.

    Raises:
        DataError: the run or the data cannot be used.
    """
    started = time.monotonic()
    local = local_run(trial)
    model = load_model(local.workspace.run_dir, device)
    scores = score_network(model, local.variant, Path(local.workspace.data_dir))
    parts = result_parts(local)
    return {
        "format": RECORD_FORMAT,
        "fingerprint": hash_json(parts),
        "fingerprint_parts": parts,
        "run_fingerprint": parts["run"],
        "profile": trial.profile,
        "dataset": trial.variant.data.name,
        "variant": trial.variant.name,
        "seed": trial.seed,
        "split": "val",
        **scores,
        "classes": list(trial.variant.data.classes),
        "seconds": round(time.monotonic() - started, 3),
        "scored": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
