"""Choose the settings of a first training from the images and the device.

They are rules of thumb. The paper's recipe (section 5.1) is meant for 20,000 images and 8 GPUs; a small data
set needs fewer steps and, with few of them, a higher learning rate.
"""

from dataclasses import dataclass

from regproxy.config.parse import choose
from regproxy.errors import ConfigError

_MIN_CROP_PATCHES = 4  # a crop with fewer tokens on a side shows the network too little of an image


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a backbone is, and the weights that it starts from."""

    arch: str  # its name in the profile
    backbone: dict[str, str | int]
    patch: int  # side of a token in pixels
    depth: int
    weights: str | None  # timm's name with its tag; None for random weights
    learning_rate: float


# By (pretrain, whether there is a GPU). From scratch, a data set of hundreds of images cannot fill a ViT-Ti.
STARTS = {
    ("augreg", True): Start(
        arch="S/16",
        backbone={"timm_name": "vit_small_patch16_384"},
        patch=16,
        depth=12,
        weights="vit_small_patch16_384.augreg_in21k_ft_in1k",
        learning_rate=1.0e-4,
    ),
    ("augreg", False): Start(
        arch="Ti/16",
        backbone={"timm_name": "vit_tiny_patch16_384"},
        patch=16,
        depth=12,
        weights="vit_tiny_patch16_384.augreg_in21k_ft_in1k",
        learning_rate=1.0e-4,
    ),
    ("none", True): Start(
        arch="Ti/16",
        backbone={"timm_name": "vit_tiny_patch16_384"},
        patch=16,
        depth=12,
        weights=None,
        learning_rate=1.0e-3,
    ),
    ("none", False): Start(
        arch="Small/16",
        backbone={"timm_name": "vit_tiny_patch16_384", "width": 96, "depth": 4, "heads": 3},
        patch=16,
        depth=4,
        weights=None,
        learning_rate=3.0e-3,
    ),
} | dict.fromkeys(
    (("dinov2", True), ("dinov2", False)),
    Start(
        arch="DINOv2-S/14",
        backbone={"timm_name": "vit_small_patch14_dinov2"},
        patch=14,
        depth=12,
        weights="vit_small_patch14_dinov2.lvd142m",
        learning_rate=1.0e-4,
    ),
)
PRETRAIN = tuple(dict.fromkeys(pretrain for pretrain, _ in STARTS))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The numbers of a profile. Sizes are (height, width) in pixels, `scale` is (long, short)."""

    start: Start
    pretrain: str
    tap: int
    scale: tuple[int, int]
    crop: tuple[int, int]
    stride: tuple[int, int]
    batch_size: int
    steps: int
    gpu: bool

    @property
    def warmup_steps(self) -> int:
        return min(1500, max(self.steps // 10, 1))

    @property
    def log_every(self) -> int:
        return 50 if self.steps >= 1000 else min(10, self.steps)

    @property
    def validate_every(self) -> int:
        return max(self.steps // 4, 1)

    @property
    def checkpoint_every(self) -> int:
        return max(min(self.steps // 4, 1000), 1)


def choose_settings(
    size: tuple[int, int], num_train: int, *, pretrain: str = "augreg", gpu: bool, steps: int | None = None
) -> Settings:
    """Return settings for images of a typical `size` (height, width) in pixels.

    Args:
        size: the median height and width of the images.
        num_train: training images.
        pretrain: augreg (ImageNet-21k), dinov2 or none.
        gpu: whether the training runs on a GPU; a CPU gets smaller crops, batches and schedules.
        steps: the number of steps, if the user has chosen it.

    Raises:
        ConfigError: `pretrain` is unknown, the images are too small or there are none.
    """
    choose(pretrain, PRETRAIN, "pretrain")
    start = STARTS[pretrain, gpu]
    long, short = max(size), min(size)
    if short < _MIN_CROP_PATCHES * start.patch:
        raise ConfigError(
            f"the images are too small: expected at least {_MIN_CROP_PATCHES * start.patch} pixels on each "
            f"side; got {size[0]} x {size[1]}. Enlarge images and labels first."
        )
    if num_train < 1:
        raise ConfigError("there are no training images. Give a folder with more pairs.")
    limit = 1024 if gpu else 512  # of the short side; larger images are scaled down
    factor = min(limit / short, 1.0)
    scale = (round(long * factor), round(short * factor))
    side = min(scale[1], 512 if gpu else 256) // start.patch * start.patch
    stride = max(side * 2 // 3 // start.patch, 1) * start.patch
    batch_size = max(min(16 if gpu else 8, num_train), 1)
    epochs, fewest, most = (100, 2000, 80_000) if gpu else (30, 300, 4000)
    return Settings(
        start=start,
        pretrain=pretrain,
        tap=start.depth // 3,
        scale=scale,
        crop=(side, side),
        stride=(stride, stride),
        batch_size=batch_size,
        steps=min(max(-(-epochs * num_train // (100 * batch_size)) * 100, fewest), most)
        if steps is None
        else steps,
        gpu=gpu,
    )
