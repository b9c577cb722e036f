"""`regproxy predict` with images that it cannot read or must not overwrite."""

from collections.abc import Callable
from pathlib import Path

import pytest

from regproxy.cli.main import main


def test_a_damaged_image_is_named_and_the_others_are_predicted(
    run: Path, put: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, out = put("good.jpg"), tmp_path / "bad.jpg", tmp_path / "out"
    bad.write_bytes(good.read_bytes()[:20])
    assert main(["predict", str(run), str(bad), str(good), "--out", str(out)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {bad}: ") and len(error.splitlines()) == 1
    assert (out / "good.png").exists() and not (out / "bad.png").exists()


@pytest.mark.parametrize(
    ("images", "out", "device", "message"),
    [
        (["none.png"], "out", "cpu", "none.png is missing"),
        (["empty"], "out", "cpu", "has no images"),
        (["one/a.png", "two/a.png"], "out", "cpu", "would both be"),
        (["one/a.png"], "one", "cpu", "would be overwritten"),
        (["two/a.png"], "one", "cpu", "a.png exists and is no output of regproxy"),
        (["two"], "two", "cpu", "would be overwritten"),
        (["two/a.png"], "one/a.png", "cpu", "a.png is a file"),
        (["two/a.png"], "one/a.png/below", "cpu", "a.png is a file"),
        (["one/a.png"], "long" * 100, "cpu", "File name too long"),
        (["one/a.png"], "out", "abacus", "Use cpu"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(
    run: Path,
    put: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    images: list[str],
    out: str,
    device: str,
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    before = put("one/a.png").read_bytes(), put("two/a.png").read_bytes()
    inputs = [str(tmp_path / name) for name in images]
    assert main(["predict", str(run), *inputs, "--out", str(tmp_path / out), "--device", device]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists() and not (tmp_path / "one" / "classes.csv").exists()
    assert before == tuple((tmp_path / name).read_bytes() for name in ("one/a.png", "two/a.png"))


def test_a_folder_without_a_run_is_refused(put: Callable[..., Path], tmp_path: Path, capsys) -> None:
    messages = ("run.json is missing. Give the folder of a finished run", "b.png is no model: expected a run")
    for place, message in zip((tmp_path, put("b.png")), messages, strict=True):
        assert main(["predict", str(place), str(put("a.png")), "--out", str(tmp_path / "out")]) == 1
        assert message in capsys.readouterr().err
