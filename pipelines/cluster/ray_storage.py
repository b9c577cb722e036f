"""Where Ray keeps its own book-keeping, which nobody needs once the trials have ended.

It lies beside the runs: on this machine, or on the storage that all nodes of the cluster reach.
"""

import shutil
from pathlib import Path
from typing import Any

from regproxy.runs.trial import Trial
from regproxy.storage.remote import Storage, is_url

_BELOW_ROOT = 5  # runs/<profile>/<data set>/<variant>/<seed>


def ray_storage(trial: Trial) -> dict[str, Any]:
    """Returns the arguments of a RunConfig of Tune's or Train's that say where it keeps its files."""
    if not is_url(trial.run_dir):
        return {"storage_path": str(_local(trial))}
    import pyarrow.fs

    fs, path = _remote(trial).filesystem()
    handler = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))
    return {"storage_path": path, "storage_filesystem": handler}


def clear_ray_storage(trial: Trial) -> None:
    """Removes what an earlier grid of the profile has left."""
    if is_url(trial.run_dir):
        place = _remote(trial)
        Storage(place.url.rsplit("/", 1)[0]).remove(trial.profile)
    else:
        shutil.rmtree(_local(trial), ignore_errors=True)


def _local(trial: Trial) -> Path:
    return Path(".ray").absolute() / trial.profile


def _remote(trial: Trial) -> Storage:
    return Storage(trial.run_dir.rsplit("/", _BELOW_ROOT)[0]) / ".ray" / trial.profile
