"""Which variants a line of a plot joins: those that differ in nothing but their region."""

import dataclasses
from dataclasses import dataclass

from regproxy.config.profile import Profile
from regproxy.config.variant import Variant
from regproxy.report.aggregate import Score, Scores


@dataclass(frozen=True)
class Family:
    """RegProxy variants on one data set that differ only in their region, coarse to fine, and their baseline.

    `baseline` is the linear baseline of the same architecture, None if there is none.
    """

    arch: str
    members: tuple[Score, ...]
    baseline: Score | None


def families(profile: Profile, scores: Scores, dataset: str) -> list[Family]:
    """Return one family of each architecture on a data set: the one with the most regions.

    The model, recipe and evaluation of its members are equal but for the region, so a variant with another
    convolution, pre-training or loss is in another family. Of families of equal size, the first in the profile
    counts. As in the tables, a variant without a score of every seed is left out.
    """
    variants = [variant for variant in profile.variants if variant.data.name == dataset]
    complete = {
        variant.name: score
        for variant in variants
        if (score := scores.get((variant.name, dataset))) and score.summary()
    }
    groups: dict[tuple, list[Score]] = {}
    baselines: dict[str, Score] = {}
    for variant in variants:
        if score := complete.get(variant.name):
            if variant.model.head == "regproxy":
                groups.setdefault(_all_but_region(variant), []).append(score)
            elif variant.model.head == "linear":
                baselines.setdefault(variant.model.arch, score)
    largest: dict[str, list[Score]] = {}
    for members in groups.values():
        arch = members[0].variant.model.arch
        if len(members) > len(largest.get(arch, ())):
            largest[arch] = sorted(members, key=lambda score: score.variant.model.region)
    return [Family(arch, tuple(members), baselines.get(arch)) for arch, members in largest.items()]


def token_side(variant: Variant) -> int:
    """Return the side of a token in pixels. The network is built without weights to find out."""
    import torch

    from regproxy.model.build import build

    with torch.device("meta"):
        return build(variant).patch


def _all_but_region(variant: Variant) -> tuple:
    model = dataclasses.replace(variant.model, region=(1, 1))
    return model, variant.recipe, variant.evaluation
