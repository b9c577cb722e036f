"""YAML files, read strictly: a key that occurs twice in one mapping is an error."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from regproxy.errors import ConfigError


class _StrictLoader(yaml.SafeLoader):
    """YAML loader that refuses repeated keys, of which PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                mark = node.value[index][0].start_mark
                raise yaml.MarkedYAMLError(problem=f"key {key!r} occurs twice", problem_mark=mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        FileNotFoundError: there is no such file.
        ConfigError: the file is not UTF-8 or not YAML, or a mapping has a key twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ConfigError(f"{path} is not valid YAML: {line}{error.problem}. Correct it.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}. Correct it.") from None
