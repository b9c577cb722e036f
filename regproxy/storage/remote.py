"""A folder behind a URL of fsspec's (s3://, gs://, file://, ...): whole files in, verified files out.

Object stores show a file when it is complete. Where there are renames instead, a file is written under a
temporary name first. Either way nobody ever reads half of one.
"""

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from regproxy.errors import DamagedError, StorageError

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # before each new attempt: an outage of a minute is sat out
_DOWNLOADS = 3  # of a file whose content is not what was promised
_RENAMING = {"file", "local", "sftp", "ssh", "hdfs", "smb"}
_LASTING = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
_LASTING_NAMES = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError")  # of botocore


def is_url(place: str | Path) -> bool:
    return "://" in str(place)


@dataclass(frozen=True)
class Storage:
    """A folder of a storage; names are relative to it, with slashes."""

    url: str

    def __truediv__(self, name: str) -> "Storage":
        return Storage(f"{self.url.rstrip('/')}/{name}")

    def filesystem(self) -> tuple[Any, str]:
        """Returns fsspec's file system and the folder's path in it; raises StorageError for a bad URL."""
        try:
            return fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise StorageError(f"{self.url} cannot be opened: {_line(error)}") from None

    def names(self) -> list[str]:
        """Returns the names of files and folders directly in here, sorted, [] where there is no folder."""

        def attempt(fs: Any, path: str) -> list[str]:
            with contextlib.suppress(FileNotFoundError):
                found = [entry.rstrip("/").rsplit("/", 1)[-1] for entry in fs.ls(path, detail=False)]
                return sorted(name for name in found if name and not name.endswith(".part"))
            return []

        return self._retried("list", None, attempt)

    def size(self, name: str) -> int | None:
        """Returns a file's bytes, None where there is no such file."""

        def attempt(fs: Any, path: str) -> int | None:
            with contextlib.suppress(FileNotFoundError):
                return fs.info(path)["size"]
            return None

        return self._retried("look at", name, attempt)

    def read(self, name: str) -> bytes | None:
        """Returns a small file's content, None where there is no such file."""

        def attempt(fs: Any, path: str) -> bytes | None:
            with contextlib.suppress(FileNotFoundError):
                return fs.cat_file(path)
            return None

        return self._retried("read", name, attempt)

    def write(self, name: str, content: bytes) -> None:
        """Puts a small file there, at once or not at all."""
        self._retried("write", name, _whole(lambda fs, path: fs.pipe_file(path, content)))

    def put(self, file: Path, name: str) -> None:
        """Puts a copy of a local file there, at once or not at all."""
        self._retried("write", name, _whole(lambda fs, path: fs.put_file(str(file), path)))

    def get(self, name: str, target: Path, *, sha256: str) -> None:
        """Fetches a file, which stands at `target` only if its content is the promised one.

        Raises:
            DamagedError: it is missing, or comes with another content however often it is fetched.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
        try:
            for turn in range(_DOWNLOADS):
                try:
                    self._retried(
                        "fetch", name, lambda fs, path: fs.get_file(path, str(part)), FileNotFoundError
                    )
                except FileNotFoundError:
                    raise DamagedError(f"{self.url}/{name} is missing") from None
                if file_sha256(part) == sha256:
                    os.replace(part, target)
                    return
                if turn + 1 < _DOWNLOADS:
                    time.sleep(WAITS_S[turn])
        finally:
            part.unlink(missing_ok=True)
        raise DamagedError(f"{self.url}/{name} is damaged: its sha256 is not the manifest's")

    def remove(self, name: str) -> None:
        """Removes a file or a folder with all in it, if it is there."""

        def attempt(fs: Any, path: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                fs.rm(path, recursive=True)

        self._retried("remove", name, attempt)

    def _retried(
        self, verb: str, name: str | None, attempt: Callable[[Any, str], Any], *passed: type[Exception]
    ) -> Any:
        place = self / name if name else self
        fs, path = place.filesystem()
        for wait in (*WAITS_S, None):
            try:
                fs.invalidate_cache()  # others write here too
                return attempt(fs, path)
            except passed:
                raise
            except Exception as error:  # every file system has errors of its own
                if isinstance(error, _LASTING) or type(error).__name__ in _LASTING_NAMES:
                    raise StorageError(f"cannot {verb} {place.url}: {_line(error)}") from error
                if wait is None:
                    tries = len(WAITS_S) + 1
                    raise StorageError(
                        f"cannot {verb} {place.url}, tried {tries} times: {_line(error)}; run again to go on"
                    ) from error
            time.sleep(wait)


def _whole(write: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    def attempt(fs: Any, path: str) -> None:
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        if not protocols & _RENAMING:
            write(fs, path)
            return
        parent, name = path.rsplit("/", 1)
        fs.makedirs(parent, exist_ok=True)
        part = f"{parent}/.{name}.{uuid.uuid4().hex[:8]}.part"
        try:
            write(fs, part)
            fs.mv(part, path)
        except BaseException:
            with contextlib.suppress(Exception):
                fs.rm(part)
            raise

    return attempt


def file_sha256(file: Path) -> str:
    """Returns the SHA-256 of a local file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
