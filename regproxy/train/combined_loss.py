"""The loss of the logits with class weights, online hard example mining (OHEM) and soft dice.

Like the plain cross entropy it visits the labels tile by tile and holds no upsampled logits. Mining and dice
need to know the whole batch before the first gradient, so they visit the tiles twice: the first time for the
statistics, which are summed over all workers, the second time for the gradients.

B batch, K classes, h w logit grid, H W label grid, R C a tile's labels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.recipe import Recipe
from regproxy.train.context import Context
from regproxy.train.loss import check_labels
from regproxy.train.tiles import Tile, Upsampling, label_tiles

_BINS = 4096  # of the histogram of probabilities, a power of 2: then a bin's edges are exact


def combined_loss(
    logits: Tensor,
    labels: Tensor,
    recipe: Recipe,
    classes: tuple[str, ...],
    *,
    denominator: Tensor,
    context: Context,
    patch: int = 1,
) -> Tensor:
    """Return the recipe's loss of logits that are interpolated to the labels' size, a scalar.

    It is a worker's share times the number of workers, because DistributedDataParallel averages gradients.
    The mean over the workers is the loss of the batch, which the docstring of `Recipe` defines.

    Args:
        logits: (B, K, h, w), any floating type.
        labels: (B, H, W) integer classes, of any size, 255 for void.
        classes: names of the K classes.
        denominator: what the cross entropy is divided by without mining: pixels of the batch / workers.
        context: sums the statistics over the workers; all of them must call this function.
        patch: side in pixels to whose multiples the network pads its input.

    Raises:
        ValueError: the shapes do not fit.
        DataError: a label is not a class (checked on the CPU only).
    """
    check_labels(logits, labels, IGNORE_LABEL)
    weights = torch.tensor([recipe.class_weights.get(name, 1.0) for name in classes], dtype=torch.float64)
    return _CombinedLoss.apply(logits, labels, recipe, weights.to(logits.device), denominator, context, patch)


class _CombinedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        logits: Tensor,
        labels: Tensor,
        recipe: Recipe,
        class_weights: Tensor,
        denominator: Tensor,
        context: Context,
        patch: int,
    ) -> Tensor:
        values = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        values = values * math.log2(math.e)  # powers of 2 cost less than powers of e
        gradient, total = torch.zeros_like(values), values.new_zeros(())
        upsampling = Upsampling(values, labels.shape[1:], patch)
        tiles = label_tiles(labels.shape, values.shape[1], values.device)
        num_workers = context.world_size
        scale, limit, dice, slopes = 1 / denominator, None, 0.0, None
        with torch.autocast(values.device.type, enabled=False):
            if recipe.needs_whole_batch:
                statistics = _statistics(upsampling, labels, tiles, values.shape[1], recipe, context)
            if recipe.ohem_threshold is not None:
                limit, kept = statistics.limit(recipe)
                scale = num_workers / kept.clamp(min=1)
            scale = scale.to(values.dtype)
            if recipe.dice_weight:
                dice, *slopes = statistics.dice()
                factor = recipe.dice_weight * num_workers
                slopes = [(factor * slope).to(values.dtype) for slope in slopes]
                dice = (recipe.dice_weight * dice).to(values.dtype)
            for tile in tiles:
                pixels = _Pixels.of(upsampling.upsample(tile), labels[tile])
                weight = pixels.valid * scale * class_weights.to(values.dtype)[pixels.target]
                if limit is not None:
                    weight = weight * (pixels.chosen < limit)
                total += (weight * pixels.loss).sum()
                upsampling.add_gradient(gradient, tile, _logits_gradient_(pixels, weight, slopes))
        ctx.save_for_backward(gradient)
        ctx.logits_dtype = logits.dtype
        return total * math.log(2) + dice

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * upstream).to(ctx.logits_dtype), None, None, None, None, None, None


@dataclass
class _Pixels:
    """A tile's pixels: probabilities (b, R, k, C); of each label (b, R, 1, C) its class and probability."""

    probabilities: Tensor
    target: Tensor  # the class of the label, 0 for void
    valid: Tensor  # 1, or 0 for void
    chosen: Tensor  # probability of the class
    loss: Tensor  # cross entropy, base 2

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> "_Pixels":
        """Return the pixels of logits (b, R, k, C), which are overwritten, and labels (b, R, C)."""
        labels = labels.unsqueeze(2)
        valid = labels != IGNORE_LABEL
        target = (labels * valid).long()
        logits -= logits.amax(dim=2, keepdim=True)
        loss = -logits.gather(2, target)
        powers = logits.exp2_()
        norm = powers.sum(dim=2, keepdim=True)
        probabilities = powers.div_(norm)
        return cls(
            probabilities, target, valid.to(logits.dtype), probabilities.gather(2, target), loss + norm.log2()
        )


def _logits_gradient_(pixels: _Pixels, weight: Tensor, slopes: list[Tensor] | None) -> Tensor:
    """Return the gradient in a tile's logits, (b, R, k, C); overwrite the probabilities with it.

    That of cross entropy is probability minus one-hot, times the pixel's weight. That of dice with the slopes
    s_k in the probabilities p_k is p_k (s_k - sum_j p_j s_j).

    Args:
        weight: of each pixel in the cross entropy, (b, R, 1, C).
        slopes: two tensors (k,): what s_k has for the class of the label only, and for every pixel. None
            without dice.
    """
    factor = weight  # of each probability
    at_label = pixels.chosen * weight - weight
    if slopes is not None:
        on_label, on_all = slopes
        mean = (pixels.probabilities * on_all[:, None]).sum(dim=2, keepdim=True)
        mean = (mean + pixels.chosen * on_label[pixels.target]) * pixels.valid
        own = (on_label + on_all)[pixels.target] * pixels.valid
        at_label = pixels.chosen * (weight - mean + own) - weight
        factor = weight - mean + on_all[:, None] * pixels.valid  # b R k C
    return pixels.probabilities.mul_(factor).scatter_(2, pixels.target, at_label)


@dataclass
class _Statistics:
    """Sums over the labelled pixels of the batch, float64; for dice one number of each class."""

    below: Tensor  # pixels whose class has a probability below the threshold
    histogram: Tensor  # pixels in each bin of that probability
    inside: Tensor  # probability of a class, over its own pixels
    predicted: Tensor  # probability of a class, over all pixels
    labelled: Tensor  # pixels of a class

    def limit(self, recipe: Recipe) -> tuple[Tensor, Tensor]:
        """Return the probability below which pixels are kept, and how many these are."""
        needed = (recipe.ohem_min_share * self.histogram.sum()).ceil()
        up_to = self.histogram.cumsum(0)
        last = (up_to < needed).sum().clamp(max=_BINS - 1)  # the last bin that is kept
        edge = torch.where(last == _BINS - 1, math.inf, (last + 1).double() / _BINS)
        enough = self.below >= needed
        return torch.where(enough, recipe.ohem_threshold, edge), torch.where(enough, self.below, up_to[last])

    def dice(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the dice loss and its slope in each class's probability (K,): what a pixel of the class adds
        to it, and what all pixels have."""
        present = self.labelled > 0
        number = present.sum().clamp(min=1)
        size = (self.predicted + self.labelled).where(present, 1.0)
        loss = ((1 - 2 * self.inside / size) * present).sum() / number
        return loss, -2 / size * present / number, 2 * self.inside / size.square() * present / number


def _statistics(
    upsampling: Upsampling,
    labels: Tensor,
    tiles: list[Tile],
    num_classes: int,
    recipe: Recipe,
    context: Context,
) -> _Statistics:
    """Return the statistics of the batch of all workers."""
    sizes = (1, _BINS, num_classes, num_classes, num_classes)
    total = torch.zeros(sum(sizes), dtype=torch.float64, device=labels.device)
    below, histogram, inside, predicted, labelled = total.split(sizes)  # views
    for tile in tiles:
        pixels = _Pixels.of(upsampling.upsample(tile), labels[tile])
        below += (pixels.valid * (pixels.chosen < (recipe.ohem_threshold or 0))).sum(dtype=torch.float64)
        bins = (pixels.chosen.nan_to_num() * _BINS).long().clamp(max=_BINS - 1)  # NaN has no bin
        valid = pixels.valid.double().flatten()
        histogram.scatter_add_(0, bins.flatten(), valid)  # sums of whole numbers: exact in any order
        labelled.scatter_add_(0, pixels.target.flatten(), valid)
        if recipe.dice_weight:
            pixels.probabilities.mul_(pixels.valid)
            predicted += pixels.probabilities.sum(dim=(0, 1, 3), dtype=torch.float64)
            own = torch.zeros_like(pixels.probabilities)
            own.scatter_(2, pixels.target, pixels.chosen * pixels.valid)
            inside += own.sum(dim=(0, 1, 3), dtype=torch.float64)
    context.all_reduce(total)
    return _Statistics(below[0], histogram, inside, predicted, labelled)
