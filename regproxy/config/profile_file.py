"""Read a profile's YAML file, check every key and resolve it to a `Profile`.

A recipe and an evaluation are merged from four layers. A later layer overrides an earlier one: profile, data
set, variant, variant on one data set (`by_dataset`).
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regproxy.config.dataset import DataConfig
from regproxy.config.dataset_entry import DatasetEntry
from regproxy.config.network import ModelConfig
from regproxy.config.parse import choose, parse
from regproxy.config.profile import Architecture, Profile, Settings, Table
from regproxy.config.recipe import Recipe
from regproxy.config.variant import Evaluation, Variant
from regproxy.config.yaml_file import read_yaml
from regproxy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class _Overrides:
    """Keys of `Recipe` and `Evaluation` that one layer sets. They are checked after the layers are merged."""

    recipe: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _DatasetEntry(_Overrides, DatasetEntry):
    """A data set in the file, with its layer of recipe and evaluation."""


@dataclass(frozen=True, kw_only=True)
class _VariantEntry(_Overrides):
    """A variant in the file, without the keys of `ModelConfig` that are written next to these."""

    datasets: tuple[str, ...] | None = None
    by_dataset: dict[str, _Overrides] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _File(_Overrides, Settings):
    architectures: dict[str, Architecture]
    datasets: dict[str, _DatasetEntry]
    variants: dict[str, dict[str, Any]]
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        empty = [name for name in ("seeds", "datasets", "variants") if not getattr(self, name)]
        if empty:
            raise ConfigError(f"{' and '.join(empty)} must not be empty")


def profile_path(name: str) -> Path:
    """Return the path of the profile called `name`, relative to the repository's root."""
    return Path("pipelines/profiles") / f"{name}.yaml"


def load_profile(name: str) -> Profile:
    """Read and resolve `pipelines/profiles/<name>.yaml` below the working directory.

    Raises:
        ConfigError: the file is missing or not YAML, or has an unknown key, a wrong type or values that do
            not fit together.
    """
    path = profile_path(name)
    if not path.exists():
        folder = path.parent.absolute()
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        if not known:
            raise ConfigError(f"{folder} has no profiles: run the command in the repository's root folder")
        choose(name, known, "profile")
    return resolve_profile(name, read_yaml(path))


def resolve_profile(name: str, content: object) -> Profile:
    """Return the profile that a file's content describes.

    Raises:
        ConfigError: an unknown key, a wrong type or values that do not fit together.
    """
    where = f"{name}.yaml"
    file: _File = parse(_File, content, where)
    datasets = {key: entry.resolve(key, f"{where}: datasets.{key}") for key, entry in file.datasets.items()}
    tables = (parse(Table, table, f"{where}.tables.{key}", name=key) for key, table in file.tables.items())
    profile = Profile(
        name=name,
        datasets=tuple(datasets.values()),
        variants=_variants(file, datasets, where),
        tables=tuple(tables),
        **{setting.name: getattr(file, setting.name) for setting in dataclasses.fields(Settings)},
    )
    profile.check(where)
    return profile


def _variants(file: _File, datasets: dict[str, DataConfig], where: str) -> tuple[Variant, ...]:
    """Return every variant on every data set that it is trained on; the data set is the outer loop."""
    entry_keys = {entry_field.name for entry_field in dataclasses.fields(_VariantEntry)}
    variants: list[Variant] = []
    for name, content in file.variants.items():
        place = f"{where}: variants.{name}"
        model = {key: value for key, value in content.items() if key not in entry_keys}
        entry = parse(_VariantEntry, {k: v for k, v in content.items() if k in entry_keys}, place)
        chosen = datasets if entry.datasets is None else entry.datasets
        for dataset in chosen:
            choose(dataset, datasets, f"{place}.datasets")
        for dataset in entry.by_dataset:
            choose(dataset, chosen, f"{place}.by_dataset")
        on = [data for data in datasets.values() if data.name in chosen]
        variants += [_variant(name, model, entry, data, file, place) for data in on]
    order = list(datasets)
    return tuple(sorted(variants, key=lambda variant: order.index(variant.data.name)))


def _variant(
    name: str, model: dict[str, Any], entry: _VariantEntry, data: DataConfig, file: _File, where: str
) -> Variant:
    layers = (file, file.datasets[data.name], entry, entry.by_dataset.get(data.name, _Overrides()))
    recipe = {key: value for layer in layers for key, value in layer.recipe.items()}
    evaluation = {key: value for layer in layers for key, value in layer.evaluation.items()}
    return parse(  # it adds `where` to an error's message
        Variant,
        {},
        where,
        name=name,
        data=data,
        model=parse(ModelConfig, _complete_model(model, data, file, where), where),
        recipe=parse(Recipe, recipe, f"{where} on {data.name}: recipe"),
        evaluation=parse(Evaluation, evaluation, f"{where} on {data.name}: evaluation"),
    )


def _complete_model(model: dict[str, Any], data: DataConfig, file: _File, where: str) -> dict[str, Any]:
    """Return a variant's model keys, completed from its architecture: backbone, tap, weights, defaults."""
    architecture = file.architectures[choose(model.get("arch"), file.architectures, f"{where}.arch")]
    if "backbone" in model:
        raise ConfigError(f"{where}.backbone is not a key of a variant: write another architecture")
    completed = {**model, "backbone": dataclasses.asdict(architecture.backbone)}
    if model.get("head") == "regproxy":
        completed.setdefault("conv", "depthwise")
        if data.name in architecture.taps:
            completed.setdefault("tap", architecture.taps[data.name])
    pretrain = completed.setdefault("pretrain", architecture.pretrain)
    choose(pretrain, ("none", "file", *architecture.weights), f"{where} on {model['arch']}: pretrain")
    if pretrain in architecture.weights:
        completed.setdefault("weights", architecture.weights[pretrain])
    return completed
