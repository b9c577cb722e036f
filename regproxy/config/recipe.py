"""How a network is trained. Sizes are (height, width) in pixels unless a name says otherwise."""

import math
from dataclasses import dataclass, field
from typing import Literal

from regproxy.config.parse import check_range
from regproxy.errors import ConfigError

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. The defaults are the paper's (section 5.1 and the authors' release).

    Fine-tuning. With `freeze` the backbone's weights stay as they are: it computes features in eval mode,
    without dropout, drop path and gradients, and has neither learning rate nor weight decay. The learning
    rate of a weight is the schedule's times `backbone_lr_factor` or `head_lr_factor`. In the backbone it
    is also multiplied by `layer_decay` ** (depth - i) for block i of 0..depth - 1, by `layer_decay` **
    (depth + 1) for what comes before the blocks, and by 1 for the final norm (as BEiT does).

    `ema_decay` keeps a moving average of the weights, which is what is validated and saved. After step t,
    counted from 0, the average keeps the share min(ema_decay, (1 + t) / (10 + t)) of its value. Batch norm's
    running statistics are averaged in the same way.

    Losses. `class_weights` multiplies the cross entropy of the pixels of a class; a class that is not named
    has weight 1. The divisor is a number of pixels, whatever their weights. `ohem_threshold` keeps only hard
    pixels (online hard example mining): those whose true class has a probability below it. If they are less
    than `ohem_min_share` of the batch's labelled pixels, the threshold rises in steps of 1/4096 until they
    are enough. The cross entropy is then divided by the number of pixels kept, not by that of `loss_mean`.
    `dice_weight` adds that many times the soft dice loss of the batch, 1 minus the mean over the classes in
    its labels of 2 I / (P + Y): P sums the probability of the class over the labelled pixels, Y counts its
    pixels, I sums the probability over them. "The batch" is that of all workers.
    """

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
    class_weights: dict[str, float] = field(default_factory=dict, hash=False)  # by class name
    ohem_threshold: float | None = None  # probability; 0.7 is common
    ohem_min_share: float = 0.0625
    dice_weight: float = 0.0
    freeze: bool = False  # the backbone
    backbone_lr_factor: float = 1.0
    head_lr_factor: float = 1.0
    layer_decay: float = 1.0
    clip_gradient: float | None = None  # largest norm of the gradient of all weights together
    ema_decay: float | None = None  # 0.999 to 0.9999 are common
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
        check_range(self, "warmup_steps", "loader_workers", "cosine_weights", "dice_weight", low=0)
        check_range(self, "backbone_lr_factor", "head_lr_factor", "clip_gradient", low=0, above=True)
        check_range(self, "layer_decay", "ohem_threshold", low=0, high=1, above=True)
        check_range(self, "ohem_min_share", low=0, high=1)
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
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay is invalid: expected at least 0 and below 1; got {self.ema_decay}")
        for name, weight in self.class_weights.items():
            if not 0 <= weight < math.inf:
                raise ConfigError(f"class_weights of {name} is invalid: expected at least 0; got {weight}")
        if self.freeze and (self.backbone_lr_factor != 1 or self.layer_decay != 1):
            raise ConfigError(
                "freeze leaves no learning rate to the backbone: remove backbone_lr_factor and layer_decay"
            )
        if self.needs_whole_batch and self.grad_accum_steps > 1:
            raise ConfigError(
                f"ohem_threshold and dice_weight need the whole batch at once: set grad_accum_steps to 1; "
                f"got {self.grad_accum_steps}"
            )

    @property
    def needs_whole_batch(self) -> bool:
        """Whether the loss of a pixel depends on the other pixels of the batch."""
        return self.ohem_threshold is not None or self.dice_weight > 0

    @property
    def has_plain_loss(self) -> bool:
        """Whether the loss of the logits is cross entropy, without weights, mining and dice."""
        return not self.class_weights and not self.needs_whole_batch
