"""Write a profile for a user's own images and labels, and select it."""

import re
from collections.abc import Sequence
from pathlib import Path

from regproxy.config.class_tables import Colour
from regproxy.config.profile_file import resolve_profile
from regproxy.config.yaml_file import read_yaml
from regproxy.errors import ConfigError
from regproxy.raw.folders import text_of
from regproxy.storage.atomic import atomic_file
from regproxy.suggest.data_entry import Entry, describe_data, listed
from regproxy.suggest.profile_text import flow, profile_text
from regproxy.suggest.settings import choose_settings
from regproxy.suggest.survey import Survey, survey

_PARAMS, _PROFILES = Path("params.yaml"), Path("pipelines/profiles")
_SELECTED = re.compile(r"^profiles:.*\n?(?:[ \t]*-.*\n?)*", re.MULTILINE)  # on one line or as a list


def new_profile(
    name: str,
    images: Path,
    labels: Path,
    *,
    classes: Sequence[str] = (),
    colours: Path | None = None,
    void: Sequence[int | Colour] = (),
    pretrain: str = "augreg",
    steps: int | None = None,
    gpu: bool,
    replace: bool = False,
) -> str:
    """Write `pipelines/profiles/<name>.yaml` and select it in params.yaml; return a text for the user.

    Both files are relative to the working directory, which must be the repository's root. The profile is
    checked before it becomes visible.

    Args:
        name: letters, digits, - and _.
        images, labels: folders.
        classes, colours, void: as in `describe_data`.
        pretrain, steps, gpu: as in `choose_settings`.
        replace: whether an existing profile is replaced.

    Raises:
        ConfigError: the name is invalid or taken, this is not the repository's root, or classes and settings
            do not fit the data.
        DataError: the images or labels cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ConfigError(f"the name is invalid: expected letters, digits, - and _; got {name!r}")
    path = _PROFILES / f"{name}.yaml"
    if not _PROFILES.is_dir():
        raise ConfigError(
            f"{_PROFILES.absolute()} is missing: expected the folder of profiles. "
            "Run the command in the repository's root."
        )
    if path.exists() and not replace:
        raise ConfigError(f"{path} exists. Choose another name, or replace it with --force.")
    seen = survey(images, labels, by_colour=colours is not None)
    num_train = seen.splits.num_images["train"]
    settings = choose_settings(seen.size, num_train, pretrain=pretrain, gpu=gpu, steps=steps)
    data = describe_data(
        seen,
        _root(seen),
        classes=classes,
        colours=None if colours is None else str(colours),
        void=void,
    )
    text = profile_text(name, f"{name}, {seen.total:,} images", data, num_train, settings)
    if any(map(_is_surrogate, text)):
        raise ConfigError(
            f"a folder or an ending in {text_of(seen.root)} is not UTF-8, so a profile cannot name it. "
            "Rename it."
        )
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        resolve_profile(name, read_yaml(temporary))
    with atomic_file(_PARAMS) as temporary:
        temporary.write_text(_select(name), encoding="utf-8")
    return _summary(seen, name, path, data)


def _select(name: str) -> str:
    """Return the text of params.yaml with another selection; comments and other keys stay."""
    old = _PARAMS.read_text(encoding="utf-8") if _PARAMS.exists() else ""
    line = f"profiles: [{name}]\n"
    return _SELECTED.sub(line, old, count=1) if _SELECTED.search(old) else f"{old}{line}"


def _is_surrogate(character: str) -> bool:
    """Return whether a character stands for a byte of a file name that is not UTF-8."""
    return "\ud800" <= character <= "\udfff"


def _root(seen: Survey) -> str:
    """Return the root folder for the profile: relative to the working directory if it lies below it."""
    here = Path.cwd()
    return (seen.root.relative_to(here) if seen.root.is_relative_to(here) else seen.root).as_posix()


def _summary(seen: Survey, name: str, path: Path, data: Entry) -> str:
    pairs = ", ".join(f"{count:,} {split}" for split, count in seen.splits.num_images.items())
    found = f"{len(seen.colours)} colours" if seen.colours else f"values {listed(sorted(seen.values))}"
    lines = [
        f"found pairs: {pairs}; images of {seen.size[1]} x {seen.size[0]} pixels; labels with {found}",
        *[f"void: {flow(value)}, {comment}" for key, value, comment in data if key.startswith("void_")],
        *[f"left out: folder {folder}, which is no split" for folder in seen.splits.left_out],
        f"wrote {path}, selected in {_PARAMS}",
        "next: dvc repro",
        f"then: regproxy predict runs/{name}/{name}/region-4x4/0 PHOTOS --out labels --overlay",
    ]
    return "\n".join(lines)
