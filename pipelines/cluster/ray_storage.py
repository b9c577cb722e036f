"""Where Ray writes its own files, which are not needed after the trials have ended.

They are written to `.ray` on this machine, or on the storage that all nodes of the cluster share.
"""

import shutil
from pathlib import Path
from typing import Any

from regproxy.runs.trial import Trial
from regproxy.storage.remote import Storage, is_url

_RUN_DEPTH = 5  # runs/<profile>/<data set>/<variant>/<seed>


def ray_storage(trial: Trial) -> dict[str, Any]:
    """Return the arguments of Tune's or Train's RunConfig that set where Ray writes its files."""
    if not is_url(trial.run_dir):
        return {"storage_path": str(_local(trial))}
    import pyarrow.fs

    fs, path = (_remote_root(trial) / ".ray" / trial.profile).filesystem()
    handler = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))
    return {"storage_path": path, "storage_filesystem": handler}


def clear_ray_storage(trial: Trial) -> None:
    """Remove Ray's files of an earlier run of the profile."""
    if is_url(trial.run_dir):
        (_remote_root(trial) / ".ray").remove(trial.profile)
    else:
        shutil.rmtree(_local(trial), ignore_errors=True)


def _local(trial: Trial) -> Path:
    return Path(".ray").absolute() / trial.profile


def _remote_root(trial: Trial) -> Storage:
    return Storage(trial.run_dir.rsplit("/", _RUN_DEPTH)[0])
