"""A network: a backbone and a head. Sizes are (height, width) unless a name says otherwise."""

from dataclasses import dataclass
from typing import Literal

from regproxy.config.parse import check_range
from regproxy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A timm vision transformer. Width, depth and heads replace timm's own values if they are given."""

    timm_name: str
    width: int | None = None
    depth: int | None = None
    heads: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A network: backbone, head and, for RegProxy, the shape of the affinity head (sections 4.1-4.3).

    `pretrain` names where the weights come from before the training: `none` draws all of them, a name of the
    architecture's `weights` (such as augreg, dinov2 or mae) loads timm's weights into the backbone, and
    `file` loads what the path in `weights` holds. That is a file of timm's weights for the backbone, or a run
    folder, a run's model.safetensors or one of the authors' checkpoints for the whole network; of a whole
    network everything that fits is loaded, and the rest is drawn.
    """

    arch: str
    backbone: Backbone
    head: Literal["linear", "regproxy", "segmenter"]
    region: tuple[int, int] | None = None  # (h, w) sub-cells of one token
    conv: Literal["none", "normal", "depthwise"] | None = None  # first convolution of the affinity head
    tap: int | None = None  # 0-based block whose output the affinity head reads; -1: the input of block 0
    multi_level: bool = False  # the class head reads three layers (supplement, Table 5)
    drop_path: float = 0.1
    pretrain: str = "none"
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
