"""The storage that the nodes of a cluster share: a folder behind REGPROXY_STORAGE, a URL of fsspec.

<storage>/data/<profile>/<data set>/             prepared data, see stored_data.py
<storage>/pretrained/<name>/                     weights
<storage>/runs/<profile>/<data set>/<variant>/<seed>/
<storage>/results/<profile>/, <storage>/reports/<profile>/
"""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from regproxy.config.dataset import DataConfig
from regproxy.data.prepared import manifest_sha256
from regproxy.errors import ConfigError, StorageError
from regproxy.model.pretrained import weights_file
from regproxy.runs.stored_data import data_folder, upload_prepared
from regproxy.runs.stored_run import download_run
from regproxy.runs.trial import Trial
from regproxy.storage.folders import download_folder, upload_folder
from regproxy.storage.remote import Storage, is_url

_VARIABLE = "REGPROXY_STORAGE"


@dataclass(frozen=True)
class SharedStorage:
    """The shared storage of a cluster, as the driver uses it."""

    storage: Storage

    @classmethod
    def from_environment(cls) -> "SharedStorage | None":
        """Return the storage at REGPROXY_STORAGE; None if the variable is not set.

        Raises:
            ConfigError: the variable is not a URL.
        """
        url = os.environ.get(_VARIABLE)
        if not url:
            return None
        if not is_url(url):
            raise ConfigError(
                f"{_VARIABLE} is invalid: expected a URL such as s3://bucket/folder or file:///folder; "
                f"got {url!r}"
            )
        return cls(Storage(url.rstrip("/")))

    def locate(self, trial: Trial) -> Trial:
        """Return the trial with its data, weights and run folder on the storage."""
        name, data = f"{trial.profile}/{trial.variant.data.name}", manifest_sha256(trial.workspace.data_dir)
        return trial.moved(
            data_dir=data_folder(self.storage, trial.profile, trial.variant.data.name, data).url,
            run_dir=f"{self.storage.url}/runs/{name}/{trial.variant.name}/{trial.seed}",
            pretrained_dir=f"{self.storage.url}/pretrained",
        )

    def upload_inputs(self, trials: list[Trial]) -> list[Trial]:
        """Upload the data and weights that trials need; return the trials with their paths on the storage."""
        located = [self.locate(trial) for trial in trials]
        for trial in {trial.workspace.data_dir: trial for trial in trials}.values():
            self.upload_data(trial.profile, trial.variant.data, Path(trial.workspace.data_dir))
        files = {  # a user's own file is not uploaded: the profile names its path on every node
            weights_file(trial.variant.model, Path(trial.workspace.pretrained_dir))
            for trial in trials
            if trial.variant.model.pretrain != "file"
        }
        for file in files - {None}:
            upload_folder(file.parent, self.storage / f"pretrained/{file.stem}", [file.name])
        return located

    def upload_data(self, profile: str, data: DataConfig, directory: Path) -> str:
        """Upload a prepared data set unless it is there, print how many files that took; return its URL."""
        url, num_files = upload_prepared(self.storage, profile, data, directory)
        if num_files:
            print(f"{num_files} files of {directory} uploaded to {url}")
        return url

    def download_finished(self, trials: list[Trial]) -> None:
        """Download the finished runs that are missing here."""
        for trial in trials:
            if trial.finished_record() is None:
                download_run(
                    Storage(self.locate(trial).workspace.run_dir),
                    Path(trial.workspace.run_dir),
                    trial.fingerprint,
                )

    def download_ended(self, trial: Trial, error: str | None) -> str | None:
        """Download a trial's run, or its error.log; return the trial's error, or that of the download."""
        run, directory = Storage(self.locate(trial).workspace.run_dir), Path(trial.workspace.run_dir)
        try:
            if error is None:
                found = download_run(run, directory, trial.fingerprint)
                return None if found else f"there is no finished run at {run.url}"
            if log := run.read("error.log"):
                Storage(trial.workspace.run_dir).write("error.log", log)
        except (StorageError, OSError) as problem:
            return error or str(problem)
        return error

    def download_results(self, profile: str) -> None:
        """Download the scores of an earlier driver, unless there are scores here."""
        if not Path("results", profile).exists():
            download_folder(self.storage / f"results/{profile}", Path("results", profile))

    def try_upload_results(self, profile: str) -> None:
        """Upload results/<profile> between two scores; ignore a storage error, another upload follows."""
        with contextlib.suppress(StorageError):
            upload_folder(Path("results", profile), self.storage / f"results/{profile}")

    def upload_results(self, profile: str) -> None:
        """Upload results/<profile>."""
        self._upload(f"results/{profile}")

    def upload_report(self, profile: str) -> None:
        """Upload reports/<profile>."""
        self._upload(f"reports/{profile}")

    def _upload(self, folder: str) -> None:
        upload_folder(Path(folder), self.storage / folder)
        print(f"uploaded to {self.storage.url}/{folder}", file=sys.stderr)
