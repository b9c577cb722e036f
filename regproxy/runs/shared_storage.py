"""What a driver and the nodes of its cluster exchange through REGPROXY_STORAGE, a URL of fsspec's.

<storage>/data/<profile>/<data set>/<digest>/    shards and manifest
<storage>/pretrained/                            weights and their SHA-256
<storage>/runs/<profile>/<data set>/<variant>/<seed>/
<storage>/results/<profile>/, <storage>/reports/<profile>/
"""

import contextlib
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from regproxy.data.prepared import data_digest
from regproxy.data.shards import MANIFEST, read_manifest
from regproxy.errors import ConfigError, StorageError
from regproxy.model.pretrained import weights_file
from regproxy.runs.stored_run import download_run
from regproxy.runs.trial import Trial
from regproxy.storage.folders import pull_folder, push_folder
from regproxy.storage.remote import Storage, file_sha256, is_url

_VARIABLE = "REGPROXY_STORAGE"


@dataclass(frozen=True)
class Exchange:
    """A storage that all nodes of a cluster reach, seen from the driver."""

    storage: Storage

    @classmethod
    def from_environment(cls) -> "Exchange | None":
        """Returns the exchange over REGPROXY_STORAGE, None where it is not set.

        Raises:
            ConfigError: it is no URL.
        """
        url = os.environ.get(_VARIABLE)
        if not url:
            return None
        if not is_url(url):
            raise ConfigError(
                f"{_VARIABLE} is {url!r}, give a URL such as s3://bucket/folder or file:///folder"
            )
        return cls(Storage(url.rstrip("/")))

    def place(self, trial: Trial) -> Trial:
        """Returns the trial as a node finds it: data, weights and run on the storage."""
        name, data = f"{trial.profile}/{trial.variant.data.name}", data_digest(trial.data_dir)
        return replace(
            trial,
            data_dir=f"{self.storage.url}/data/{name}/{data[:16]}",
            run_dir=f"{self.storage.url}/runs/{name}/{trial.variant.name}/{trial.seed}",
            pretrained_dir=f"{self.storage.url}/pretrained",
        )

    def offer(self, trials: list[Trial]) -> list[Trial]:
        """Uploads what the trials need and the storage lacks; returns them as nodes find them."""
        places = [self.place(trial) for trial in trials]
        for local, url in {
            trial.data_dir: place.data_dir for trial, place in zip(trials, places, strict=True)
        }.items():
            copied = upload_data(Path(local), Storage(url))
            if copied:
                print(f"{copied} files of {local} uploaded to {url}")
        for file in {weights_file(trial.variant.model, Path(trial.pretrained_dir)) for trial in trials} - {
            None
        }:
            upload_weights(file, self.storage / "pretrained")
        return places

    def bring_finished(self, trials: list[Trial]) -> None:
        """Brings the runs that have finished on the cluster and are not here."""
        for trial in trials:
            if trial.finished_record() is None:
                download_run(Storage(self.place(trial).run_dir), Path(trial.run_dir), trial.fingerprint)

    def bring_ended(self, trial: Trial, error: str | None) -> str | None:
        """Brings a trial's run, or its error.log; returns the trial's error, or that of bringing it."""
        run, directory = Storage(self.place(trial).run_dir), Path(trial.run_dir)
        try:
            if error is None:
                found = download_run(run, directory, trial.fingerprint)
                return None if found else f"it left no finished run at {run.url}"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "error.log").write_bytes(run.read("error.log") or b"")
        except StorageError as problem:
            return error or str(problem)
        return error

    def bring_results(self, profile: str) -> None:
        """Brings the scores that an earlier driver has left, unless there are some here."""
        if not Path("results", profile).exists():
            pull_folder(self.storage / f"results/{profile}", Path("results", profile))

    def keep_results(self, profile: str) -> None:
        """Copies results/<profile> to the storage."""
        self._keep(Path("results", profile))

    def keep_results_so_far(self, profile: str) -> None:
        """Does so in between; where it cannot be done, the next time does it."""
        with contextlib.suppress(StorageError):
            push_folder(Path("results", profile), self.storage / f"results/{profile}")

    def keep_report(self, profile: str) -> None:
        """Copies reports/<profile> to the storage."""
        self._keep(Path("reports", profile))

    def _keep(self, directory: Path) -> None:
        push_folder(directory, self.storage / directory.as_posix())
        print(f"copied to {self.storage.url}/{directory}", file=sys.stderr)


def upload_data(directory: Path, target: Storage) -> int:
    """Uploads a prepared data set, its manifest last; returns how many files had to be copied.

    The folder on the storage is named after the manifest, hence after all content, and nothing in it is ever
    half there: a file of the right size is the right file.
    """
    if target.read(MANIFEST) == (directory / MANIFEST).read_bytes():
        return 0
    shards = [shard for split in read_manifest(directory)["splits"].values() for shard in split["shards"]]
    changed = [shard["file"] for shard in shards if target.size(shard["file"]) != shard["bytes"]]
    for name in [*changed, MANIFEST]:
        target.put(directory / name, name)
    return len(changed) + 1


def upload_weights(file: Path, target: Storage) -> None:
    """Uploads a file of weights, its digest last; does nothing if it is there."""
    digest = file_sha256(file).encode()
    if target.read(f"{file.name}.sha256") != digest:
        target.put(file, file.name)
        target.write(f"{file.name}.sha256", digest)
