"""Write a profile for a user's own images and labels, and select it."""

import re
from collections.abc import Sequence
from pathlib import Path

from regproxy.config.class_tables import Colour
from regproxy.config.profile_file import profile_path, resolve_profile
from regproxy.config.yaml_file import read_yaml
from regproxy.errors import ConfigError
from regproxy.storage.atomic import atomic_file
from regproxy.suggest.data_entry import VAL_SHARE, describe_data, listed
from regproxy.suggest.profile_text import profile_text
from regproxy.suggest.settings import choose_settings
from regproxy.suggest.survey import Survey, survey

_PARAMS = Path("params.yaml")


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
    path = profile_path(name)
    if not path.parent.is_dir():
        raise ConfigError(
            f"{path.parent.absolute()} is missing: expected the folder of profiles. "
            "Run the command in the repository's root."
        )
    if path.exists() and not replace:
        raise ConfigError(f"{path} exists. Choose another name, or replace it with --force.")
    seen = survey(images, labels, by_colour=colours is not None)
    num_train = _num_train(seen)
    settings = choose_settings(seen.size, num_train, pretrain=pretrain, gpu=gpu, steps=steps)
    data = describe_data(
        seen,
        _root(seen),
        classes=classes,
        colours=None if colours is None else str(colours),
        void=void,
    )
    text = profile_text(name, f"{name}: {seen.total:,} images of {images}", data, num_train, settings)
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
        resolve_profile(name, read_yaml(temporary))
    with atomic_file(_PARAMS) as temporary:
        temporary.write_text(f"profiles: [{name}]\n")
    return _summary(seen, name, path)


def _num_train(seen: Survey) -> int:
    """Return the number of training pairs, for images that are not divided the share that remains."""
    return seen.num_images.get("train", round((1 - VAL_SHARE) * seen.total))


def _root(seen: Survey) -> str:
    """Return the root folder for the profile: relative to the working directory if it lies below it."""
    here = Path.cwd()
    return (seen.root.relative_to(here) if seen.root.is_relative_to(here) else seen.root).as_posix()


def _summary(seen: Survey, name: str, path: Path) -> str:
    splits = ", ".join(f"{count:,} {split or 'pairs'}" for split, count in seen.num_images.items())
    values = f"values {listed(sorted(seen.values))}"
    found = f"{len(seen.colours)} colours" if seen.colours else values
    return (
        f"found {splits}; images of {seen.size[1]} x {seen.size[0]} pixels; labels with {found}\n"
        f"wrote {path}, selected in {_PARAMS}\n"
        f"next: dvc repro\n"
        f"then: regproxy predict runs/{name}/{name}/region-4x4/0 PHOTOS --out labels --overlay"
    )
