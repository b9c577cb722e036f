"""Remote folders at URLs that fsspec opens (s3://, gs://, file://, ...): atomic uploads, verified downloads.

An object store shows a file only when its upload is complete. A file system shows it while it is written, so
there the upload goes to a temporary name that is then renamed. Either way nobody reads an incomplete file.
"""

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from regproxy.errors import DamagedError, StorageError
from regproxy.storage.atomic import atomic_file
from regproxy.storage.hashing import file_sha256

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # before each retry: together longer than a minute's outage
_MAX_DOWNLOADS = 3  # attempts before a checksum mismatch is an error
_TEMPORARY = ".part"  # suffix of incomplete uploads
_RENAMING = {"file", "local", "sftp", "ssh", "hdfs", "smb"}  # protocols of file systems
_PERMANENT = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)  # a retry is no help
_PERMANENT_NAMES = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError")  # from botocore


def is_url(location: str | Path) -> bool:
    """Return whether a location is a URL, not a local path."""
    return "://" in str(location)


@dataclass(frozen=True)
class Storage:
    """A remote folder. Names of files are relative to it and use slashes.

    Each operation is retried for about a minute, then raises StorageError.
    """

    url: str

    def __truediv__(self, name: str) -> "Storage":
        """Return the subfolder or file `name`."""
        return Storage(f"{self.url.rstrip('/')}/{name}")

    def filesystem(self) -> tuple[Any, str]:
        """Return fsspec's file system and the folder's path in it; raise StorageError for an invalid URL."""
        try:
            return fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise StorageError(f"Cannot open {self.url}: {_one_line(error)}. Check the URL.") from None

    def names(self) -> list[str]:
        """Return the sorted names of the files and folders in this folder, [] if it does not exist."""
        paths = self._retry("list", None, _unless_missing(lambda fs, path: fs.ls(path, detail=False))) or []
        names = (path.rstrip("/").rsplit("/", 1)[-1] for path in paths)
        return sorted(name for name in names if name and not name.endswith(_TEMPORARY))

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, None if it does not exist."""
        return self._retry("get the size of", name, _unless_missing(lambda fs, path: fs.info(path)["size"]))

    def read(self, name: str) -> bytes | None:
        """Return a small file's content, None if it does not exist."""
        return self._retry("read", name, _unless_missing(lambda fs, path: fs.cat_file(path)))

    def write(self, name: str, content: bytes) -> None:
        """Write a small file; it appears complete or not at all."""
        self._retry("write", name, _atomic(lambda fs, path: fs.pipe_file(path, content)))

    def put(self, file: Path, name: str) -> None:
        """Upload a local file; it appears complete or not at all."""
        self._retry("write", name, _atomic(lambda fs, path: fs.put_file(str(file), path)))

    def get(self, name: str, target: Path, *, sha256: str) -> None:
        """Download a file to `target` with `atomic_file`, if its SHA-256 is the expected one.

        Raises:
            DamagedError: the file is missing, or each of three downloads has another SHA-256.
        """
        with atomic_file(target) as temporary:
            for wait_s in (*WAITS_S[: _MAX_DOWNLOADS - 1], 0.0):
                try:
                    self._retry(
                        "download",
                        name,
                        lambda fs, path: fs.get_file(path, str(temporary)),
                        FileNotFoundError,
                    )
                except FileNotFoundError:
                    raise DamagedError(f"{self.url}/{name} is missing. Upload it again.") from None
                if file_sha256(temporary) == sha256:
                    return
                time.sleep(wait_s)
            raise DamagedError(
                f"{self.url}/{name} is damaged: expected SHA-256 {sha256}; got {file_sha256(temporary)}. "
                f"Delete and upload it again."
            )

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its content; do nothing if it does not exist."""
        self._retry("remove", name, _unless_missing(lambda fs, path: fs.rm(path, recursive=True)))

    def _retry(
        self, verb: str, name: str | None, attempt: Callable[[Any, str], Any], *passed: type[Exception]
    ) -> Any:
        """Return `attempt(file system, path)`; retry on errors, except those of the `passed` types."""
        location = self / name if name else self
        fs, path = location.filesystem()
        for wait_s in (*WAITS_S, None):
            try:
                fs.invalidate_cache()  # other processes write here too
                return attempt(fs, path)
            except passed:
                raise
            except Exception as error:  # each file system raises its own types
                if isinstance(error, _PERMANENT) or type(error).__name__ in _PERMANENT_NAMES:
                    raise StorageError(f"Cannot {verb} {location.url}: {_one_line(error)}") from error
                if wait_s is None:
                    raise StorageError(
                        f"Cannot {verb} {location.url} (tried {len(WAITS_S) + 1} times): {_one_line(error)}. "
                        f"Check the storage, then run the command again to resume."
                    ) from error
            time.sleep(wait_s)


def _unless_missing(call: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Return `call(file system, path)` such that it returns None if the path does not exist."""

    def attempt(fs: Any, path: str) -> Any:
        with contextlib.suppress(FileNotFoundError):
            return call(fs, path)

    return attempt


def _atomic(write: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    """Return `write(file system, path)` such that its file appears complete or not at all."""

    def attempt(fs: Any, path: str) -> None:
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        if not protocols & _RENAMING:
            write(fs, path)
            return
        parent, name = path.rsplit("/", 1)
        fs.makedirs(parent, exist_ok=True)
        temporary = f"{parent}/.{name}.{uuid.uuid4().hex[:8]}{_TEMPORARY}"
        try:
            write(fs, temporary)
            fs.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                fs.rm(temporary)
            raise

    return attempt


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
