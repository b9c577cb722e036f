"""Profiles: YAML files that declare data sets, cells, seeds and tables, resolved to typed values.

A recipe (or evaluation) is resolved in layers, later ones winning: profile, data set, cell.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from regproxy.config import Backbone, Cell, DataConfig, Evaluation, ModelConfig, Recipe
from regproxy.data.datasets import FORMATS, resolve_classes
from regproxy.parse import ConfigError, choose, parse


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial takes: workers (processes of one training) and CPUs and GPUs for each."""

    workers: int = 1
    cpus: int = 1
    gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Generated scenes: images a split in each data set's folder layout (see data/demo.py)."""

    num_train: int
    num_val: int
    seed: int = 0
    height: int = 128


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A named backbone with the block each data set taps (paper, supplement and released configs)."""

    backbone: Backbone
    taps: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table; `published` is the paper's mIoU in percent by data set."""

    label: str
    cell: str
    published: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Table:
    name: str
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Which cells the qualitative pictures compare, and how many images they show a data set."""

    cells: tuple[str, ...]
    num_images: int = 2


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A resolved profile; `cells` holds every cell on every data set it runs on."""

    name: str
    seeds: tuple[int, ...]
    datasets: tuple[DataConfig, ...]
    cells: tuple[Cell, ...]
    tables: tuple[Table, ...]
    pictures: Pictures | None
    resources: Resources
    demo: Demo | None

    def trials(self) -> list[tuple[Cell, int]]:
        """Every cell with every seed, in the order of the file, seeds innermost."""
        return [(cell, seed) for cell in self.cells for seed in self.seeds]


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
class _TableEntry:
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class _File:
    """A profile as the file writes it; sections of recipe and evaluation are checked once merged."""

    seeds: tuple[int, ...]
    architectures: dict[str, Architecture]
    datasets: dict[str, _DatasetEntry]
    cells: dict[str, dict[str, Any]]
    recipe: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, _TableEntry] = field(default_factory=dict)
    pictures: Pictures | None = None
    resources: Resources = field(default_factory=Resources)
    demo: Demo | None = None

    def __post_init__(self) -> None:
        empty = [name for name in ("seeds", "datasets", "cells") if not getattr(self, name)]
        if empty:
            raise ConfigError(f"{' and '.join(empty)} must not be empty")
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds {list(self.seeds)} repeat, each may stand once")


def profile_path(name: str) -> Path:
    """Where the profile called `name` lies, from the repository's root."""
    return Path("pipelines/profiles") / f"{name}.yaml"


def load_profile(name: str) -> Profile:
    """Reads and resolves `pipelines/profiles/<name>.yaml`.

    Raises:
        ConfigError: no such profile, unknown key, wrong type or impossible combination.
    """
    path = profile_path(name)
    if not path.exists():
        known = sorted(file.stem for file in path.parent.glob("*.yaml"))
        choose(name, known, "profile")
    return resolve(name, yaml.safe_load(path.read_text()))


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
        cells=tuple(
            _cell(cell_name, datasets[key], file, where) for key in datasets for cell_name in file.cells
        ),
        tables=tuple(
            Table(name=key, title=table.title, rows=table.rows) for key, table in file.tables.items()
        ),
        pictures=file.pictures,
        resources=file.resources,
        demo=file.demo,
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


def _cell(name: str, data: DataConfig, file: _File, where: str) -> Cell:
    where, content, entry = f"{where}: cells.{name}", file.cells[name], file.datasets[data.name]
    model = {key: value for key, value in content.items() if key not in ("recipe", "evaluation")}
    architecture = file.architectures[choose(model.get("arch"), file.architectures, f"{where}.arch")]
    model["backbone"] = dataclasses.asdict(architecture.backbone)
    if model.get("head") == "regproxy":
        model.setdefault("conv", "depthwise")
        if "tap" not in model and data.name in architecture.taps:
            model["tap"] = architecture.taps[data.name]
    layers = {
        section: {**getattr(file, section), **getattr(entry, section), **content.get(section, {})}
        for section in ("recipe", "evaluation")
    }
    return Cell(
        name=name,
        data=data,
        model=parse(ModelConfig, model, where),
        recipe=parse(Recipe, layers["recipe"], f"{where} on {data.name}: recipe"),
        evaluation=parse(Evaluation, layers["evaluation"], f"{where} on {data.name}: evaluation"),
    )


def _check_references(profile: Profile, where: str) -> None:
    cells = {cell.name for cell in profile.cells}
    datasets = {data.name for data in profile.datasets}
    for table in profile.tables:
        for row in table.rows:
            choose(row.cell, cells, f"{where}: tables.{table.name}, row {row.label!r}: cell")
            for dataset in row.published:
                choose(dataset, datasets, f"{where}: tables.{table.name}, row {row.label!r}: published")
    for cell in profile.pictures.cells if profile.pictures else ():
        choose(cell, cells, f"{where}: pictures.cells")
    workers = profile.resources.workers
    for cell in profile.cells:
        share = workers * cell.recipe.accumulate
        if cell.recipe.batch_size % share:
            raise ConfigError(
                f"{where}: {workers} workers with accumulate {cell.recipe.accumulate} do not divide "
                f"batch_size {cell.recipe.batch_size} of cell {cell.name}, choose a divisor"
            )
