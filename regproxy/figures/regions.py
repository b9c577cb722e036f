"""The report's pictures of regions, after Figure 1 of the paper's supplement."""

from pathlib import Path
from typing import Any

import numpy as np

from regproxy.config.dataset import DataConfig
from regproxy.config.profile import Profile
from regproxy.data.labels import palette
from regproxy.drawing.picture_grid import Pair, draw_grid
from regproxy.drawing.regions import TokenPanel, border_lines, draw_tokens, enlarged, mean_colours
from regproxy.figures.image_choice import spread
from regproxy.report.aggregate import Score, Scores
from regproxy.report.layout import Picture, data_title, row_label

_NUM_IMAGES = 8  # from which the tokens are chosen
_CROP_TOKENS = 5  # side of a crop
_MAP_WIDTH = 1500  # narrower maps are enlarged to about this many pixels, or borders hide the image


def region_figures(
    profile: Profile, scores: Scores, data: DataConfig, *, data_dir: Path, out: Path
) -> list[Picture]:
    """Draw regions of single tokens and the borders of all regions of an image; return the two pictures.

    The network is the main variant of `profile.pictures`, with its median seed. Tokens are
    chosen from images that are spread over the validation split, by their labels (see `choose_tokens`).
    There is no picture if the network has no result, its run folder is missing, or no token is found.

    Args:
        profile: gives the pictures to draw and the label of the variant.
        scores: from `aggregate.collect`.
        data: one of the profile's data sets.
        data_dir: folder of its prepared shards.
        out: existing folder for the files, `regions-<data set>.png` and `region-map-<data set>.png`.
    """
    score = _shown_score(profile, scores, data)
    if score is None:
        return []

    from regproxy.data.shards import Shards
    from regproxy.eval.image_regions import image_regions
    from regproxy.eval.score import read_pair
    from regproxy.eval.token_choice import candidates, choose_tokens, classes_by_shape
    from regproxy.model.device import default_device
    from regproxy.runs.saved_model import load_model

    shards, recipe = Shards(data_dir, "val"), score.variant.recipe
    model = load_model(score.trials[score.median_seed].run_dir, default_device())
    settings = {"evaluation": score.variant.evaluation, "mean": recipe.image_mean, "std": recipe.image_std}
    labels = (read_pair(shards, index)[1] for index in range(len(shards)))
    thin, large = classes_by_shape(labels, data.num_classes)
    indices, regions, tables = spread(len(shards), _NUM_IMAGES), [], []
    for index in indices:
        image, label = read_pair(shards, index)
        regions.append(image_regions(model, image, **settings))
        tables.append(candidates(regions[-1], label))
    tokens = choose_tokens(tables, thin, large)
    if not tokens:
        return []
    panels, names = [], []
    for number, token in enumerate(tokens, start=1):
        name, place = data.classes[token.class_id], (token.row, token.column)
        share, around = tables[token.image].shares[place], tables[token.image].shares_around[place]
        note = f"region: {share:.0%}\n3×3 cells: {around:.0%}"
        panels.append(_token_panel(regions[token.image], *place, f"{number} {name}", note))
        names.append(f"{number} {name} (image {indices[token.image]})")
    network = (
        f"{row_label(profile, score.variant.name)}, seed {score.median_seed}, on {data_title(profile, data)}"
    )
    paths = [out / f"{name}-{data.name}.png" for name in ("regions", "region-map")]
    draw_tokens(panels, paths[0])
    shown = max(range(len(indices)), key=lambda number: sum(token.image == number for token in tokens))
    _draw_map(regions[shown], data, paths[1])
    captions = (
        f"Learned regions of single tokens of validation images ({network}): {', '.join(names)}. White: the "
        "cell of the token. Colour: probability of each pixel to belong to its region, from 0 to 1. Below "
        "it: the share of the token's class, by the label, in its region and in the 3×3 cells around it.",
        f"All learned regions of validation image {indices[shown]} ({network}). Each pixel is given to the "
        "token that it most probably belongs to.",
    )
    return [Picture(f"{out.name}/{path.name}", text) for path, text in zip(paths, captions, strict=True)]


def _shown_score(profile: Profile, scores: Scores, data: DataConfig) -> Score | None:
    """Return the score of the pictures' main variant if it has regions and a trained network, or None."""
    score = scores.get((profile.pictures.main, data.name)) if profile.pictures else None
    if score is None or score.variant.model.head != "regproxy" or not score.trials:
        return None
    return score if score.trials[score.median_seed].run else None


def _token_panel(regions: Any, row: int, column: int, title: str, note: str) -> TokenPanel:
    """Return a panel of a token and the pixels around it, as far inside the image as possible.

    Args:
        regions: `ImageRegions`.
        row, column: place of the token.
        title, note: see `TokenPanel`.
    """
    side, margin = _CROP_TOKENS * regions.patch, _CROP_TOKENS // 2
    top, left = (
        int(np.clip((place - margin) * regions.patch, 0, max(length - side, 0)))
        for place, length in zip((row, column), regions.pixels.shape[:2], strict=True)
    )
    pixels, heat = np.full((side, side, 3), 255, np.uint8), np.zeros((side, side), np.float32)
    inside = np.s_[top : top + side, left : left + side]
    height, width = regions.pixels[inside].shape[:2]
    pixels[:height, :width], heat[:height, :width] = regions.pixels[inside], regions.heat(row, column)[inside]
    cell = tuple(edge - start for edge, start in zip(regions.cell(row, column), (top, left) * 2, strict=True))
    return TokenPanel(title, note, pixels, heat, cell)


def _draw_map(regions: Any, data: DataConfig, path: Path) -> None:
    """Write the image of `ImageRegions` beside maps of its regions: borders, mean colours and classes."""
    factor = max(_MAP_WIDTH // regions.pixels.shape[1], 1)
    pixels, colours = enlarged(regions.pixels, factor), palette(data)
    ids = regions.pixel_ids(pixels.shape[:2])
    classes = regions.classes.ravel()[ids]
    pairs = [
        Pair(
            "Image, and the borders of its regions", pixels, border_lines(pixels, ids, factor * regions.patch)
        ),
        Pair("Mean colour and class of each region", mean_colours(pixels, ids), colours[classes]),
    ]
    draw_grid(pairs, [(data.classes[k], colours[k]) for k in np.unique(classes)], path)
