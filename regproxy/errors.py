"""The errors that a user can cause; every other exception is a bug.

The command line and the pipeline's stages print a `UserError` as one line and exit with a non-zero status.
Any other exception shows its traceback.
"""


class UserError(Exception):
    """A mistake that the user can correct; the message says what came, what is allowed and what to do."""


class ConfigError(UserError, ValueError):
    """A profile, a command-line option or an environment variable has an invalid value."""


class DataError(UserError, ValueError):
    """An image, a label, a shard or a file of weights cannot be used."""


class StorageError(DataError):
    """A storage location cannot be used; the message names the URL, the operation and the answer."""


class DamagedError(StorageError):
    """A stored file is missing, or its checksum differs from the recorded one."""
