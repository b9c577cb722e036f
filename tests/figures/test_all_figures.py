"""All figures of a report: from complete records, from few, and from none."""

import dataclasses
from itertools import chain
from pathlib import Path

from report_records import COSTS, gather, write_seeds

from regproxy.config.profile import Profile
from regproxy.figures.all_figures import draw_figures


def draw(profile: Profile, root: Path, name: str) -> dict[str, list[str]]:
    """Draw into a new folder; return the names of each section's files, which exist and have captions."""
    (root / name).mkdir()
    out = root / name / "figures"
    figures = draw_figures(profile, gather(profile, root), COSTS, prepared_dir=root / "none", out=out)
    sections = {name: getattr(figures, name) for name in ("plots", "regions", "predictions", "curves")}
    sections["classes"] = list(chain.from_iterable(figures.classes.values()))
    for picture in chain.from_iterable(sections.values()):
        assert (root / name / picture.path).is_file()
        assert picture.caption.endswith(".")
    return {section: [Path(one.path).name for one in pictures] for section, pictures in sections.items()}


def test_figures_without_records_or_pictures_are_few(profile: Profile, tmp_path: Path) -> None:
    assert not any(draw(profile, tmp_path, "nothing").values())
    profile = dataclasses.replace(profile, pictures=None)
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38))  # a seed is missing
    drawn = draw(profile, tmp_path, "few")
    assert {name: files for name, files in drawn.items() if files} == {"curves": ["curves-t1-ade20k.png"]}
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    write_seeds(tmp_path, "ade20k", "region-4x4", (0.42, 0.41, 0.43))
    assert draw(profile, tmp_path, "two")["plots"] == ["miou-gflops.png"]


def test_one_seed_and_one_variant_are_enough(profile: Profile, tmp_path: Path) -> None:
    only = tuple(variant for variant in profile.variants if variant.name == "linear")
    pictures = dataclasses.replace(profile.pictures, variants=("linear",), main="linear")
    tables = tuple(dataclasses.replace(table, rows=table.rows[:1]) for table in profile.tables)
    profile = dataclasses.replace(profile, variants=only, seeds=(0,), pictures=None, tables=tables)
    write_seeds(tmp_path, "cityscapes", "linear", (0.41,))
    assert draw(profile, tmp_path, "one")["curves"] == ["curves-t1-cityscapes.png"]
    profile = dataclasses.replace(profile, pictures=pictures)
    for variant in only:  # a result whose run is gone has no picture, but its score counts
        (tmp_path / f"runs/p/{variant.data.name}/linear/0/run.json").unlink(missing_ok=True)
    assert not draw(profile, tmp_path, "single")["predictions"]
