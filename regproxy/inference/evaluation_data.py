"""The images and labels that a trained model is evaluated on: prepared data, or raw folders."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from regproxy.config.dataset import IGNORE_LABEL, DataConfig, Splits
from regproxy.config.formats import FORMATS, SPLITS
from regproxy.config.parse import choose
from regproxy.config.profile_file import load_profile, profile_path
from regproxy.data.pairs import Pair, find_pairs
from regproxy.data.scan import convert_pair
from regproxy.data.shards import MANIFEST, Record, Shards
from regproxy.errors import DataError
from regproxy.eval.score import Samples
from regproxy.raw.folders import text_of

_SHOWN = 3  # problems or classes that a message names
_LABEL_KEYS = ("void_labels", "void_colours", "values", "colours", "image_range", "exif")


class RawSamples:
    """The samples of a raw data set. A pair is checked and converted when it is read, as `prepare` does."""

    def __init__(self, data: DataConfig, pairs: list[Pair]) -> None:
        self.classes, self._data, self._pairs = data.classes, data, pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def read(self, index: int) -> Record:
        """Return a pair's record; raise DataError if its image or label is invalid."""
        converted = convert_pair(self._pairs[index], data=self._data)
        if converted.record is None:
            raise DataError(" ".join(converted.problems))
        return converted.record


def find_samples(
    place: str, split: str, model_data: DataConfig, format: str | None = None
) -> tuple[str, Samples]:
    """Return the name of a data set and the samples of one of its splits.

    Args:
        place: a folder, or PROFILE/DATASET. Of a profile's data set the prepared data are read, if there are
            any, else the raw files. A folder has either prepared data or raw files of `format`.
        split: train, val or test.
        model_data: the data set that the model was trained on. It gives the classes of raw files, and the
            meaning of their label values if it has the same format.
        format: of raw files, a key of FORMATS; by default "folder".

    Raises:
        DataError: there are no such data, or they have no such split or problems.
        ConfigError: the format or the split is unknown, or the profile is invalid.
    """
    choose(split, SPLITS, "split")
    folder = Path(place)
    if folder.is_dir():
        if (folder / MANIFEST).is_file():
            return folder.resolve().name, Shards(folder, split)
        data = _raw_data(folder, split, model_data, choose(format or "folder", FORMATS, "format"))
        return data.name, _raw_samples(data, split)
    profile, _, name = place.partition("/")
    if not name or not profile_path(profile).is_file():
        raise DataError(
            f"{place} is no data: expected a folder of prepared data, a folder with images and labels, or "
            "PROFILE/DATASET, such as demo/ade20k, in the repository's root folder."
        )
    datasets = {data.name: data for data in load_profile(profile).datasets}
    data = datasets[choose(name, datasets, f"data set of profile {profile}")]
    prepared = Path("data/prepared", profile, name)
    if (prepared / MANIFEST).is_file():
        return name, Shards(prepared, split)
    return name, _raw_samples(data, split)


def match_classes(data: tuple[str, ...], model: tuple[str, ...]) -> list[int] | None:
    """Return the model's id of each of the data's classes; None if both have the same classes in this order.

    Raises:
        DataError: the model lacks a class of the data.
    """
    if data == model:
        return None
    missing = [name for name in data if name not in model]
    if missing:
        raise DataError(
            f"the data's classes do not fit the model: {len(missing)} of {len(data)} are not among the "
            f"model's {len(model)} ({_shown(missing)}). Evaluate on data with the model's classes."
        )
    return [model.index(name) for name in data]


def label_ids(ids: list[int]) -> np.ndarray:
    """Return the model's class of each label value of the data, uint8 (256,); void stays void.

    Args:
        ids: from `match_classes`.
    """
    table = np.full(256, IGNORE_LABEL, np.uint8)
    table[: len(ids)] = ids
    return table


def _raw_data(folder: Path, split: str, model_data: DataConfig, format: str) -> DataConfig:
    """Return the data set of a raw folder with the usual folders of its format."""
    spec = FORMATS[format]
    known = not spec.classes or set(model_data.classes) <= set(spec.classes)
    same = format == model_data.format
    data = DataConfig(
        name=folder.resolve().name,
        format=format,
        root=str(folder.resolve()),
        classes=model_data.classes if known else spec.classes,
        allow_partial=True,
        **{key: getattr(model_data, key) for key in _LABEL_KEYS if same},
    )
    usual = dict(zip(("train", "val"), spec.splits, strict=True)).get(split, split)
    flat = not (folder / spec.image_folder / usual).is_dir() and (folder / spec.image_folder).is_dir()
    return replace(data, splits=Splits(**{split: "." if flat else usual}))


def _raw_samples(data: DataConfig, split: str) -> RawSamples:
    if split not in data.split_names:
        raise DataError(f"data set {data.name} has no split {split}: it has {', '.join(data.split_names)}.")
    found = find_pairs(data, (split,))
    if found.problems:
        raise DataError(
            f"data set {data.name} cannot be read: {len(found.problems)} problems. {_shown(found.problems)}"
        )
    return RawSamples(data, found.splits[split])


def _shown(names: list[str]) -> str:
    return ", ".join(map(text_of, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
