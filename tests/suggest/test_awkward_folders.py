"""`regproxy new` on folders that need more than a glance: one sentence, or a profile that prepare accepts."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from regproxy.cli.main import main
from regproxy.config.dataset import DataConfig
from regproxy.config.profile_file import load_profile
from regproxy.data.prepare import prepare

SIZE = (96, 128)
VOC = "ImageSets/Segmentation"


def classes_of(number: int) -> np.ndarray:
    """Return the classes 0, 1, 2 of an image, uint8."""
    classes = np.zeros(SIZE, np.uint8)
    classes[30 + number % 20 :] = 1
    classes[60:, 40:60] = 2
    return classes


def write(number: int = 10, *, labels: str = "raw/masks/{}.png", images: str = "raw/photos/{}.jpg") -> None:
    for index in range(number):
        noise = np.random.default_rng(index).integers(0, 255, (*SIZE, 3))
        for name, pixels in ((images, noise.astype(np.uint8)), (labels, classes_of(index))):
            path = Path(name.format(f"{index:03}"))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


@pytest.fixture
def new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[DataConfig | None, str]]:
    """Return a function that runs the command: the data set, or None after an error; what was printed."""
    (tmp_path / "pipelines/profiles").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def run(
        *options: str, images: str = "raw/photos", labels: str = "raw/masks"
    ) -> tuple[DataConfig | None, str]:
        command = ["new", "mine", "--images", images, "--labels", labels, "--pretrain", "none"]
        before = os.listdir("pipelines/profiles")
        status = main([*command, "--device", "cpu", "--force", *options])
        printed = "".join(capsys.readouterr())
        if status:
            assert printed.startswith("error: ")
            assert printed.count("\n") == 1
            assert os.listdir("pipelines/profiles") == before
            return None, printed
        return load_profile("mine").datasets[0], printed

    return run


def pairs(data: DataConfig) -> dict[str, int]:
    manifest = prepare(data, Path("prepared"), workers=1)
    return {name: split["num_images"] for name, split in manifest["splits"].items()}


@pytest.mark.parametrize(
    ("images", "labels", "keys"),
    [
        ("raw/{}.jpg", "raw/{}.png", (None, ".png")),
        ("raw/{}.png", "raw/{}_mask.png", (None, "_mask.png")),
        ("raw/{}_img.png", "raw/{}-seg.png", ("_img.png", "-seg.png")),
    ],
)
def test_images_and_labels_in_one_folder(new: Callable, images: str, labels: str, keys: tuple) -> None:
    write(images=images, labels=labels)
    data, _ = new(images="raw", labels="raw")
    assert (data.image_suffix, data.label_suffix) == keys
    assert sum(pairs(data).values()) == 10


def test_one_folder_whose_names_do_not_tell(new: Callable) -> None:
    write()
    _, message = new(labels="raw/photos")
    assert "Let the names of the labels end in _mask.png" in message


def test_lists_of_voc_with_images_that_have_no_label(new: Callable) -> None:
    write(8, images="raw/JPEGImages/{}.jpg", labels="raw/SegmentationClass/{}.png")
    folders = {"images": "raw/JPEGImages", "labels": "raw/SegmentationClass"}
    Path("raw/SegmentationClass/001.png").unlink()
    _, message = new(**folders)
    assert "without a partner of the same name: 1, such as raw/JPEGImages/001.jpg" in message
    Path(f"raw/{VOC}").mkdir(parents=True)
    Path(f"raw/{VOC}/train.txt").write_text("000\n002\n003\n")
    Path(f"raw/{VOC}/val.txt").write_text("004\n005\n")
    Path(f"raw/{VOC}/test.txt").write_text("001\n")
    data, _ = new(**folders)
    assert (data.splits.train, data.splits.test) == (f"{VOC}/train.txt", None)
    assert pairs(data) == {"train": 3, "val": 2}


def test_a_folder_beside_the_splits_is_left_out(new: Callable) -> None:
    for folder in ("train", "val", "old"):
        write(2, images=f"raw/photos/{folder}/{{}}.jpg", labels=f"raw/masks/{folder}/{{}}.png")
    data, printed = new()
    assert "left out: folder old" in printed
    assert pairs(data) == {"train": 2, "val": 2}


def test_splits_that_hold_images_and_labels(new: Callable) -> None:
    for split in ("train", "valid"):
        write(3, images=f"raw/{split}/images/{{}}.jpg", labels=f"raw/{split}/masks/{{}}_L.png")
    data, _ = new(images="raw/{split}/images", labels="raw/{split}/masks")
    assert (data.images, data.labels, data.splits.val) == ("{split}/images", "{split}/masks", "valid")
    assert pairs(data) == {"train": 3, "val": 3}
    assert "fewer than two splits" in new(images="raw/{split}/images", labels="raw/{split}/x")[1]


def test_a_share_that_draws_no_image_grows(new: Callable) -> None:
    write(3, images="raw/photos/k{}.jpg", labels="raw/masks/k{}.png")  # hashes: 0.23, 0.83 and 0.72
    data, _ = new()
    assert data.val_share == 0.3
    assert min(pairs(data).values()) > 0


@pytest.mark.parametrize(("factor", "high"), [(1 / 255, 1), (1, 255), (1000, 255_000)])
def test_float_images_get_a_range(new: Callable, factor: float, high: float) -> None:
    write()
    for path in Path("raw/photos").iterdir():
        pixels = cv2.imread(str(path)).astype(np.float32) * factor
        path.unlink()
        cv2.imwrite(str(path.with_suffix(".tif")), pixels)
    data, _ = new()
    assert data.image_range == (0, pytest.approx(high, rel=0.1))
    assert sum(pairs(data).values()) == 10


def test_a_broken_link_is_named(new: Callable) -> None:
    write()
    for link in ("raw/photos/zz.jpg", "raw/masks/zz.png"):
        os.symlink("nowhere", link)
    assert "raw/photos/zz.jpg cannot be read (No such file" in new()[1]


def test_a_folder_whose_name_is_not_utf8(new: Callable) -> None:
    write()
    os.rename("raw", b"r\xdf")
    folder = os.fsdecode(b"r\xdf")
    assert "is not UTF-8" in new(images=f"{folder}/photos", labels=f"{folder}/masks")[1]


def test_a_guessed_void_value_is_reported(new: Callable) -> None:
    write()
    for path in Path("raw/masks").iterdir():
        Image.fromarray(np.array([0, 128, 255], np.uint8)[np.asarray(Image.open(path))]).save(path)
    data, printed = new()
    assert data.void_labels == (255,)
    assert "of the pixels are 255. If that is a class, name all classes with --classes" in printed
    assert new("--classes", "a,b,c")[0].values == ((0,), (128,), (255,))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([7, 7, 7], "only the value 7"),
        ([0, 1, 70_000], "expected 0..65,535"),
        ([-1, 0, 1], "expected 0..65,535"),
    ],
)
def test_values_that_are_no_classes(new: Callable, values: list[int], message: str) -> None:
    write()
    for path in Path("raw/masks").iterdir():
        label = np.array(values, np.int32)[np.asarray(Image.open(path))]
        path.unlink()
        Image.fromarray(label).save(path.with_suffix(".tif"))
    assert message in new()[1]


def test_a_file_of_class_names(new: Callable) -> None:
    write()
    Path("names.txt").write_bytes("\ufeffsky, clear\r\nStraße\r\ncar\r\n".encode())
    assert new("--classes", "names.txt")[0].classes == ("sky, clear", "Straße", "car")


def test_class_names_that_cannot_be_read(new: Callable) -> None:
    write()
    Path("names.txt").write_bytes(b"stra\xdfe\n")
    assert "names.txt is not UTF-8" in new("--classes", "names.txt")[1]
    assert "the file other.txt is missing" in new("--classes", "other.txt")[1]


def test_more_class_names_than_a_file_name_has_room_for(new: Callable) -> None:
    write()
    assert len(new("--classes", ",".join(f"class number {k}" for k in range(150)))[0].classes) == 150


def test_no_steps_are_refused(new: Callable) -> None:
    write()
    assert "steps is invalid" in new("--steps", "0")[1]
