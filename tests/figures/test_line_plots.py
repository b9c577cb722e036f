"""Plots of mIoU against stride and GFLOPs: which variants a line joins, and the files that they leave."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from report_records import COSTS, VARIANTS, gather, write

from regproxy.config.profile import Profile
from regproxy.config.variant import Variant
from regproxy.drawing import point_labels, style
from regproxy.figures import stride_plots
from regproxy.figures.lines import families, token_side


def changed(name: str, *, dataset: str = "ade20k", recipe: dict | None = None, **model: object) -> Variant:
    """Return the 4×4 variant under another name, with other fields of its model and recipe."""
    base = VARIANTS["region-4x4", dataset]
    return dataclasses.replace(
        base,
        name=name,
        model=dataclasses.replace(base.model, **model),
        recipe=dataclasses.replace(base.recipe, **(recipe or {})),
    )


OTHERS = (
    changed("fine", region=(16, 16)),
    changed("coarse", region=(1, 1)),
    changed("conv-none", region=(8, 8), conv="none"),
    changed("short", region=(2, 2), recipe={"steps": 4}),
    changed("regular", region=(2, 2), recipe={"region_loss": "homogeneity"}),
)


@pytest.fixture
def many(profile: Profile, tmp_path: Path) -> Profile:
    """A profile with more regions, and variants that differ in something else; all scored on ADE20K."""
    many = dataclasses.replace(profile, variants=(*profile.variants, *OTHERS))
    for number, variant in enumerate(many.variants):
        if variant.data.name == "ade20k":
            for seed in profile.seeds:
                name = f"ade20k/{variant.name}/{seed}"
                write(tmp_path, name, 0.4 + number / 100, run={"variant": variant.to_dict()})
    return many


def test_a_line_joins_variants_that_differ_only_in_their_region(many: Profile, tmp_path: Path) -> None:
    (family,) = families(many, gather(many, tmp_path), "ade20k")
    assert [score.variant.name for score in family.members] == ["coarse", "region-4x4", "fine"]
    assert family.baseline.variant.name == "linear"
    assert families(many, gather(many, tmp_path), "cityscapes") == []

    write(tmp_path, "ade20k/coarse/1", 0.4).unlink()  # as in the tables, only complete scores count
    (family,) = families(many, gather(many, tmp_path), "ade20k")
    assert [score.variant.name for score in family.members] == ["region-4x4", "fine"]


def test_the_side_of_a_token_is_that_of_the_network() -> None:
    assert token_side(VARIANTS["region-4x4", "ade20k"]) == 16
    hybrid = {"timm_name": "vit_tiny_r_s16_p8_384", "width": 32, "depth": 1, "heads": 1}
    backbone = dataclasses.replace(VARIANTS["linear", "ade20k"].model.backbone, **hybrid)
    assert token_side(changed("hybrid", backbone=backbone, tap=-1)) == 32


def draw_all(profile: Profile, root: Path, out: Path) -> list:
    out.mkdir(parents=True)
    costs = {variant.name: COSTS["linear"] for variant in profile.variants}
    scores = gather(profile, root)
    strides = stride_plots.draw_strides(profile, scores, out)
    return strides + stride_plots.draw_costs(profile, scores, costs, out)


def test_plots_are_equal_bytes_as_svg_and_png(many: Profile, tmp_path: Path) -> None:
    pictures = [draw_all(many, tmp_path, tmp_path / name / "figures") for name in ("a", "b")]
    assert [picture.path for picture in pictures[0]] == ["figures/miou-stride.png", "figures/miou-gflops.png"]
    assert pictures[0] == pictures[1]
    for picture in pictures[0]:
        for path in (Path(picture.path), Path(picture.path).with_suffix(".svg")):
            assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
    assert "a dotted line shows its score" in pictures[0][0].caption


def test_an_svg_has_texts_and_two_colours_that_a_page_can_replace(many: Profile, tmp_path: Path) -> None:
    draw_all(many, tmp_path, tmp_path / "figures")
    for path in (tmp_path / "figures").glob("*.svg"):
        content = path.read_text()
        assert ">RegProxy-Smoke/16</text>" in content and ">mIoU, %</text>" in content
        assert "dc:date" not in content and "Matplotlib v" not in content
        colours = set(re.findall("#[0-9a-f]{6}", re.sub(r"#[mp][0-9a-f]{10}", "", content)))
        assert {style.INK, style.FAINT} <= colours
        assert colours - {style.INK, style.FAINT} <= set(style.LINE_COLOURS)
    names = [
        set(re.findall(r'id="([mp][0-9a-f]{10})"', path.read_text()))
        for path in sorted((tmp_path / "figures").glob("*.svg"))
    ]
    assert names[0] and not names[0] & names[1]  # one page can contain both


def test_costs_need_two_points_and_share_a_panel_if_each_architecture_has_one(
    profile: Profile, tmp_path: Path
) -> None:
    architectures = tuple(changed(f"arch-{name}", arch=f"{name}/16") for name in ("A", "B"))
    profile = dataclasses.replace(profile, variants=architectures, seeds=(0,), pictures=None)
    write(tmp_path, "ade20k/arch-A/0", 0.4, run={"variant": architectures[0].to_dict()})
    costs = {"arch-A": COSTS["linear"], "arch-B": COSTS["region-4x4"]}
    assert stride_plots.draw_costs(profile, gather(profile, tmp_path), costs, tmp_path) == []
    write(tmp_path, "ade20k/arch-B/0", 0.5, run={"variant": architectures[1].to_dict()})
    (picture,) = stride_plots.draw_costs(profile, gather(profile, tmp_path), costs, tmp_path)
    content = (tmp_path / "miou-gflops.svg").read_text()
    assert "mathdefault" not in content, "the logarithmic axis has plain numbers"
    assert ">A/16</text>" in content and ">B/16</text>" in content
    assert "A line joins" not in picture.caption
    assert stride_plots.draw_costs(profile, gather(profile, tmp_path), {}, tmp_path) == []
    assert stride_plots.draw_strides(profile, gather(profile, tmp_path), tmp_path) == []


@pytest.mark.parametrize("spread", [lambda n: np.zeros(n), lambda n: np.arange(n) / 1000])
def test_words_of_close_points_do_not_overlap(spread: Callable, tmp_path: Path) -> None:
    points = [(1 + x, 50.0 + y) for x, y in zip(spread(5), np.arange(5) / 100, strict=True)]
    with style.plot(tmp_path / "a.png", 4, 3) as figure:
        axes = figure.add_subplot()
        axes.plot(*zip(*points, strict=True))
        axes.set_xlim(0, 3)
        axes.set_ylim(40, 60)
        point_labels.label_points(axes, points, ["16×16"] * len(points))
        figure.draw_without_rendering()
        boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the line to the point
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
