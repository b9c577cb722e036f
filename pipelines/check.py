"""Before anything runs: are params.yaml and every profile that it names sound? `make repro` asks this first.

python -m pipelines.check
"""

import sys
from pathlib import Path

import yaml

from regproxy.config.parse import choose
from regproxy.config.profile_file import load_profile
from regproxy.errors import ConfigError

_EXAMPLE = "write profiles: [demo]"


def check_params(path: Path = Path("params.yaml")) -> list[str]:
    """Loads every profile that a parameter file names and returns their names.

    Raises:
        ConfigError: the file is missing or no such list, or what `load_profile` finds wrong with a profile.
    """
    try:
        params = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing, {_EXAMPLE} into it") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML ({' '.join(str(error).split())}), {_EXAMPLE}") from None
    if not isinstance(params, dict):
        raise ConfigError(f"{path}: expected the key profiles, got {params!r}, {_EXAMPLE}")
    for key in params:
        choose(key, ["profiles"], f"{path}: key")
    names = params.get("profiles")
    if not isinstance(names, list) or not names:
        raise ConfigError(f"{path}: profiles must be a list of names, got {names!r}, {_EXAMPLE}")
    for name in names:
        load_profile(str(name))
        if names.count(name) > 1:
            raise ConfigError(f"{path}: profile {name} is named {names.count(name)} times, name it once")
    return names


def main() -> int:
    try:
        check_params()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
