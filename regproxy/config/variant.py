"""Frozen, typed values that hold everything that can change a number of a run.

A `Variant` is one model and recipe on one data set, fully resolved. Profiles (see profile.py) declare
variants. A trial is a variant with a seed. Sizes are (height, width) in pixels unless a name says otherwise.
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
    """A timm vision transformer. Width, depth and heads replace timm's own values if they are given."""

    timm_name: str
    width: int | None = None
    depth: int | None = None
    heads: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A network: backbone, head and, for RegProxy, the shape of the affinity head (sections 4.1-4.3)."""

    arch: str
    backbone: Backbone
    head: Literal["linear", "regproxy", "segmenter"]
    region: tuple[int, int] | None = None  # (h, w) sub-cells of one token
    conv: Literal["none", "normal", "depthwise"] | None = None  # first convolution of the affinity head
    tap: int | None = None  # 0-based block whose output the affinity head reads; -1: the input of block 0
    multi_level: bool = False  # the class head reads three layers (supplement, Table 5)
    drop_path: float = 0.1
    pretrain: Literal["none", "deit", "augreg", "dino", "file"] = "none"
    weights: str | None = None  # timm's name with its tag; a path if pretrain is file

    def __post_init__(self) -> None:
        affinity = {"region": self.region, "conv": self.conv, "tap": self.tap}
        if self.head == "regproxy":
            missing = [name for name, value in affinity.items() if value is None]
            if missing:
                raise ConfigError(f"head regproxy needs {' and '.join(missing)}")
            check_range(self, "region", low=1)
        else:
            given = [name for name, value in affinity.items() if value is not None]
            if given:
                raise ConfigError(f"head {self.head} has no {' or '.join(given)}: remove it")
            if self.multi_level:
                raise ConfigError(f"head {self.head} cannot be multi_level: only regproxy can")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path is invalid: expected at least 0 and below 1; got {self.drop_path}")
        if (self.pretrain == "none") != (self.weights is None):
            problem = "needs weights" if self.weights is None else f"does not use weights {self.weights}"
            raise ConfigError(f"pretrain {self.pretrain} {problem}: give both, or only pretrain none")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. The defaults are the paper's (section 5.1 and the authors' release)."""

    steps: int
    crop: tuple[int, int]
    scale: tuple[int, int]  # (long, short) side after resizing at ratio 1
    batch_size: int = 16  # global, over all workers and accumulated micro-batches
    grad_accum_steps: int = 1  # micro-batches of one step
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
    max_class_share: float = 0.75  # largest share of a crop's valid pixels; 1 accepts any crop
    flip_probability: float = 0.5
    photometric: bool = True
    image_mean: tuple[float, float, float] = IMAGENET_MEAN  # RGB, 0..255
    image_std: tuple[float, float, float] = IMAGENET_STD
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    loader_workers: int = 0
    log_every: int = 50  # steps, like the next two
    validate_every: int | None = None
    checkpoint_every: int = 2000

    def __post_init__(self) -> None:
        check_range(self, "steps", "batch_size", "grad_accum_steps", "cosine_periods", "crop", "scale", low=1)
        check_range(self, "log_every", "validate_every", "checkpoint_every", low=1)
        check_range(self, "learning_rate", "eps", "weight_decay", "region_loss_weight", low=0)
        check_range(self, "warmup_steps", "loader_workers", "cosine_weights", low=0)
        check_range(self, "image_mean", low=0, high=255)
        check_range(self, "image_std", low=0, high=255, above=True)
        check_range(self, "ratio_range", low=0, above=True)
        check_range(self, "betas", "warmup_ratio", "flip_probability", "max_class_share", low=0, high=1)
        if self.batch_size % self.grad_accum_steps:
            raise ConfigError(
                f"grad_accum_steps {self.grad_accum_steps} does not divide batch_size {self.batch_size}"
            )
        if self.ratio_range[0] > self.ratio_range[1]:
            raise ConfigError(f"ratio_range is invalid: expected low, high; got {list(self.ratio_range)}")
        if len(self.cosine_periods) != len(self.cosine_weights):
            raise ConfigError("cosine_periods and cosine_weights must have the same length")
        if self.schedule == "cosine_restart" and sum(self.cosine_periods) < self.steps:
            raise ConfigError(
                f"cosine_periods cover {sum(self.cosine_periods)} of {self.steps} steps: add a period"
            )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a trained model is scored: by sliding windows over the resized image.

    With `multi_scale_ratios` it is scored a second time, averaged over all ratios, each also flipped.
    """

    scale: tuple[int, int]  # (long, short)
    window: tuple[int, int]  # (height, width) in pixels, like stride
    stride: tuple[int, int]
    multi_scale_ratios: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_range(self, "scale", "window", "stride", low=1)
        check_range(self, "multi_scale_ratios", low=0, above=True)
        if any(step > side for step, side in zip(self.stride, self.window, strict=True)):
            raise ConfigError(
                f"stride is invalid: expected at most the window {list(self.window)}, or pixels are skipped; "
                f"got {list(self.stride)}"
            )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A data set: its root folder, format and classes."""

    name: str
    format: Literal["ade20k", "cityscapes", "folder"]
    root: str
    classes: tuple[str, ...]  # names of the train ids 0, 1, ...
    void_labels: tuple[int, ...] = ()  # label values that count nowhere, besides 255 and those of the format
    train_split: str = "train"
    val_split: str = "val"
    allow_partial: bool = False  # accept another number of images than the official one

    @property
    def num_classes(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model and recipe on one data set, fully resolved. A run record contains it."""

    name: str
    data: DataConfig
    model: ModelConfig
    recipe: Recipe
    evaluation: Evaluation

    def __post_init__(self) -> None:
        if self.recipe.region_loss != "none" and self.model.head != "regproxy":
            raise ConfigError(f"region_loss needs head regproxy: {self.name} has head {self.model.head}")

    def to_dict(self) -> dict[str, Any]:
        """Return the variant as JSON values: mappings, lists and scalars. `from_dict` reads them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, mapping: dict[str, Any]) -> "Variant":
        """Return the variant that `to_dict` wrote; raise ConfigError if this version cannot read it."""
        return parse(cls, mapping, "variant")

    def fingerprint(self) -> str:
        """Return the SHA-256 of model, recipe and class names: all that a training needs from a variant.

        Name, evaluation and location of the data are not in it.
        """
        content = self.to_dict()
        used = {"model": content["model"], "recipe": content["recipe"], "classes": content["data"]["classes"]}
        text = json.dumps(used, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
