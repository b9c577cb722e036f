"""`regproxy check-data`: what it prints and writes, its exit status, and the ways to name a data set."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from regproxy.cli.main import main

PROFILE = """
seeds: [0]
demo: null
architectures:
  Tiny/16: {{backbone: {{timm_name: vit_tiny_patch16_384, width: 32, depth: 2, heads: 2}}, taps: {{}}}}
datasets:
  first: {{format: folder, root: {root}, classes: [road, <car>]}}
  second: {{format: folder, root: {root}, classes: [road, car], splits: {{test: test}}}}
recipe: {{steps: 4, crop: [64, 64], scale: [64, 64], batch_size: 4, learning_rate: 1.0e-3}}
evaluation: {{scale: [64, 64], window: [64, 64], stride: [64, 64]}}
variants:
  linear: {{arch: Tiny/16, head: linear}}
"""


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a profile with two descriptions of one folder data set; return its file."""
    monkeypatch.chdir(tmp_path)
    for split, count in (("train", 8), ("val", 3), ("test", 1)):
        for index in range(count):
            put(tmp_path / "raw", split, index, value=1)
    file = tmp_path / "mine.yaml"
    file.write_text(PROFILE.format(root=tmp_path / "raw"))
    return file


def put(root: Path, split: str, index: int, *, value: int) -> None:
    """Write image and label number `index`, of 20 + index rows; `value` is the label below row 10."""
    image = np.random.default_rng([index, len(split)]).integers(0, 256, (20 + index, 24, 3), np.uint8)
    label = np.zeros(image.shape[:2], np.uint8)
    label[10:] = value
    for kind, suffix, pixels in (("images", ".jpg", image), ("annotations", ".png", label)):
        file = root / kind / split / f"{index}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())


Captured = pytest.CaptureFixture[str]


def test_a_good_data_set(profile: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["check-data", f"{profile}/first"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "`prepare` accepts data set first."
    (road,) = [line.split() for line in lines if line.strip().startswith("road")]
    assert road[1:] == ["42.55", "%", "47.62", "%", "8", "3", "1,920", "720"]
    assert lines[-2] == "The report is check-first/check.html."
    assert sorted(file.name for file in (tmp_path / "check-first").iterdir()) == [
        "check.html",
        "contact-sheet.png",
    ]
    html = (tmp_path / "check-first/check.html").read_text()
    assert "&lt;car&gt;" in html and "data:image/png;base64," in html and "20–27" in html


def test_the_contact_sheet_shows_images_of_every_split(profile: Path, tmp_path: Path) -> None:
    assert main(["check-data", f"{profile}/second", "--out", "sheet"]) == 0
    html = (tmp_path / "sheet/check.html").read_text()
    assert "train 0, train 1, train 3, train 4, train 6, train 7, val 0, val 1, val 2, test 0." in html
    sheet = cv2.imread(str(tmp_path / "sheet/contact-sheet.png"))
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3).tolist()}
    assert len(colours) > 256, (
        "the pictures are in full colour, so that the legend has the colours of the labels"
    )


def test_a_file_name_with_a_line_break_and_a_long_one(profile: Path, tmp_path: Path) -> None:
    for kind, suffix in (("images", ".jpg"), ("annotations", ".png")):
        for number, name in enumerate(("a\nb", "y" * 200)):
            folder = tmp_path / "raw" / kind / "val"
            (folder / f"{number}{suffix}").rename(folder / f"{name}{suffix}")
    assert main(["check-data", f"{profile}/first"]) == 0
    assert cv2.imread("check-first/contact-sheet.png").shape[2] == 3


def test_several_data_sets_and_a_second_run(profile: Path, tmp_path: Path, capsys: Captured) -> None:
    for _ in range(2):
        assert main(["check-data", str(profile), "--out", "both"]) == 0
    assert {file.parent.name for file in tmp_path.glob("both/*/check.html")} == {"first", "second"}
    assert capsys.readouterr().out.count("`prepare` accepts") == 4


def test_a_refused_data_set_has_status_1(profile: Path, tmp_path: Path, capsys: Captured) -> None:
    for split, count in (("train", 8), ("val", 3)):
        for index in range(count):
            put(tmp_path / "raw", split, index, value=255)
    assert main(["check-data", f"{profile}/first"]) == 1
    out = capsys.readouterr().out
    assert "`prepare` refuses data set first: 1 problem." in out
    assert "labels hold only 0 and 255. Set values: {road: 0, <car>: 255}." in out
    (tmp_path / "raw/images/train/3.jpg").write_bytes(b"no image")
    assert main(["check-data", f"{profile}/first"]) == 1
    assert "images/train/3.jpg: the image cannot be decoded" in capsys.readouterr().out


def test_a_missing_folder_is_a_problem_in_the_report(profile: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "raw").rename(tmp_path / "elsewhere")
    assert main(["check-data", f"{profile}/first"]) == 1
    assert "root" in capsys.readouterr().out
    assert [file.name for file in (tmp_path / "check-first").iterdir()] == ["check.html"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mine.yaml/frist", "did you mean 'first'"),
        ("no.yaml", "no.yaml is missing"),
        ("smoek/ade20k", "did you mean 'smoke'"),
    ],
)
def test_wrong_names(profile: Path, capsys: Captured, spec: str, message: str) -> None:
    assert main(["check-data", spec]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_of_the_user_is_never_replaced(profile: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.jpg").touch()
    assert main(["check-data", f"{profile}/first", "--out", "mine"]) == 1
    assert "holds other files" in capsys.readouterr().err and (tmp_path / "mine/photo.jpg").exists()
