"""Training curves: which runs they show, and where the axis of the loss ends."""

import dataclasses
import json
from pathlib import Path

from report_records import VARIANTS, gather, write, write_seeds

from regproxy.config.profile import Profile, Row, Table
from regproxy.figures import curves
from regproxy.figures.curves import Curve, loss_limit, table_curves
from regproxy.figures.names import row_texts, short_names


def test_one_figure_for_each_table_and_data_set_with_only_its_variants(
    profile: Profile, tmp_path: Path
) -> None:
    second = Table(
        name="t2", title="Baseline", columns=("arch.",), rows=(Row(label=("ViT",), variant="linear"),)
    )
    profile = dataclasses.replace(profile, tables=(*profile.tables, second))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    write(tmp_path, "ade20k/region-4x4/2", 0.5)
    pictures = curves.draw_curves(profile, gather(profile, tmp_path), tmp_path)
    names = [Path(picture.path).name for picture in pictures]
    assert names == ["curves-t1-ade20k.png", "curves-t2-ade20k.png"]
    first, other = (tmp_path.joinpath(name).with_suffix(".svg").read_text() for name in names)
    assert ">RegProxy, 4×4<" in first and ">ViT<" in first
    assert ">RegProxy" not in other
    assert "Output strides, training on ADE20K layout. Bold: the seed with the median" in pictures[0].caption


def test_the_median_seed_is_first_and_a_run_without_history_is_left_out(
    profile: Profile, tmp_path: Path
) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    (curve,) = table_curves(profile.tables[0], gather(profile, tmp_path), "ade20k")
    assert (curve.label, curve.steps) == ("ViT", 8)
    assert [seed[-1] for seed in curve.points["val_miou"]] == [(8, 40.0), (8, 41.0), (8, 38.0)]
    assert curve.points["loss"][0] == [(2, 1.0), (4, 0.5), (6, 2 / 6), (8, 0.2)]
    for seed in profile.seeds:
        (tmp_path / f"runs/p/ade20k/linear/{seed}/metrics.jsonl").unlink()
    assert table_curves(profile.tables[0], gather(profile, tmp_path), "ade20k") == []
    assert curves.draw_curves(profile, gather(profile, tmp_path), tmp_path) == []


def test_a_curve_of_validations_ends_with_the_score(profile: Profile, tmp_path: Path) -> None:
    write(tmp_path, "ade20k/linear/0", 0.5)
    entries = [{"step": 2, "loss": 1.0}, {"step": 4, "val_miou": 0.25}]
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "runs/p/ade20k/linear/0/metrics.jsonl").write_text(text)
    (curve,) = table_curves(profile.tables[0], gather(profile, tmp_path), "ade20k")
    assert curve.points["val_miou"] == [[(4, 25.0), (8, 50.0)]]


def test_the_loss_of_the_start_does_not_stretch_the_axis() -> None:
    losses = [(step, 100.0 if step <= 100 else 2.0 - step / 1000) for step in range(10, 1001, 10)]
    curve = Curve("a", "", 1000, {"loss": [losses]})
    assert 1.89 < loss_limit([curve]) < 2.1
    assert loss_limit([Curve("a", "", 1000, {})]) is None


def test_a_long_curve_is_averaged_and_the_caption_says_so(profile: Profile, tmp_path: Path) -> None:
    write(tmp_path, "ade20k/linear/0", 0.5)
    lines = (json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(50, 80_001, 50))
    (tmp_path / "runs/p/ade20k/linear/0/metrics.jsonl").write_text("".join(lines))
    (picture,) = curves.draw_curves(profile, gather(profile, tmp_path), tmp_path)
    assert "the mean over about 534 steps, without other smoothing" in picture.caption
    assert "Bold" not in picture.caption  # one seed


def test_names_say_what_differs() -> None:
    linear, region = (VARIANTS[name, "ade20k"] for name in ("linear", "region-4x4"))
    assert short_names([linear, region]) == {"linear": "linear baseline", "region-4x4": "RegProxy 4×4"}
    other = dataclasses.replace(region, name="b", model=dataclasses.replace(region.model, arch="B/16"))
    assert list(short_names([region, other]).values()) == ["RegProxy-Smoke/16 4×4", "RegProxy-B/16 4×4"]
    plain = dataclasses.replace(region, name="plain", model=dataclasses.replace(region.model, conv="none"))
    assert list(short_names([region, plain]).values()) == ["region-4x4", "plain"]
    rows = [(("A", "", "-"), "a"), (("A", "✓", "none"), "b"), (("A", "✓ (x)", "ViT"), "c")]
    table = Table(
        name="t",
        title="",
        columns=("arch.", "conv.", "pre-train"),
        rows=tuple(Row(label=label, variant=name) for label, name in rows),
    )
    assert row_texts(table) == {"a": "A", "b": "A, conv., pre-train: none", "c": "A, conv. (x), ViT"}
