"""The pairs found in folders: layouts, splits, file names, and what is left out or refused."""

import os
import shutil
from pathlib import Path

import pytest

from regproxy.config.dataset import DataConfig
from regproxy.config.formats import resolve_classes
from regproxy.data.pairs import FoundPairs, Pair, find_pairs


def config(root: Path, format: str = "folder", **more) -> DataConfig:
    classes = resolve_classes(format, ("x",) if format == "folder" else None, "here")
    values = {"name": "set", "root": str(root), "allow_partial": True} | more
    return DataConfig(format=format, classes=classes, **values)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def fill(
    root: Path, images: str = "images/{split}/{id}.jpg", labels: str = "annotations/{split}/{id}.png"
) -> None:
    """Write empty files: three training pairs and one validation pair."""
    for split, ids in (("train", "abc"), ("val", "d")):
        touch(root, *(name.format(split=split, id=id) for id in ids for name in (images, labels)))


def ids(found: FoundPairs) -> dict[str, str]:
    return {split: " ".join(pair.id for pair in pairs) for split, pairs in found.splits.items()}


def accepted(root: Path, **more) -> dict[str, str]:
    found = find_pairs(config(root, **more))
    assert not found.problems
    return ids(found)


def refused(root: Path, **more) -> str:
    (problem,) = find_pairs(config(root, **more)).problems
    return problem


def test_ade20k_pairs_are_sorted(tmp_path: Path) -> None:
    fill(tmp_path)
    for kind in ("images", "annotations"):
        for ours, theirs in (("train", "training"), ("val", "validation")):
            (tmp_path / kind / ours).rename(tmp_path / kind / theirs)
    touch(tmp_path, "images/training/.hidden.jpg")
    found = find_pairs(config(tmp_path, "ade20k"))
    assert (ids(found), found.problems) == ({"train": "a b c", "val": "d"}, [])
    assert found.splits["train"][0].label == tmp_path / "annotations/training/a.png"
    problems = find_pairs(config(tmp_path, "ade20k", allow_partial=False)).problems
    assert "expected 20,210 ade20k images; got 3." in problems[0] and "allow_partial" in problems[0]


def test_cityscapes_pairs(tmp_path: Path) -> None:
    for split in ("train", "val"):
        touch(tmp_path, f"leftImg8bit/{split}/ulm/{split}_000019_leftImg8bit.png")
        label = f"gtFine/{split}/ulm/{split}_000019_gtFine"
        touch(tmp_path, f"{label}_labelIds.png", f"{label}_color.png", f"{label}_polygons.json")
    found = find_pairs(config(tmp_path, "cityscapes"))
    image = tmp_path / "leftImg8bit/val/ulm/val_000019_leftImg8bit.png"
    label = tmp_path / "gtFine/val/ulm/val_000019_gtFine_labelIds.png"
    assert found.splits["val"] == [Pair("ulm/val_000019", image, label)]
    assert not found.problems


def test_folder_takes_many_suffixes_and_subfolders(tmp_path: Path) -> None:
    fill(tmp_path)
    touch(
        tmp_path,
        "images/train/deep/e.JPEG",
        "images/train/f.PNG",
        "images/train/g.tiff",
        "images/train/h.webp",
    )
    touch(tmp_path, *(f"annotations/train/{name}" for name in ("deep/e.png", "f.PNG", "g.tif", "h.bmp")))
    assert accepted(tmp_path)["train"] == "a b c deep/e f g h"


def test_folder_problems_are_named(tmp_path: Path) -> None:
    assert "root nowhere is missing" in refused(Path("nowhere"))
    fill(tmp_path)
    shutil.rmtree(tmp_path / "annotations/train")
    assert "annotations/train is missing. Put the labels (*.png, " in refused(tmp_path)
    touch(tmp_path, "annotations/train/b.png", "annotations/train/c.png", "annotations/train/e.png")
    found = find_pairs(config(tmp_path))
    assert ids(found) == {"train": "b c", "val": "d"}
    assert "Add it, or remove the image." in found.problems[0]
    assert "a.jpg has no label" in found.problems[0] and "e.png has no image" in found.problems[1]
    touch(tmp_path, "images/train/a.png")
    assert "same id 'a'" in refused(tmp_path)


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "images/train/a.jpg").rename(tmp_path / "images/train/a.heic")
    assert "images of a kind that is not read: 1, such as" in refused(tmp_path)
    (tmp_path / "images/train/a.heic").rename(tmp_path / "images/train/a.jpg")
    (tmp_path / "annotations/train/a.png").rename(tmp_path / "annotations/train/a.jpg")
    assert "a.jpg has no label" in refused(tmp_path) and "a JPEG, which changes label values" in refused(
        tmp_path
    )


@pytest.mark.parametrize(
    ("images", "labels", "keys"),
    [
        ("images/{split}/{id}1.png", "annotations/{split}/{id}1_L.png", {"label_suffix": "_L.png"}),
        ("images/{split}/{id}_sat.jpg", "annotations/{split}/{id}_mask.png", {
            "image_suffix": "_sat.jpg", "label_suffix": "_mask.png"
        }),
        ("images/{split}/{id}_image.jpg", "annotations/{split}/{id}.png", {"image_suffix": "_image.jpg"}),
    ],
)  # fmt: skip
def test_endings_that_pair_are_proposed(tmp_path: Path, images: str, labels: str, keys: dict) -> None:
    fill(tmp_path, images, labels)
    problems = find_pairs(config(tmp_path)).problems
    assert all(f"{key}: {ending}" in problem for key, ending in keys.items() for problem in problems)
    assert len(problems) == 2 and accepted(tmp_path, **keys)["val"] in ("d", "d1")


def test_folders_of_other_names(tmp_path: Path) -> None:
    fill(tmp_path, "JPEGImages/{split}/{id}.jpg", "SegmentationClass/{split}/{id}.png")
    problems = find_pairs(config(tmp_path)).problems
    assert "name your folder under images, labels or splits" in problems[0] and "JPEGImages" in problems[0]
    assert accepted(tmp_path, images="JPEGImages", labels="SegmentationClass") == {
        "train": "a b c",
        "val": "d",
    }


def test_splits_above_the_folders(tmp_path: Path) -> None:
    fill(tmp_path, "{split}/images/{id}.jpg", "{split}/labels/{id}.png")
    assert accepted(tmp_path, images="{split}/images", labels="{split}/labels") == {
        "train": "a b c",
        "val": "d",
    }


def test_images_and_labels_in_one_folder(tmp_path: Path) -> None:
    fill(tmp_path, "both/{split}/{id}.png", "both/{split}/{id}_mask.png")
    keys = {"images": "both", "labels": "both"}
    problems = find_pairs(config(tmp_path, **keys)).problems
    assert len(problems) == 2 and "set label_suffix, such as _mask.png" in problems[0]
    assert accepted(tmp_path, **keys, label_suffix="_mask.png") == {"train": "a b c", "val": "d"}


def test_labels_in_a_folder_below_the_images(tmp_path: Path) -> None:
    touch(tmp_path, *(name for i in range(20) for name in (f"{i}.jpg", f"masks/{i}.png")))
    splits = accepted(tmp_path, images=".", labels="masks", val_share=0.3)
    assert sorted(" ".join(splits.values()).split(), key=int) == [str(i) for i in range(20)]


def test_hidden_and_temporary_files_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path)
    names = (".ipynb_checkpoints/a-checkpoint", "__MACOSX/._a", ".b", "~$c")
    touch(tmp_path, *(f"images/train/{name}.jpg" for name in names), "images/train/Thumbs.db")
    touch(tmp_path, *(f"annotations/train/{name}.png" for name in names), "annotations/train/a.png~")
    found = find_pairs(config(tmp_path))
    assert (ids(found), found.problems) == ({"train": "a b c", "val": "d"}, [])
    (note,) = found.notes
    assert note.startswith("set: left out 10 hidden or temporary files and folders, such as ")


def test_links_are_followed_and_no_folder_is_read_twice(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    for kind in ("images", "annotations"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for split in ("train", "val"):
            (tmp_path / "set" / kind / split).symlink_to(tmp_path / "store" / kind / split)
        (tmp_path / "store" / kind / "train/train").symlink_to(tmp_path / "store" / kind / "train")
        (tmp_path / "store" / kind / "val/up").symlink_to(tmp_path / "store" / kind)
    found = find_pairs(config(tmp_path / "set"))
    assert found.splits["train"][0].id == "a" and len(found.splits["train"]) == 3
    assert "left out" in found.notes[0] and "links to folders that are read already" in found.notes[0]


def test_two_splits_of_one_folder_are_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    for kind in ("images", "annotations"):
        shutil.rmtree(tmp_path / kind / "val")
        (tmp_path / kind / "val").symlink_to(tmp_path / kind / "train")
    assert "splits train and val have 3 images in common" in refused(tmp_path)


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    fill(tmp_path)
    for kind, suffix in (("images", b".jpg"), ("annotations", b".png")):
        folder = os.fsencode(tmp_path / kind / "train")
        os.rename(folder + b"/a" + suffix, folder + b"/stra\xdfe" + suffix)
    assert accepted(tmp_path)["train"] == r"b c stra\xdfe"
    os.remove(os.fsencode(tmp_path / "annotations/train") + b"/stra\xdfe.png")
    assert r"stra\xdfe.jpg has no label" in refused(tmp_path)


def test_composed_and_decomposed_letters_are_equal(tmp_path: Path) -> None:
    fill(tmp_path)
    touch(tmp_path, "images/train/stra\u00dfe \u00e4.jpg", "annotations/train/stra\u00dfe a\u0308.png")
    assert accepted(tmp_path)["train"].endswith("stra\u00dfe \u00e4")
