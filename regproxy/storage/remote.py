"""Folders at URLs that fsspec opens (s3://, gs://, file://, ...) or at local paths.

An object store shows a file only when its upload is complete. A file system shows it while it is written, so
there the upload goes to a temporary name that is then renamed. Either way nobody reads an incomplete file.
"""

import contextlib
import json
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
_PERMANENT = {  # errors that a retry does not help against; the last three are botocore's
    *("FileNotFoundError", "PermissionError", "NotADirectoryError", "IsADirectoryError"),
    *("NoCredentialsError", "PartialCredentialsError", "ParamValidationError"),
}


def is_url(location: str | Path) -> bool:
    """Return whether a location is a URL, not a local path."""
    return "://" in str(location)


@dataclass(frozen=True)
class Storage:
    """A folder at a URL or a local path. Names of files are relative to it and use slashes.

    Each operation is retried for about a minute, then raises StorageError.
    """

    url: str

    def __truediv__(self, name: str) -> "Storage":
        """Return the subfolder or file `name`."""
        return Storage(f"{self.url.rstrip('/')}/{name}")

    def filesystem(self) -> tuple[Any, str]:
        """Return fsspec's file system and the folder's path in it.

        Raises:
            StorageError: the URL is invalid, its server does not answer, or a package is not installed.
        """
        try:
            return fsspec.core.url_to_fs(self.url)
        except ImportError as error:  # fsspec's message names the package
            raise StorageError(
                f"Cannot open {self.url}: a package is not installed ({_one_line(error)}). "
                f"Install it with pip."
            ) from None
        except (ValueError, OSError) as error:  # some file systems connect at once
            raise StorageError(f"Cannot open {self.url}: {_one_line(error)}. Check the URL.") from None

    def names(self) -> list[str]:
        """Return the sorted names of the files and folders in this folder, [] if it does not exist."""
        paths = self._retry("list", "", lambda fs, path: fs.ls(path, detail=False)) or []
        names = (path.rstrip("/").rsplit("/", 1)[-1] for path in paths)
        return sorted(name for name in names if name and not name.endswith(_TEMPORARY))

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, None if it does not exist."""
        return self._retry("get the size of", name, lambda fs, path: fs.info(path)["size"])

    def read(self, name: str) -> bytes | None:
        """Return a small file's content, None if it does not exist."""
        return self._retry("read", name, lambda fs, path: fs.cat_file(path))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return the JSON object in a file, None if the file does not exist or holds something else."""
        try:
            content = json.loads(self.read(name) or b"null")
        except ValueError:
            return None
        return content if isinstance(content, dict) else None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file; it appears complete or not at all."""
        self._write(name, lambda fs, path: fs.pipe_file(path, content))

    def put(self, file: Path, name: str) -> None:
        """Upload a local file; it appears complete or not at all."""
        self._write(name, lambda fs, path: fs.put_file(str(file), path))

    def get(self, name: str, target: Path, *, sha256: str) -> None:
        """Download a file to `target` with `atomic_file`, if its SHA-256 is the expected one.

        Raises:
            DamagedError: the file is missing, or each of three downloads has another SHA-256.
        """

        def download(fs: Any, path: str) -> str:
            fs.get_file(path, str(temporary))
            return file_sha256(temporary)

        with atomic_file(target) as temporary:
            for wait_s in (*WAITS_S[: _MAX_DOWNLOADS - 1], 0.0):
                found = self._retry("download", name, download)
                if found is None:
                    raise DamagedError(f"{self.url}/{name} is missing. Upload it again.")
                if found == sha256:
                    return
                time.sleep(wait_s)
            raise DamagedError(
                f"{self.url}/{name} is damaged: expected SHA-256 {sha256}; got {found}. "
                f"Delete and upload it again."
            )

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its content; do nothing if it does not exist."""
        self._retry("remove", name, lambda fs, path: fs.rm(path, recursive=True))

    def _write(self, name: str, write: Callable[[Any, str], None]) -> None:
        def attempt(fs: Any, path: str) -> None:
            if fsspec.utils.get_protocol(self.url) not in _RENAMING:
                write(fs, path)
                return
            folder, file = path.rsplit("/", 1)
            fs.makedirs(folder, exist_ok=True)
            temporary = f"{folder}/.{file}.{uuid.uuid4().hex[:8]}{_TEMPORARY}"
            try:
                write(fs, temporary)
                fs.mv(temporary, path)
            finally:
                with contextlib.suppress(Exception):
                    fs.rm(temporary)

        self._retry("write", name, attempt)

    def _retry(self, verb: str, name: str, attempt: Callable[[Any, str], Any]) -> Any:
        """Call `attempt(file system, path)` until it succeeds and return its value.

        Return None if the file does not exist, unless the verb is "write".

        Raises:
            StorageError: the last attempt failed, or an attempt failed with an error that is permanent.
        """
        location = self / name if name else self
        fs, path = location.filesystem()
        for wait_s in (*WAITS_S, None):
            try:
                fs.invalidate_cache()  # other processes write here too
                return attempt(fs, path)
            except Exception as error:  # each file system raises its own types
                if isinstance(error, FileNotFoundError) and verb != "write":
                    return None
                permanent = not _PERMANENT.isdisjoint(kind.__name__ for kind in type(error).__mro__)
                if permanent or wait_s is None:
                    tries = "" if permanent else f" (tried {len(WAITS_S) + 1} times)"
                    raise StorageError(
                        f"Cannot {verb} {location.url}{tries}: {_one_line(error)}. "
                        f"Check the storage, then run the command again to resume."
                    ) from error
            time.sleep(wait_s)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
