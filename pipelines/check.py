"""Check params.yaml, every profile that it names, and the folders. `make repro` does this before it starts.

python -m pipelines.check
"""

import sys
from pathlib import Path

from pipelines.stage import check_name
from regproxy.config.parse import choose
from regproxy.config.profile_file import load_profile
from regproxy.config.yaml_file import read_yaml
from regproxy.errors import ConfigError, UserError

_REMEDY = "Write profiles: [demo] into it."
_FOLDERS = ("data", "data/demo", "data/prepared", "runs", "results", "search", "complexity", "reports")


def check_params(path: Path = Path("params.yaml")) -> list[str]:
    """Load every profile that a parameter file names and return their names.

    Raises:
        ConfigError: the file is missing or has no list of profiles, or a profile is invalid.
    """
    try:
        params = read_yaml(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing. {_REMEDY}") from None
    if not isinstance(params, dict):
        raise ConfigError(f"{path} is invalid: expected the key profiles; got {params!r}. {_REMEDY}")
    for key in params:
        choose(key, ["profiles"], f"{path}: key")
    names = params.get("profiles")
    if not isinstance(names, list) or not names:
        raise ConfigError(f"{path}: profiles is invalid: expected a list of names; got {names!r}. {_REMEDY}")
    for name in names:
        load_profile(check_name(str(name)))
        if names.count(name) > 1:
            raise ConfigError(f"{path} lists profile {name} {names.count(name)} times: list it once")
    return names


def check_folders() -> None:
    """Raise ConfigError if a folder that the stages write to is a link: DVC does not write through links."""
    for name in _FOLDERS:
        if Path(name).is_symlink():
            raise ConfigError(
                f"{name} is a link to {Path(name).resolve()}, and DVC does not write through links. "
                "Put the clone on that disk, or mount the disk's folder there: mount --bind. "
                "Links to raw data, such as data/camvid, are fine."
            )


def main() -> int:
    try:
        check_params()
        check_folders()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
