"""How a network is trained. Sizes are (height, width) in pixels unless a name says otherwise."""

from dataclasses import dataclass
from typing import Literal

from regproxy.config.parse import check_range
from regproxy.errors import ConfigError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


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
