"""Reads a profile's YAML file, checks every key and resolves it to a `Profile`.

A recipe (or evaluation) is resolved in layers, later ones winning: profile, data set, variant, variant on a
data set (`by_dataset`).
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from regproxy.config.formats import FORMATS, resolve_classes
from regproxy.config.parse import check_range, choose, parse
from regproxy.config.profile import Architecture, Demo, Pictures, Profile, Resources, Row, Table, Trend
from regproxy.config.variant import DataConfig, Evaluation, ModelConfig, Recipe, Variant
from regproxy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class _DatasetEntry:
    """A data set as the file writes it; `classes` may be left out where the format defines them."""

    format: str
    root: str
    classes: tuple[str, ...] | None = None
    void_labels: tuple[int, ...] = ()
    train_split: str | None = None
    val_split: str | None = None
    allow_partial: bool = False
    recipe: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Override:
    """What a variant changes on one data set alone."""

    recipe: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _VariantEntry:
    """A variant as the file writes it; what it says of its model goes into `ModelConfig`."""

    datasets: tuple[str, ...] | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    by_dataset: dict[str, _Override] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _TableEntry:
    title: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ("",)
    complexity: bool = False
    metric: Literal["miou", "multi_scale_miou"] = "miou"

    def __post_init__(self) -> None:
        wrong = [row.label for row in self.rows if len(row.label) != len(self.columns)]
        if wrong:
            raise ConfigError(
                f"row {list(wrong[0])} must have one label for each of the columns {list(self.columns)}"
            )


@dataclass(frozen=True, kw_only=True)
class _File:
    """A profile as the file writes it; sections of recipe and evaluation are checked once merged."""

    seeds: tuple[int, ...]
    architectures: dict[str, Architecture]
    datasets: dict[str, _DatasetEntry]
    variants: dict[str, dict[str, Any]]
    recipe: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, _TableEntry] = field(default_factory=dict)
    trends: tuple[Trend, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: Pictures | None = None
    resources: Resources = field(default_factory=Resources)
    demo: Demo | None = None
    pretrained_dir: str = "data/pretrained"

    def __post_init__(self) -> None:
        empty = [name for name in ("seeds", "datasets", "variants") if not getattr(self, name)]
        if empty:
            raise ConfigError(f"{' and '.join(empty)} must not be empty")
        check_range(self, "seeds", low=0)
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds {list(self.seeds)} repeat, each may stand once")


def profile_path(name: str) -> Path:
    """Where the profile called `name` lies, from the repository's root."""
    return Path("pipelines/profiles") / f"{name}.yaml"


def load_profile(name: str) -> Profile:
    """Reads and resolves `pipelines/profiles/<name>.yaml`.

    Raises:
        ConfigError: no such profile, no YAML, unknown key, wrong type or impossible combination.
    """
    path = profile_path(name)
    if not path.exists():
        known = sorted(file.stem for file in path.parent.glob("*.yaml"))
        choose(name, known, "profile")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML, correct it: {' '.join(str(error).split())}") from None
    return resolve(name, content)


def resolve(name: str, content: object) -> Profile:
    """Resolves the content of a profile file; see `load_profile`."""
    where = f"{name}.yaml"
    file: _File = parse(_File, content, where)
    entries = file.datasets
    datasets = {key: _dataset(key, entry, f"{where}: datasets.{key}") for key, entry in entries.items()}
    profile = Profile(
        name=name,
        seeds=file.seeds,
        datasets=tuple(datasets.values()),
        variants=_variants(file, datasets, where),
        tables=tuple(
            Table(name=key, **{part.name: getattr(table, part.name) for part in dataclasses.fields(table)})
            for key, table in file.tables.items()
        ),
        trends=file.trends,
        notes=file.notes,
        pictures=file.pictures,
        resources=file.resources,
        demo=file.demo,
        pretrained_dir=file.pretrained_dir,
    )
    _check_references(profile, where)
    return profile


def _dataset(name: str, entry: _DatasetEntry, where: str) -> DataConfig:
    choose(entry.format, FORMATS, f"{where}.format")
    train_split, val_split = FORMATS[entry.format].splits
    return DataConfig(
        name=name,
        format=entry.format,
        root=entry.root,
        classes=resolve_classes(entry.format, entry.classes, where),
        void_labels=entry.void_labels,
        train_split=entry.train_split or train_split,
        val_split=entry.val_split or val_split,
        allow_partial=entry.allow_partial,
    )


def _variants(file: _File, datasets: dict[str, DataConfig], where: str) -> tuple[Variant, ...]:
    """Resolves every variant on every data set that it runs on, data set by data set."""
    own = {part.name for part in dataclasses.fields(_VariantEntry)}
    entries = {
        name: parse(
            _VariantEntry, {k: v for k, v in content.items() if k in own}, f"{where}: variants.{name}"
        )
        for name, content in file.variants.items()
    }
    for name, entry in entries.items():
        for dataset in entry.datasets or ():
            choose(dataset, datasets, f"{where}: variants.{name}.datasets")
        for dataset in entry.by_dataset:
            choose(dataset, entry.datasets or datasets, f"{where}: variants.{name}.by_dataset")
    return tuple(
        _variant(
            name, {k: v for k, v in file.variants[name].items() if k not in own}, entry, data, file, where
        )
        for data in datasets.values()
        for name, entry in entries.items()
        if entry.datasets is None or data.name in entry.datasets
    )


def _variant(
    name: str, model: dict[str, Any], entry: _VariantEntry, data: DataConfig, file: _File, where: str
) -> Variant:
    where = f"{where}: variants.{name}"
    architecture = file.architectures[choose(model.get("arch"), file.architectures, f"{where}.arch")]
    if "backbone" in model:
        raise ConfigError(f"{where}.backbone: a variant takes that of its arch, write another architecture")
    model["backbone"] = dataclasses.asdict(architecture.backbone)
    if model.get("head") == "regproxy":
        model.setdefault("conv", "depthwise")
        if "tap" not in model and data.name in architecture.taps:
            model["tap"] = architecture.taps[data.name]
    pretrain = model.setdefault("pretrain", architecture.pretrain)
    kind = choose(pretrain, ("none", "file", *architecture.weights), f"{where} on {model['arch']}: pretrain")
    if kind in architecture.weights:
        model.setdefault("weights", architecture.weights[kind])
    layers = {
        section: {
            key: value
            for layer in (file, file.datasets[data.name], entry, entry.by_dataset.get(data.name, _Override()))
            for key, value in getattr(layer, section).items()
        }
        for section in ("recipe", "evaluation")
    }
    parts = {
        "model": parse(ModelConfig, model, where),
        "recipe": parse(Recipe, layers["recipe"], f"{where} on {data.name}: recipe"),
        "evaluation": parse(Evaluation, layers["evaluation"], f"{where} on {data.name}: evaluation"),
    }
    try:
        return Variant(name=name, data=data, **parts)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _check_references(profile: Profile, where: str) -> None:
    variants = {variant.name for variant in profile.variants}
    datasets = {data.name for data in profile.datasets}
    for table in profile.tables:
        for row in table.rows:
            place = f"{where}: tables.{table.name}, row {' '.join(row.label)!r}"
            if row.variant is not None:
                choose(row.variant, variants, f"{place}: variant")
            for dataset in row.published:
                choose(dataset, datasets, f"{place}: published")
    for trend in profile.trends:
        for variant in (trend.better, trend.than):
            choose(variant, variants, f"{where}: trend {trend.claim!r}: variant")
    for variant in profile.pictures.variants if profile.pictures else ():
        choose(variant, variants, f"{where}: pictures.variants")
    workers = profile.resources.workers
    for variant in profile.variants:
        share = workers * variant.recipe.grad_accum_steps
        if variant.recipe.batch_size % share:
            raise ConfigError(
                f"{where}: {workers} workers with grad_accum_steps {variant.recipe.grad_accum_steps} do not "
                f"divide batch_size {variant.recipe.batch_size} of variant {variant.name}, choose a divisor"
            )
