"""Which files of a user's folders `regproxy predict` reads, in which order, and what it skips."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regproxy.cli.main import main
from regproxy.errors import DataError
from regproxy.inference.image_files import find_images

KINDS = ("a.JPG", "b.jpeg", "c.png", "d.BMP", "e.webp", "f.tif", "g.TIFF")


def predict(*arguments: object) -> int:
    return main(["predict", *map(str, arguments)])


def names(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_every_kind_of_image_is_read_in_any_case(run: Path, put: Callable[..., Path], tmp_path: Path) -> None:
    for name in KINDS:
        put(f"photos/{name}")
    assert predict(run, tmp_path / "photos", "--out", tmp_path / "out") == 0
    assert names(tmp_path / "out") == {"classes.csv", *(f"{Path(name).stem}.png" for name in KINDS)}


def test_what_is_skipped_is_named_with_its_reason(
    run: Path, put: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    put("photos/a.png")
    for name in (".hidden.png", "notes.txt", "below/e.HEIC"):
        path = photos / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"text")
    (photos / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (photos / "circle").symlink_to(photos)
    os.mkfifo(photos / "pipe.png")
    assert predict(run, photos, photos, photos / "a.png", "--out", tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert "(1 of 1 images)" in captured.out and names(tmp_path / "out") == {"a.png", "classes.csv"}
    warnings = [line for line in captured.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == len(captured.err.splitlines()) == 4
    assert "skipped 2 files (not .jpg, " in warnings[0]
    assert "below/e.HEIC" in warnings[0] and "notes.txt" in warnings[0]
    assert "skipped 1 file (hidden or temporary): " in warnings[1] and ".hidden.png" in warnings[1]
    assert "(a link to nothing, or not a regular file): " in warnings[2]
    assert "lost.png" in warnings[2]
    assert "read under another name" in warnings[3] and "circle" in warnings[3]
    with pytest.raises(DataError, match=r"pipe.png is neither a file nor a folder"):
        find_images([photos / "pipe.png"], tmp_path / "out", [".png"])


def test_a_folder_with_skipped_files_alone_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"photos has no images \(.jpg, .*\)\. Give another folder"):
        find_images([tmp_path / "photos"], tmp_path / "out", [".png"])
    (tmp_path / "photos/movie.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"It has 1 file \(not .jpg, .*\): .*movie.mp4\. Give another folder"):
        find_images([tmp_path / "photos"], tmp_path / "out", [".png"])


def test_frames_come_in_the_order_of_their_numbers(put: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("frame10", "frame2", "frame1", "b/frame3", "b/frame20"):
        put(f"video/{name}.png")
    found = find_images([tmp_path / "video"], tmp_path / "out", [".png"])
    bases = [base.relative_to(tmp_path / "out").as_posix() for base in found.sources]
    assert bases == ["b/frame3", "b/frame20", "frame1", "frame2", "frame10"]


def test_one_file_by_two_names_is_read_once(put: Callable[..., Path], tmp_path: Path, monkeypatch) -> None:
    photo = put("photos/a.png")
    monkeypatch.chdir(tmp_path)
    found = find_images([photo, Path("photos/a.png"), Path("photos")], tmp_path / "out", [".png"])
    assert list(found.sources.values()) == [photo]


def test_a_name_that_is_not_utf_8_is_predicted_and_shown(
    run: Path, put: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    odd = Path(os.fsdecode(os.fsencode(photos) + b"/stra\xdfe.png"))
    os.rename(put("photos/a.png"), odd)
    odd.with_suffix(".jpg").write_bytes(b"damaged")
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe4"))
    assert predict(run, odd, "--out", out) == 0
    assert out.joinpath(odd.name).is_file() and "\\xe4/" in capsys.readouterr().out
    assert predict(run, odd.with_suffix(".jpg"), "--out", out) == 1
    assert "stra\\xdfe.jpg: the image cannot be decoded" in capsys.readouterr().err


def test_deep_images_need_their_range(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (40, 60), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    grey = np.floor(values * 255.0 / 4095 + 0.5).astype(np.uint8)
    Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(tmp_path / "shallow.png")
    out = tmp_path / "out"
    assert predict(run, tmp_path / "deep.png", "--out", out) == 1
    assert "deep.png: the image has uint16 values" in (error := capsys.readouterr().err)
    assert "--image-range" in error and names(out) == {"classes.csv"}
    assert (
        predict(run, tmp_path / "deep.png", tmp_path / "shallow.png", "--out", out, "--image-range", 0, 4095)
        == 0
    )
    np.testing.assert_array_equal(
        *(np.asarray(Image.open(out / name)) for name in ("deep.png", "shallow.png"))
    )
    assert predict(run, tmp_path / "deep.png", "--out", out, "--image-range", 9, 9) == 1
    assert "image range is invalid: expected LOW < HIGH; got 9 and 9" in capsys.readouterr().err
