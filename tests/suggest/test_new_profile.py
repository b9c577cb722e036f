"""`regproxy new`: data sets as people have them become profiles that prepare accepts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regproxy.cli.main import main
from regproxy.config.profile import Profile
from regproxy.config.profile_file import load_profile
from regproxy.data.prepare import prepare

SIZE = (96, 128)
COLOURS = np.array([[128, 0, 0], [0, 128, 0], [0, 0, 128]], np.uint8)


def scene(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its classes 0, 1, 2."""
    generator = np.random.default_rng(number)
    classes = np.zeros(SIZE, np.uint8)
    classes[30 + number :] = 1
    classes[60:, 40 : 60 + number] = 2
    noise = generator.integers(0, 60, (*SIZE, 3))
    return (COLOURS[classes] + noise).astype(np.uint8), classes


@pytest.fixture(params=["profiles: [demo]", "profiles:\n  - demo\n  - camvid"], ids=["line", "list"])
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    (tmp_path / "pipelines/profiles").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text(f"# mine\n{request.param}\nother: 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_data(
    label: Callable[[np.ndarray], np.ndarray],
    *,
    folders: tuple[str, ...] = ("",),
    image_suffix: str = ".jpg",
    label_suffix: str = ".png",
    number: int = 10,
    image: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels,
) -> None:
    """Write images and labels below raw/photos and raw/masks, `number` in each of the folders."""
    for index in range(number * len(folders)):
        pixels, classes = scene(index % 20)
        name = f"{folders[index % len(folders)]}/{index:03}"
        for kind, suffix, content in (
            ("photos", image_suffix, image(pixels)),
            ("masks", label_suffix, label(classes)),
        ):
            path = Path(f"raw/{kind}/{name}{suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(path)


def new(*arguments: str) -> Profile:
    """Run the command, and return the profile after its data set could be prepared."""
    command = ["new", "mine", "--images", "raw/photos", "--labels", "raw/masks", "--pretrain", "none"]
    assert main([*command, "--device", "cpu", *arguments]) == 0
    assert Path("params.yaml").read_text() == "# mine\nprofiles: [mine]\nother: 1\n"
    profile = load_profile("mine")
    manifest = prepare(profile.datasets[0], Path("prepared"), workers=1)
    assert min(split["num_images"] for split in manifest["splits"].values()) > 0
    return profile


def test_folders_of_splits_and_plain_ids(repository: Path) -> None:
    write_data(lambda classes: classes, folders=("train", "valid", "test"))
    (data,) = new("--classes", "sky,road,car").datasets
    assert data.classes == ("sky", "road", "car")
    assert data.values == ()
    assert (data.splits.train, data.splits.val, data.splits.test) == ("train", "valid", "test")


def test_masks_of_0_and_255(repository: Path) -> None:
    write_data(lambda classes: (classes == 2).astype(np.uint8) * 255, label_suffix="_mask.png")
    (data,) = new().datasets
    assert data.classes == ("background", "object")
    assert data.values == ((0,), (255,))
    assert data.label_suffix == "_mask.png"
    assert data.val_share == 0.2


def test_ids_that_begin_with_1_and_a_thin_void_border(repository: Path) -> None:
    def label(classes: np.ndarray) -> np.ndarray:
        values = classes + 1
        values[:2] = 255
        return values

    write_data(label, image_suffix=".JPG", label_suffix="_L.png")
    (data,) = new("--classes", "sky,road,car").datasets
    assert data.values == ((1,), (2,), (3,))
    assert data.void_labels == (255,)


def test_colours_with_a_table(repository: Path) -> None:
    write_data(lambda classes: COLOURS[classes])
    Path("raw/class_dict.csv").write_text("name,r,g,b\nsky,128,0,0\nroad,0,128,0\ncar,0,0,128\n")
    (data,) = new("--colours", "raw/class_dict.csv").datasets
    assert data.classes == ("sky", "road", "car")
    assert data.colours[2] == ((0, 0, 128),)


def test_colours_without_a_table_get_names(repository: Path) -> None:
    write_data(lambda classes: COLOURS[classes])
    (data,) = new().datasets
    assert data.classes == ("colour-000080", "colour-008000", "colour-800000")


def test_16_bit_images_get_a_range(repository: Path) -> None:
    write_data(
        lambda classes: classes,
        image_suffix=".png",
        image=lambda pixels: pixels[..., 0].astype(np.uint16) * 16,
    )
    (data,) = new().datasets
    assert data.image_range == (0, 4095)


def test_an_ambiguous_void_value_is_asked_for(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_data(lambda classes: classes)
    command = ["new", "mine", "--images", "raw/photos", "--labels", "raw/masks", "--classes", "road,car"]
    assert main(command) == 1
    assert "If 0 is no class add --void 0, if 2 is none add --void 2" in capsys.readouterr().err
    assert not Path("pipelines/profiles/mine.yaml").exists()
    assert new("--classes", "road,car", "--void", "0").datasets[0].values == ((1,), (2,))


def test_an_existing_profile_stays(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_data(lambda classes: classes)
    Path("pipelines/profiles/mine.yaml").write_text("mine")
    assert main(["new", "mine", "--images", "raw/photos", "--labels", "raw/masks"]) == 1
    assert "Choose another name" in capsys.readouterr().err
    assert Path("pipelines/profiles/mine.yaml").read_text() == "mine"


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden", "é"])
def test_a_name_that_is_no_file_name_is_refused(
    repository: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(lambda classes: classes)
    assert main(["new", name, "--images", "raw/photos", "--labels", "raw/masks"]) == 1
    assert "letters, digits" in capsys.readouterr().err


def test_another_folder_than_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_data(lambda classes: classes)
    assert main(["new", "mine", "--images", "raw/photos", "--labels", "raw/masks"]) == 1
    assert "Run the command in the repository's root" in capsys.readouterr().err
    assert not Path("params.yaml").exists()


def test_masks_of_0_and_255_with_one_name(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_data(lambda classes: (classes == 2).astype(np.uint8) * 255)
    assert main(["new", "mine", "--images", "raw/photos", "--labels", "raw/masks", "--classes", "car"]) == 1
    assert "the number of classes, 1, does not fit the 2 values in the labels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "void", "message"),
    [
        (lambda classes: COLOURS[classes], "255", "the labels hold colours: give colours such as #e0e0c0"),
        (lambda classes: classes, "#000000", "the labels hold values: give values such as 255"),
    ],
)
def test_a_void_that_does_not_fit(
    repository: Path, label: Callable, void: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(label)
    assert main(["new", "mine", "--images", "raw/photos", "--labels", "raw/masks", "--void", void]) == 1
    assert message in capsys.readouterr().err
