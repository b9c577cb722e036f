"""A resolved profile: data sets, variants, seeds, tables and resources. profile_file.py reads it."""

from dataclasses import dataclass, field
from typing import Literal

from regproxy.config.dataset import DataConfig
from regproxy.config.network import Backbone
from regproxy.config.parse import check_range, choose
from regproxy.config.search import Search
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one trial needs: its workers (the processes of one training), and the CPUs and GPUs of each."""

    workers: int = 1
    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, "workers", "cpus", low=1)
        check_range(self, "gpus", low=0)

    def check_batch(self, variant: Variant, where: str) -> None:
        """Raise ConfigError unless the workers and their micro-batches divide a variant's batch size."""
        recipe = variant.recipe
        if recipe.batch_size % (self.workers * recipe.grad_accum_steps):
            raise ConfigError(
                f"{where}: {self.workers} workers with grad_accum_steps {recipe.grad_accum_steps} do not "
                f"divide batch_size {recipe.batch_size} of variant {variant.name}. Choose a divisor."
            )


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Generated scenes: the number of images in each split and their height in pixels (see `demo/`)."""

    num_train: int
    num_val: int
    seed: int = 0
    height: int = 128


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A named backbone, and the tap of each data set (paper, supplement and released configurations).

    `weights` maps a kind of pre-training to the name of timm's weights. `pretrain` is the kind that a variant
    starts from by default.
    """

    backbone: Backbone
    taps: dict[str, int] = field(default_factory=dict)
    pretrain: str = "none"
    weights: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table: its labels, and the variant whose scores it shows.

    A row has either a variant, or in `needs` the reason why it cannot be run. Rows of one `group` are
    compared with each other. `published` is the paper's mIoU in percent by data set. `gflops` (10^9) and
    `params` (10^6) are as the paper prints them; a leading + is an increment over the last row without one.
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
            raise ConfigError(f"row {' '.join(self.label)!r} is invalid: give either variant or needs")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the report. `columns` are the heads of the labels; `complexity` adds GFLOPs, parameters."""

    name: str
    title: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...] = ("",)
    complexity: bool = False
    metric: Literal["miou", "multi_scale_miou"] = "miou"

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.label) != len(self.columns):
                raise ConfigError(
                    f"row {list(row.label)} is invalid: give one label for each of the columns "
                    f"{list(self.columns)}"
                )


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A finding of the paper: the median mIoU of variant `better` is above that of variant `than`."""

    claim: str
    better: str
    than: str


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The variants that the qualitative pictures compare, and the number of images of each data set.

    The first variant is the baseline. `main` is the variant whose regions, gains and losses against the
    baseline are shown, by default the last one.
    """

    variants: tuple[str, ...]
    main: str = ""
    num_images: int = 2

    def __post_init__(self) -> None:
        check_range(self, "num_images", low=1)
        if not self.variants:
            raise ConfigError("variants is empty: give the variants to show, the baseline first")
        object.__setattr__(self, "main", choose(self.main or self.variants[-1], self.variants, "main"))

    @property
    def baseline(self) -> str:
        """The variant that the others are compared with."""
        return self.variants[0]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keys of a profile that mean the same in its file and after resolving."""

    seeds: tuple[int, ...]
    trends: tuple[Trend, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: Pictures | None = None
    resources: Resources = field(default_factory=Resources)
    demo: Demo | None = None
    pretrained_dir: str = "data/pretrained"
    search: Search | None = None

    def __post_init__(self) -> None:
        check_range(self, "seeds", low=0)
        if len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds {list(self.seeds)} repeat: write each once")


@dataclass(frozen=True, kw_only=True)
class Profile(Settings):
    """A resolved profile. `variants` has one entry for each variant and data set it is trained on."""

    name: str
    datasets: tuple[DataConfig, ...]
    variants: tuple[Variant, ...]
    tables: tuple[Table, ...]

    def trials(self) -> list[tuple[Variant, int]]:
        """Return every variant with every seed, in the order of the file; the seed is the inner loop."""
        return [(variant, seed) for variant in self.variants for seed in self.seeds]

    def check(self, where: str) -> None:
        """Raise ConfigError unless all named variants and data sets exist and workers divide the batches."""
        variants = dict.fromkeys(variant.name for variant in self.variants)
        datasets = [data.name for data in self.datasets]
        for table in self.tables:
            for row in table.rows:
                row_text = f"{where}: tables.{table.name}, row {' '.join(row.label)!r}"
                if row.variant is not None:
                    choose(row.variant, variants, f"{row_text}: variant")
                for dataset in row.published:
                    choose(dataset, datasets, f"{row_text}: published")
        for trend in self.trends:
            for variant in (trend.better, trend.than):
                choose(variant, variants, f"{where}: trend {trend.claim!r}: variant")
        for variant in self.pictures.variants if self.pictures else ():
            choose(variant, variants, f"{where}: pictures.variants")
        corners = self.search.check(self.variants, where) if self.search else []
        for variant in (*self.variants, *corners):
            self.resources.check_batch(variant, where)
