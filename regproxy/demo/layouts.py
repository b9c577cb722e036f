"""Generated data sets: drawn street scenes in the folder layouts of ADE20K, Cityscapes and folder."""

from pathlib import Path

import cv2
import numpy as np

from regproxy.config.formats import FORMATS, SPLITS
from regproxy.config.parse import choose
from regproxy.demo.canvas import SCENE_CLASSES
from regproxy.demo.scenes import draw_scene
from regproxy.errors import ConfigError
from regproxy.storage.atomic import atomic_folder
from regproxy.storage.json_file import write_json

MARKER = "demo.json"
DEMO_CLASSES: dict[str, tuple[str, ...]] = {
    "ade20k": SCENE_CLASSES,
    "cityscapes": tuple("vegetation" if name == "tree" else name for name in SCENE_CLASSES),
    "folder": SCENE_CLASSES,
}
_VOID = {"ade20k": (0, 0), "cityscapes": (4, 1), "folder": (255, 255)}  # values of OTHER and EGO on disk
_CITIES = ("demoburg", "demoville")
_GREY_EVERY = 20  # images per greyscale one: ADE20K has a few greyscale photographs
_MIN_HEIGHT = 32
# PNGs are not compressed, because decompressing these small files takes longer than reading them.
_ENCODING = {".jpg": (cv2.IMWRITE_JPEG_QUALITY, 95), ".png": (cv2.IMWRITE_PNG_COMPRESSION, 0)}


def write_demo(root: Path, *, format: str, num_train: int, num_val: int, seed: int, height: int) -> None:
    """Write a generated data set to the folder `root`, or replace an earlier one there, with `atomic_folder`.

    Each image depends only on (format, seed, split, index, height).

    Args:
        format: a key of DEMO_CLASSES, which lists the classes to train on.
        num_train, num_val: number of images of each split.
        height: of every image, pixels. Widths are 2 x height for cityscapes, else random.

    Raises:
        ConfigError: the format is unknown, a split has no images, or the height is below 32.
        DataError: `root` holds other files.
    """
    choose(format, DEMO_CLASSES, "demo format")
    if min(num_train, num_val) < 1 or height < _MIN_HEIGHT:
        raise ConfigError(
            f"demo is invalid: expected num_train and num_val >= 1 and height >= {_MIN_HEIGHT}; "
            f"got {num_train}, {num_val} and {height}. Change them in the profile."
        )
    official = {name: value for value, name in FORMATS[format].values.items()}
    classes = [official.get(name, index) for index, name in enumerate(DEMO_CLASSES[format])]
    values = np.array([*classes, *_VOID[format]], np.uint8)  # label value on disk of each drawn value
    with atomic_folder(root, marker=MARKER) as temporary:
        for split, count in (("train", num_train), ("val", num_val)):
            for index in range(count):
                image, label = draw_sample(format, seed=seed, split=split, index=index, height=height)
                image_path, label_path = _paths(temporary, format, split, index)
                grey = format == "ade20k" and index % _GREY_EVERY == _GREY_EVERY // 2
                _write(image_path, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY if grey else cv2.COLOR_RGB2BGR))
                _write(label_path, values[label])
        about = {"format": format, "num_train": num_train, "num_val": num_val, "seed": seed, "height": height}
        write_json(temporary / MARKER, {"generated": about}, indent=2)


def draw_sample(
    format: str, *, seed: int, split: str, index: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one sample: image (H, W, 3) uint8 RGB and label (H, W) uint8 as `draw_scene` returns them."""
    random = np.random.default_rng([seed, list(DEMO_CLASSES).index(format), SPLITS.index(split), index])
    if format == "cityscapes":
        return draw_scene(height, 2 * height, random, bonnet=True)
    return draw_scene(height, round(height * random.uniform(1.0, 1.4)), random)


def _paths(root: Path, format: str, split: str, index: int) -> tuple[Path, Path]:
    spec = FORMATS[format]
    name = f"{index + 1:08d}"
    if format == "ade20k":
        name = f"ADE_{split}_{name}"
    elif format == "cityscapes":
        city = _CITIES[index % len(_CITIES)]
        name = f"{city}/{city}_{index:06d}_000019"
    folder = spec.splits[SPLITS.index(split)]
    image = root / spec.image_folder / folder / f"{name}{spec.image_suffixes[0]}"
    return image, root / spec.label_folder / folder / f"{name}{spec.label_suffixes[0]}"


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(path.suffix, pixels, _ENCODING[path.suffix])
    path.write_bytes(encoded.tobytes())
