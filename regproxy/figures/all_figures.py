"""All figures of a report, by section."""

from pathlib import Path

from regproxy.config.profile import Profile
from regproxy.figures.class_plots import draw_classes
from regproxy.figures.confusion_plots import draw_confusions
from regproxy.figures.curves import draw_curves
from regproxy.figures.predictions import draw_predictions
from regproxy.figures.stride_plots import draw_costs, draw_strides
from regproxy.report.aggregate import Complexity, Scores
from regproxy.report.layout import Picture


def draw_figures(
    profile: Profile, scores: Scores, complexity: Complexity, *, prepared_dir: Path, out: Path
) -> dict[str, list[Picture]]:
    """Draw all figures of a profile and return the pictures of each section, in the order of the report.

    A section without anything to draw is empty. Plots are PNG files with an SVG file of the same name beside
    them; pictures of images are only PNG files.

    Args:
        profile: gives data sets, tables and the variants of the pictures.
        scores: from `aggregate.collect`.
        complexity: from `aggregate.read_complexity`.
        prepared_dir: holds the shards of each data set in `<data set>/`.
        out: a new folder for the files, in the folder of the report.

    Raises:
        DataError: the shards, a record or a run folder are damaged.
    """
    out.mkdir()
    sections: dict[str, list[Picture]] = {
        "plots": draw_strides(profile, scores, out) + draw_costs(profile, scores, complexity, out),
        "regions": [],
        "predictions": [],
        "curves": draw_curves(profile, scores, out),
        "classes": [],
    }
    for data in profile.datasets:
        shards = prepared_dir / data.name
        sections["predictions"] += draw_predictions(profile, scores, data, data_dir=shards, out=out)
        sections["classes"] += draw_classes(profile, scores, data, out)
        sections["classes"] += draw_confusions(profile, scores, data, out)
    return sections
