"""The errors that a user can cause. Every other exception is a bug.

The command line and the pipeline's stages print a `UserError` as one line and exit with a non-zero status.
Any other exception shows its traceback.
"""

import contextlib
import errno
from collections.abc import Iterator

# What the operating system answers when a user's file system is full, read-only or closed to the user.
_USER_ERRNOS = frozenset(
    {errno.EACCES, errno.EDQUOT, errno.ENAMETOOLONG, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)


class UserError(Exception):
    """A mistake that the user can correct. Its message gives what came, what is allowed and what to do."""


class ConfigError(UserError):
    """A profile, a command-line option or an environment variable has an invalid value."""


class DataError(UserError):
    """An image, a label, a shard or a file of weights cannot be used."""


class StorageError(DataError):
    """A storage location cannot be used; the message gives the URL, the operation and the answer."""


class DamagedError(StorageError):
    """A stored file is missing, or its checksum differs from the recorded one."""


@contextlib.contextmanager
def file_system_errors() -> Iterator[None]:
    """Turn an OSError about a full disk, a missing permission or an unusable path into a StorageError.

    Any other OSError passes unchanged, because it may be a bug.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _USER_ERRNOS:
            raise
        place = error.filename2 or error.filename or "a file"
        raise StorageError(
            f"cannot use {place}: {error.strerror}. Free the disk or change the path."
        ) from error
