"""The images of the report's region explorer: what each network makes of one validation image."""

import base64
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from regproxy.config.dataset import DataConfig
from regproxy.config.profile import Profile
from regproxy.data.labels import palette
from regproxy.figures.lines import families
from regproxy.figures.names import short_names
from regproxy.report.aggregate import Score, Scores
from regproxy.report.layout import ExplorerImage, ExplorerNetwork, data_title

if TYPE_CHECKING:
    from regproxy.eval.image_regions import ImageRegions

_MAX_TOKENS = (20, 32)  # of a larger image the middle is shown, so that the page stays small


def explorer_images(
    profile: Profile, scores: Scores, data: DataConfig, *, data_dir: Path
) -> list[ExplorerImage]:
    """Return the middle image of the validation split, with the regions of every network to compare.

    These are the networks of `region_sizes`, each with its median seed. Networks without a result or a run
    folder are left out.

    Args:
        profile: gives the baseline, the main variant and the labels; without pictures it has no explorer.
        scores: from `aggregate.collect`.
        data: one of the profile's data sets.
        data_dir: folder of its prepared shards.
    """
    shown = region_sizes(profile, scores, data)
    if not shown:
        return []

    from regproxy.data.shards import Shards
    from regproxy.eval.image_regions import image_regions
    from regproxy.eval.score import read_pair
    from regproxy.model.device import default_device
    from regproxy.runs.saved_model import load_model

    shards = Shards(data_dir, "val")
    index = len(shards) // 2
    image, _ = read_pair(shards, index)
    names, regions = short_names([score.variant for score in shown]), {}
    for score in shown:
        model = load_model(score.trials[score.median_seed].run_dir, default_device())
        recipe = score.variant.recipe
        regions[names[score.variant.name]] = image_regions(
            model,
            image,
            evaluation=score.variant.evaluation,
            mean=recipe.image_mean,
            std=recipe.image_std,
        )
    title = f"{data_title(profile, data)}, validation image {index}"
    return [explorer_image(title, regions, data, selected=names[profile.pictures.main])]


def region_sizes(profile: Profile, scores: Scores, data: DataConfig) -> list[Score]:
    """Return the baseline and the family of region sizes of the pictures' main variant, if they have runs."""
    if not profile.pictures:
        return []
    main, baseline = profile.pictures.main, profile.pictures.baseline
    members = [{score.variant.name for score in one.members} for one in families(profile, scores, data.name)]
    names = next((family for family in members if main in family), {main}) | {baseline}
    found = {
        name: score
        for (name, dataset), score in scores.items()
        if dataset == data.name and name in names and score.trials and score.trials[score.median_seed].run
    }
    return list(found.values()) if main in found else []


def explorer_image(
    title: str, regions: dict[str, "ImageRegions"], data: DataConfig, *, selected: str
) -> ExplorerImage:
    """Return an image of the explorer from the regions of one or more networks, by their labels.

    `selected` is the label of the network that is shown first. A network on another token grid is left out.
    """
    main = regions[selected]
    rows, columns = (_middle(length, limit) for length, limit in zip(main.grid, _MAX_TOKENS, strict=True))
    top, bottom, left, right = (main.patch * i for i in (rows.start, rows.stop, columns.start, columns.stop))
    pixels = main.pixels[top:bottom, left:right]
    _, jpeg = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return ExplorerImage(
        title=title,
        picture=f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}",
        height=pixels.shape[0],
        width=pixels.shape[1],
        patch=main.patch,
        rows=rows.stop - rows.start,
        columns=columns.stop - columns.start,
        classes=tuple(data.classes),
        colours=tuple("#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(data)),
        selected=selected,
        networks=tuple(
            _network(label, found, rows, columns)
            for label, found in regions.items()
            if found.grid == main.grid
        ),
    )


def _middle(length: int, limit: int) -> slice:
    start = max(length - limit, 0) // 2
    return slice(start, start + min(length, limit))


def _network(label: str, regions: "ImageRegions", rows: slice, columns: slice) -> ExplorerNetwork:
    affinity = regions.affinity[..., rows, columns].transpose(3, 4, 1, 2, 0)  # H W h w 9
    quantised = np.rint(255 * affinity).astype(np.uint8).tobytes()
    return ExplorerNetwork(
        label=label,
        region=affinity.shape[2:4],
        affinity=base64.b64encode(zlib.compress(quantised, 9)).decode(),
        token_class=tuple(regions.classes[rows, columns].ravel().tolist()),
        token_entropy=tuple(regions.entropy[rows, columns].round(4).ravel().tolist()),
    )
