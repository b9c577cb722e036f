"""The IoU of each class, and the confusion matrix."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from report_records import gather, write

from regproxy.config.formats import FORMATS
from regproxy.config.profile import Profile
from regproxy.eval.image_confusions import SparseMatrix, pack
from regproxy.figures import class_plots, confusion_plots

ADE20K = FORMATS["ade20k"].classes


def write_ious(root: Path, profile: Profile, variant: str, ious: list[list[float | None]]) -> None:
    trained = {"variant": next(v for v in profile.variants if v.name == variant).to_dict()}
    for seed, values in enumerate(ious):
        write(root, f"ade20k/{variant}/{seed}", 0.4, run=trained, iou_per_class=values)


def with_classes(profile: Profile, classes: tuple[str, ...]) -> Profile:
    """Return the profile with other classes on ADE20K, and only that data set."""
    data = dataclasses.replace(profile.datasets[0], classes=classes)
    variants = [dataclasses.replace(v, data=data) for v in profile.variants if v.data.name == "ade20k"]
    return dataclasses.replace(profile, datasets=(data,), variants=tuple(variants))


def test_scores_of_a_class_are_median_and_range_of_its_seeds(profile: Profile, tmp_path: Path) -> None:
    profile = with_classes(profile, ("sky", "road", "car"))
    write_ious(tmp_path, profile, "linear", [[0.5, 0.1, None], [0.6, None, None], [0.4, 0.2, None]])
    write_ious(tmp_path, profile, "region-4x4", [[0.7, 0.1, 0.5]])
    scores = gather(profile, tmp_path)
    pair = (scores["linear", "ade20k"], scores["region-4x4", "ade20k"])
    first, second = class_plots.class_scores(*pair)
    assert (first.index, second.index) == (0, 1)  # no score of a car to compare with
    assert first.baseline == pytest.approx((50, 40, 60)) and first.gain == pytest.approx(20)
    assert second.baseline == pytest.approx((15, 10, 20))
    (picture,) = class_plots.draw_classes(profile, scores, profile.datasets[0], tmp_path)
    content = (tmp_path / "classes-ade20k.svg").read_text()
    assert ">sky</text>" in content and ">+20.0</text>" in content and ">−5.0</text>" in content
    assert picture.caption.startswith("The classes of ADE20K layout, the best of RegProxy 4×4 on top.")


def test_of_150_classes_those_with_the_largest_differences_are_shown(
    profile: Profile, tmp_path: Path
) -> None:
    profile = with_classes(profile, ADE20K)
    gains = np.where(np.arange(150) % 5 == 0, 0.2, 0.01)
    write_ious(tmp_path, profile, "linear", [[0.3] * 150])
    write_ious(tmp_path, profile, "region-4x4", [list(0.3 + gains)])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (picture,) = class_plots.draw_classes(
            profile, gather(profile, tmp_path), profile.datasets[0], tmp_path / name
        )
    content = (tmp_path / "a/classes-ade20k.svg").read_text()
    shown = {name for index, name in enumerate(ADE20K) if index % 5 == 0}
    assert all((f">{name}</text>" in content) == (name in shown) for name in ADE20K)
    assert "The 30 of 150 classes of ADE20K layout with the largest differences" in picture.caption
    for suffix in (".png", ".svg"):
        files = (tmp_path / name / f"classes-ade20k{suffix}" for name in ("a", "b"))
        assert len({file.read_bytes() for file in files}) == 1


def test_no_plot_of_classes_without_two_scored_variants(profile: Profile, tmp_path: Path) -> None:
    data = profile.datasets[0]
    assert class_plots.draw_classes(profile, gather(profile, tmp_path), data, tmp_path) == []
    write(tmp_path, "ade20k/linear/0", 0.4)  # a record without the IoU of classes
    write(tmp_path, "ade20k/region-4x4/0", 0.4)
    assert class_plots.draw_classes(profile, gather(profile, tmp_path), data, tmp_path) == []
    for pictures in (None, dataclasses.replace(profile.pictures, variants=("linear",), main="linear")):
        other = dataclasses.replace(profile, pictures=pictures)
        assert class_plots.draw_classes(other, gather(profile, tmp_path), data, tmp_path) == []


def test_confusions_are_shares_of_each_label(profile: Profile, tmp_path: Path) -> None:
    profile = with_classes(profile, ("sky", "road", "car"))
    data = profile.datasets[0]
    images = [np.array([[6, 2, 0], [0, 0, 0], [0, 0, 0]]), np.array([[0, 0, 0], [1, 3, 0], [0, 0, 0]])]
    text = pack([SparseMatrix.of(image) for image in images], 3)
    trained = {"variant": profile.variants[-1].to_dict()}
    write(tmp_path, "ade20k/region-4x4/0", 0.4, run=trained)
    assert confusion_plots.draw_confusions(profile, gather(profile, tmp_path), data, tmp_path) == []
    changes = {"confusion_per_image": text, "num_images": 2, "classes": list(data.classes)}
    write(tmp_path, "ade20k/region-4x4/0", 0.4, run=trained, **changes)
    (picture,) = confusion_plots.draw_confusions(profile, gather(profile, tmp_path), data, tmp_path)
    content = (tmp_path / "confusions-ade20k.svg").read_text()
    assert content.count(">75</text>") == 2 and content.count(">25</text>") == 2
    assert ">car</text>" not in content  # no pixel has this label
    assert "RegProxy 4×4 on ADE20K layout, seed 0" in picture.caption and "Shown are" not in picture.caption
    other = dataclasses.replace(profile, pictures=None)
    assert confusion_plots.draw_confusions(other, gather(profile, tmp_path), data, tmp_path) == []


def test_of_150_classes_the_most_confused_are_shown(tmp_path: Path) -> None:
    matrix = np.eye(150, dtype=np.int64) * 1000
    matrix[10, 140] = 500
    matrix[np.arange(30, 47), 149] = 20
    chosen = confusion_plots.most_confused(matrix, 20)
    assert chosen.tolist() == [10, *range(30, 47), 140, 149]
    assert confusion_plots.draw_confusion(matrix, ADE20K, tmp_path / "a.png") == 20
    assert f">{ADE20K[140]}</text>" in (tmp_path / "a.svg").read_text()


def test_names_with_dollar_signs_are_no_formulas(tmp_path: Path) -> None:
    name = r"a $\frac{$"
    confusion_plots.draw_confusion(np.eye(2, dtype=int), [name, "b"], tmp_path / "a.png")
    assert f">{name}</text>" in (tmp_path / "a.svg").read_text()
