"""Profiles: YAML files that declare data sets, variants, seeds and tables; here the values they resolve to.

profile_file.py reads them.
"""

from dataclasses import dataclass, field
from typing import Literal

from regproxy.config.parse import check_range
from regproxy.config.variant import Backbone, DataConfig, Variant
from regproxy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial takes: workers (processes of one training) and CPUs and GPUs for each."""

    workers: int = 1
    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, "workers", "cpus", low=1)
        check_range(self, "gpus", low=0)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Generated scenes: images a split in each data set's folder layout (see data/demo.py)."""

    num_train: int
    num_val: int
    seed: int = 0
    height: int = 128


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A named backbone with the block each data set taps (paper, supplement and released configs).

    `weights` names timm's weights by kind of pre-training, `pretrain` the kind that variants start from.
    """

    backbone: Backbone
    taps: dict[str, int] = field(default_factory=dict)
    pretrain: str = "none"
    weights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: what its label columns say, and the variant whose scores it shows.

    A row without a variant says what it `needs` to be run. Rows of one `group` are compared with each other.
    `published` is the paper's mIoU in percent by data set; `gflops` and `params` are as printed there, in
    10^9 and 10^6, with a leading + for an increment over the last row without one.
    """

    label: tuple[str, ...]
    variant: str | None = None
    needs: str | None = None
    group: str = ""
    published: dict[str, float] = field(default_factory=dict)
    gflops: str | None = None
    params: str | None = None

    def __post_init__(self) -> None:
        if (self.variant is None) == (self.needs is None):
            raise ConfigError(f"row {' '.join(self.label)!r} must say either its variant or what it needs")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the report: `columns` head the labels; `complexity` adds GFLOPs and parameters."""

    name: str
    title: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ("",)
    complexity: bool = False
    metric: Literal["miou", "multi_scale_miou"] = "miou"


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A finding of the paper that medians can show: variant `better` lies above variant `than`."""

    claim: str
    better: str
    than: str


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Which variants the qualitative pictures compare, and how many images they show a data set."""

    variants: tuple[str, ...]
    num_images: int = 2

    def __post_init__(self) -> None:
        check_range(self, "num_images", low=1)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A resolved profile; `variants` holds every variant on every data set it runs on."""

    name: str
    seeds: tuple[int, ...]
    datasets: tuple[DataConfig, ...]
    variants: tuple[Variant, ...]
    tables: tuple[Table, ...]
    trends: tuple[Trend, ...]
    notes: tuple[str, ...]
    pictures: Pictures | None
    resources: Resources
    demo: Demo | None
    pretrained_dir: str

    def trials(self) -> list[tuple[Variant, int]]:
        """Every variant with every seed, in the order of the file, seeds innermost."""
        return [(variant, seed) for variant in self.variants for seed in self.seeds]
