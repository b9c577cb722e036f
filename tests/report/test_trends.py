"""The paper's trends: verdicts with intervals, and records that allow none."""

import dataclasses
from pathlib import Path

import pytest
from report_records import gather, image_matrices, texts, write, write_seeds

from regproxy.config.profile import Profile, Trend
from regproxy.errors import DataError
from regproxy.report.findings import trends
from regproxy.report.layout import Section

CLAIM = "4×4 above linear"


@pytest.fixture
def profile(profile: Profile) -> Profile:
    return dataclasses.replace(profile, trends=(Trend(claim=CLAIM, better="region-4x4", than="linear"),))


def write_variant(root: Path, dataset: str, variant: str, ious: tuple[float, ...]) -> None:
    """Write three seeds whose mIoU is the mean of these IoUs and a class of 0, as in `image_matrices`."""
    miou = sum(ious) / (len(ious) + 1)
    write_seeds(root, dataset, variant, (miou,) * 3, **image_matrices(ious))


def found(profile: Profile, root: Path) -> Section:
    return trends(profile, gather(profile, root))


def answers(profile: Profile, root: Path) -> list[str]:
    (line,) = texts(found(profile, root).table)
    assert line[0] == CLAIM
    return line[1:]


def test_without_trends_or_scores_nothing_is_claimed(profile: Profile, tmp_path: Path) -> None:
    assert trends(dataclasses.replace(profile, trends=()), {}) is None
    assert answers(profile, tmp_path) == ["–", "–"]
    assert found(profile, tmp_path).sentences == ("No trend can be checked yet.",)


def test_verdicts_with_difference_and_interval(profile: Profile, tmp_path: Path) -> None:
    for dataset, better in (("ade20k", (0.7, 0.6)), ("cityscapes", (0.5, 0.6))):
        write_variant(tmp_path, dataset, "linear", (0.6, 0.6))
        write_variant(tmp_path, dataset, "region-4x4", better)
    yes, no = answers(profile, tmp_path)
    assert yes == "yes (+3.33, 95 % interval +3.33 to +3.33)"
    assert no == "no (−3.33, 95 % interval −3.33 to −3.33)"
    summary, method = found(profile, tmp_path).sentences
    assert summary == (
        "Do the paper's trends appear? Comparisons: 1 yes, 1 no, 0 cannot tell, 2 in all. Against the paper: "
        "Cityscapes layout: 4×4 above linear."
    )
    assert "2,000 resamples" in method and "3 seeds" in method and "one of 4 comparisons" in method


def test_seeds_that_disagree_cannot_tell(profile: Profile, tmp_path: Path) -> None:
    write_variant(tmp_path, "ade20k", "linear", (0.6, 0.6))
    for seed, iou in enumerate((0.5, 0.61, 0.7)):
        write(tmp_path, f"ade20k/region-4x4/{seed}", (iou + 0.6) / 3, **image_matrices((iou, 0.6)))
    assert answers(profile, tmp_path)[0] == "cannot tell (+0.33, 95 % interval −3.33 to +3.33)"


def test_equal_variants_cannot_tell(profile: Profile, tmp_path: Path) -> None:
    for variant in ("linear", "region-4x4"):
        write_variant(tmp_path, "ade20k", variant, (0.6, 0.5))
    assert answers(profile, tmp_path)[0] == "cannot tell (+0.00, 95 % interval +0.00 to +0.00)"


def test_one_seed(profile: Profile, tmp_path: Path) -> None:
    profile = dataclasses.replace(profile, seeds=(0,))
    write_variant(tmp_path, "ade20k", "linear", (0.6, 0.6))
    write_variant(tmp_path, "ade20k", "region-4x4", (0.7, 0.6))
    assert answers(profile, tmp_path)[0].startswith("yes (+3.33, 95 % interval ")
    assert "With one seed" in found(profile, tmp_path).sentences[1]


def test_without_matrices_or_with_other_images_there_is_no_interval(profile: Profile, tmp_path: Path) -> None:
    write_variant(tmp_path, "ade20k", "linear", (0.6, 0.6))
    write_variant(tmp_path, "ade20k", "region-4x4", (0.7, 0.6))
    assert answers(profile, tmp_path)[0].startswith("yes")
    old, others = {"confusion_per_image": None}, image_matrices((0.7, 0.6), num_images=11)
    for changes in (old, others):
        write(tmp_path, "ade20k/region-4x4/2", 1.3 / 3, **{**image_matrices((0.7, 0.6)), **changes})
        assert answers(profile, tmp_path)[0] == "cannot tell (+3.33, no interval)"
    write_seeds(tmp_path, "ade20k", "region-4x4", (1.3 / 3,) * 3, **others)
    assert answers(profile, tmp_path)[0] == "cannot tell (+3.33, no interval)"
    summary, _, missing = found(profile, tmp_path).sentences
    assert summary.endswith("Comparisons: 0 yes, 0 no, 1 cannot tell, 1 in all.")
    assert "no confusion matrix of each image" in missing


@pytest.mark.parametrize(
    "changes", [{"confusion_per_image": "?"}, {"classes": None}, {"classes": ["one"]}, {"num_images": 13}]
)
def test_a_damaged_record_is_named(profile: Profile, tmp_path: Path, changes: dict[str, object]) -> None:
    for variant in ("linear", "region-4x4"):
        write_variant(tmp_path, "ade20k", variant, (0.6, 0.6))
    write(tmp_path, "ade20k/linear/1", 0.4, **{**image_matrices((0.6, 0.6)), **changes})
    with pytest.raises(
        DataError, match=r"ade20k/linear/1\.json is damaged: confusion_per_image: .*Delete it"
    ):
        found(profile, tmp_path)
