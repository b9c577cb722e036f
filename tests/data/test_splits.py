"""Which images belong to which split: lists in text files, shares, folds, an optional test split."""

from pathlib import Path

import pytest

from regproxy.config.dataset import DataConfig, Splits
from regproxy.data.pairs import find_pairs


def config(root: Path, **more) -> DataConfig:
    return DataConfig(name="set", format="folder", root=str(root), classes=("x",), **more)


def touch(root: Path, *ids: str, split: str = ".") -> None:
    for kind, suffix in (("images", ".jpg"), ("annotations", ".png")):
        (root / kind / split).mkdir(parents=True, exist_ok=True)
        for id in ids:
            (root / kind / split / (id + suffix)).touch()


def accepted(root: Path, **more) -> dict[str, str]:
    found = find_pairs(config(root, **more))
    assert not found.problems
    return {split: " ".join(pair.id for pair in pairs) for split, pairs in found.splits.items()}


def refused(root: Path, **more) -> str:
    (problem,) = find_pairs(config(root, **more)).problems
    return problem


def flat(root: Path, count: int) -> None:
    touch(root, *map(str, range(count)))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("a\nb\n", "a b"),
        ("\ufeffb.jpg\r\n\r\na.jpg\r\n a.jpg \r\n", "a b"),
        ("/images/a.jpg /annotations/a.png\nimages/b.jpg annotations/b.png\n", "a b"),
        ("c d\n", "c d"),
    ],
)
def test_lists_of_images(tmp_path: Path, lines: str, expected: str) -> None:
    touch(tmp_path, "a", "b", "c d", "e")
    (tmp_path / "images/without label.jpg").touch()
    (tmp_path / "train.txt").write_text(lines, encoding="utf-8", newline="")
    (tmp_path / "val.txt").write_text("e\n")
    splits = Splits(train="train.txt", val="val.txt")
    assert accepted(tmp_path, splits=splits) == {"train": expected, "val": "e"}


def test_mistakes_in_lists(tmp_path: Path) -> None:
    touch(tmp_path, "a", "b")
    (tmp_path / "images/c.jpg").touch()
    splits = Splits(train="train.txt", val="val.txt")
    (tmp_path / "train.txt").write_text("a\nz\n")
    (tmp_path / "val.txt").write_text("b\n")
    assert "train.txt names 1 images that are not in" in refused(tmp_path, splits=splits)
    (tmp_path / "train.txt").write_text("a\nb\n")
    assert "have 1 images in common" in refused(tmp_path, splits=splits)
    (tmp_path / "train.txt").write_text("a\nc\n")
    assert "c.jpg has no label" in refused(tmp_path, splits=splits)
    (tmp_path / "train.txt").write_text("\n")
    assert "train.txt names no images" in refused(tmp_path, splits=splits)
    (tmp_path / "train.txt").unlink()
    assert "train.txt cannot be read (No such file or directory)" in refused(tmp_path, splits=splits)


def test_shares_are_stable_when_files_are_added(tmp_path: Path) -> None:
    flat(tmp_path, 100)
    before = accepted(tmp_path, val_share=0.2, test_share=0.1)
    assert 60 <= len(before["train"].split()) <= 80 and list(before) == ["train", "val", "test"]
    flat(tmp_path, 200)
    after = accepted(tmp_path, val_share=0.2, test_share=0.1)
    for split, names in before.items():
        assert set(names.split()) == {name for name in after[split].split() if int(name) < 100}


def test_folds_cover_each_image_once(tmp_path: Path) -> None:
    flat(tmp_path, 50)
    folds = [accepted(tmp_path, folds=5, fold=fold) for fold in range(5)]
    names = sorted(name for fold in folds for name in fold["val"].split())
    assert names == sorted(map(str, range(50)))
    assert all(len((fold["train"] + " " + fold["val"]).split()) == 50 for fold in folds)


def test_a_share_that_draws_nothing(tmp_path: Path) -> None:
    flat(tmp_path, 3)
    assert "split val has none of the 3 images" in refused(tmp_path, val_share=0.001)


def test_flat_folders_need_a_share(tmp_path: Path) -> None:
    flat(tmp_path, 3)
    assert "set val_share: 0.2 to draw the splits" in find_pairs(config(tmp_path)).problems[0]


def test_a_test_split(tmp_path: Path) -> None:
    for split, id in (("train", "a"), ("val", "b"), ("check", "c")):
        touch(tmp_path, id, split=split)
    assert accepted(tmp_path, splits=Splits(test="check")) == {"train": "a", "val": "b", "test": "c"}
