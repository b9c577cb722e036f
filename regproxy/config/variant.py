"""What a run is: frozen, typed values that say everything that can change a number.

A `Variant` is one model and recipe on one data set, fully resolved. Profiles (see profile.py) declare
variants; a trial is a variant with a seed. Sizes are (height, width) in pixels unless a name says otherwise.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from regproxy.config.parse import check_range, parse
from regproxy.errors import ConfigError

IGNORE_LABEL = 255
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A timm vision transformer; width, depth and heads replace timm's own where they are given."""

    timm_name: str
    width: int | None = None
    depth: int | None = None
    heads: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A network: backbone, head and, for RegProxy, the affinity head's shape (paper sections 4.1-4.3).

    `tap` is the 0-based index of the block whose output the affinity head reads, -1 the tokens before the
    first; `region` is (h, w), the sub-cells a token is divided into; `conv` the affinity head's first
    convolution; `multi_level` lets the class head read three layers (supplement, Table 5). `weights` says
    where the backbone starts: a name of timm's with its tag, or a path where `pretrain` is `file`.
    """

    arch: str
    backbone: Backbone
    head: Literal["linear", "regproxy", "segmenter"]
    region: tuple[int, int] | None = None
    conv: Literal["none", "normal", "depthwise"] | None = None
    tap: int | None = None
    multi_level: bool = False
    drop_path: float = 0.1
    pretrain: Literal["none", "deit", "augreg", "dino", "file"] = "none"
    weights: str | None = None

    def __post_init__(self) -> None:
        own = {"region": self.region, "conv": self.conv, "tap": self.tap}
        if self.head == "regproxy":
            missing = [name for name, value in own.items() if value is None]
            if missing:
                raise ConfigError(f"head regproxy needs {' and '.join(missing)}")
            check_range(self, "region", low=1)
        else:
            given = [name for name, value in own.items() if value is not None]
            if given:
                raise ConfigError(f"head {self.head} has no {' or '.join(given)}, leave it out")
            if self.multi_level:
                raise ConfigError(f"head {self.head} cannot be multi_level, only regproxy can")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path {self.drop_path} is not allowed, it must be in [0, 1)")
        if (self.pretrain == "none") != (self.weights is None):
            what = "needs weights" if self.weights is None else f"has no use for weights {self.weights}"
            raise ConfigError(f"pretrain {self.pretrain} {what}; give both, or pretrain none alone")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained; the defaults are the paper's (section 5.1 and the authors' release)."""

    steps: int
    crop: tuple[int, int]
    scale: tuple[int, int]  # (long, short) side that ratio 1 rescales to
    batch_size: int = 16  # global, over all workers and accumulated micro-batches
    grad_accum_steps: int = 1  # micro-batches a step
    learning_rate: float = 6.0e-5
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1.0e-8
    weight_decay: float = 0.01
    schedule: Literal["poly", "cosine_restart"] = "poly"
    cosine_periods: tuple[int, ...] = ()  # steps
    cosine_weights: tuple[float, ...] = ()
    warmup_steps: int = 1500
    warmup_ratio: float = 1.0e-6
    loss_mean: Literal["all", "valid"] = "all"
    region_loss: Literal["none", "homogeneity", "as_printed"] = "none"  # supplement, Table 4
    region_loss_weight: float = 0.1
    ratio_range: tuple[float, float] = (0.5, 2.0)
    max_class_share: float = 0.75  # of a crop's valid pixels; 1 takes any crop
    flip_probability: float = 0.5
    photometric: bool = True
    image_mean: tuple[float, float, float] = IMAGENET_MEAN  # RGB, 0..255
    image_std: tuple[float, float, float] = IMAGENET_STD
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    loader_workers: int = 0
    log_every: int = 50  # steps, as the next two
    validate_every: int | None = None
    checkpoint_every: int = 2000

    def __post_init__(self) -> None:
        counts = (
            "steps",
            "batch_size",
            "grad_accum_steps",
            "log_every",
            "validate_every",
            "checkpoint_every",
        )
        check_range(self, *counts, "crop", "scale", "cosine_periods", low=1)
        check_range(self, "learning_rate", "eps", "weight_decay", "region_loss_weight", low=0)
        check_range(self, "warmup_steps", "loader_workers", "cosine_weights", "ratio_range", low=0)
        check_range(self, "image_mean", "image_std", low=0, high=255)
        check_range(self, "betas", "warmup_ratio", "flip_probability", "max_class_share", low=0, high=1)
        if min(self.image_std) <= 0:
            raise ConfigError(f"image_std {list(self.image_std)} is not allowed, each must be above 0")
        if self.batch_size % self.grad_accum_steps:
            raise ConfigError(
                f"grad_accum_steps {self.grad_accum_steps} does not divide batch_size {self.batch_size}"
            )
        low, high = self.ratio_range
        if not 0 < low <= high:
            raise ConfigError(f"ratio_range {[low, high]} is not allowed, it must be 0 < low <= high")
        if len(self.cosine_periods) != len(self.cosine_weights):
            raise ConfigError("cosine_periods and cosine_weights must be equally long")
        if self.schedule == "cosine_restart" and sum(self.cosine_periods) < self.steps:
            raise ConfigError(
                f"cosine_periods cover {sum(self.cosine_periods)} of {self.steps} steps, add a period"
            )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a trained model is scored: by sliding windows over the rescaled image.

    Where `multi_scale_ratios` are given it is scored a second time, at all of them with and without a flip.
    """

    scale: tuple[int, int]  # (long, short)
    window: tuple[int, int]
    stride: tuple[int, int]
    multi_scale_ratios: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_range(self, "scale", low=1)
        check_range(self, "multi_scale_ratios", low=0)
        if any(s < 1 or s > w for s, w in zip(self.stride, self.window, strict=True)):
            raise ConfigError(
                f"stride {list(self.stride)} is not allowed, it must be between 1 and the window "
                f"{list(self.window)}, or pixels would be skipped"
            )
        if any(ratio <= 0 for ratio in self.multi_scale_ratios):
            raise ConfigError(
                f"multi_scale_ratios {list(self.multi_scale_ratios)} are not allowed, each must be above 0"
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A data set: where it lies and how it reads. `classes` are the names of the train ids 0, 1, ...

    `void_labels` are label values on disk that count nowhere, besides those the format itself leaves out
    and 255. `allow_partial` accepts another number of images than the data set officially has.
    """

    name: str
    format: Literal["ade20k", "cityscapes", "folder"]
    root: str
    classes: tuple[str, ...]
    void_labels: tuple[int, ...] = ()
    train_split: str = "train"
    val_split: str = "val"
    allow_partial: bool = False

    @property
    def num_classes(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model and recipe on one data set, fully resolved; what a run record holds."""

    name: str
    data: DataConfig
    model: ModelConfig
    recipe: Recipe
    evaluation: Evaluation

    def __post_init__(self) -> None:
        if self.recipe.region_loss != "none" and self.model.head != "regproxy":
            raise ConfigError(f"region_loss needs head regproxy, {self.name} has head {self.model.head}")

    def to_dict(self) -> dict[str, Any]:
        """Returns the variant as JSON would: mappings, lists, scalars; `Variant.from_dict` reads it back."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, mapping: dict[str, Any]) -> "Variant":
        return parse(cls, mapping, "variant")

    def digest(self) -> str:
        """SHA-256 of what training depends on, besides seed, source and the images themselves.

        That is model, recipe and class names: not the variant's name, how it is scored or where data lies.
        """
        parts = self.to_dict()
        parts = {"model": parts["model"], "recipe": parts["recipe"], "classes": parts["data"]["classes"]}
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
