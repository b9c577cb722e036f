"""All figures of a report, and the images of its region explorer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regproxy.config.profile import Profile
from regproxy.figures.class_plots import draw_classes
from regproxy.figures.confusion_plots import draw_confusions
from regproxy.figures.curves import draw_curves
from regproxy.figures.explorer import explorer_images
from regproxy.figures.predictions import draw_predictions
from regproxy.figures.regions import region_figures
from regproxy.figures.search import search_section
from regproxy.figures.stride_plots import draw_costs, draw_strides
from regproxy.report.aggregate import Complexity, Scores
from regproxy.report.document import Figures
from regproxy.report.layout import ExplorerImage, Picture


def draw_figures(
    profile: Profile,
    scores: Scores,
    complexity: Complexity,
    *,
    prepared_dir: Path,
    search_result: Mapping[str, Any] | None = None,
    out: Path,
) -> Figures:
    """Draw all figures of a profile and return them by section of the report.

    A section without anything to draw is empty. Plots are PNG files with an SVG file of the same name beside
    them; pictures of images are only PNG files.

    Args:
        profile: gives data sets, tables and the variants of the pictures.
        scores: from `aggregate.collect`.
        complexity: from `aggregate.read_complexity`.
        prepared_dir: holds the shards of each data set in `<data set>/`.
        search_result: from `search_record.read_result`; None for a profile without a search.
        out: a new folder for the files, in the folder of the report.

    Raises:
        DataError: the shards, a record or a run folder are damaged.
    """
    out.mkdir()
    regions: list[Picture] = []
    explorer: list[ExplorerImage] = []
    predictions: list[Picture] = []
    classes: dict[str, list[Picture]] = {}
    for data in profile.datasets:
        shards = prepared_dir / data.name
        regions += region_figures(profile, scores, data, data_dir=shards, out=out)
        explorer += explorer_images(profile, scores, data, data_dir=shards)
        predictions += draw_predictions(profile, scores, data, data_dir=shards, out=out)
        classes[data.name] = [
            *draw_classes(profile, scores, data, out),
            *draw_confusions(profile, scores, data, out),
        ]
    return Figures(
        plots=draw_strides(profile, scores, out) + draw_costs(profile, scores, complexity, out),
        regions=regions,
        explorer=explorer,
        predictions=predictions,
        classes=classes,
        curves=draw_curves(profile, scores, out),
        search=search_section(profile, search_result, out) if search_result else None,
    )
