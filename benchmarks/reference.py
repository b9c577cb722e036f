"""Plain implementations of what the other files measure, following the authors' code.

They use explicit softmax attention, nine shifted copies of the token logits multiplied by the affinity, and
logits at full size, and resize whole images before they crop them. Weights and random draws are those of the
fast implementations.
"""

import copy

import cv2
import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.recipe import Recipe
from regproxy.data.geometry import rescaled_size
from regproxy.eval.stitching import window_starts
from regproxy.model.affinity import outside_neighbours
from regproxy.model.regproxy import RegProxy


def paint(affinity: Tensor, token_logits: Tensor) -> Tensor:
    """Return logits (B, K, H h, W w) of affinity (B, 9, h, w, H, W) and token logits (B, K, H, W)."""
    rows, columns = token_logits.shape[2:]
    copies = functional.unfold(token_logits, 3, padding=1)
    copies = rearrange(copies, "B (K n) (H W) -> B K n 1 1 H W", n=9, H=rows, W=columns)
    painted = (copies * affinity.unsqueeze(1)).sum(dim=2)
    return rearrange(painted, "B K h w H W -> B K (H h) (W w)")


class PlainRegProxy(nn.Module):
    """A copy of a RegProxy network with plain attention, affinity and painting."""

    def __init__(self, network: RegProxy) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        for block in self.network.backbone.vit.blocks:
            block.attn.fused_attn = False

    def forward(self, images: Tensor) -> Tensor:
        early, late = self.network.backbone(images)
        head = self.network.affinity_head
        scores = early.contiguous()
        for layer in [*head.stem, head.out]:
            scores = nn.Conv2d.forward(layer, scores) if isinstance(layer, nn.Conv2d) else layer(scores)
        scores = rearrange(scores, "B (n h w) H W -> B n h w H W", n=9, h=head.region[0], w=head.region[1])
        outside = rearrange(outside_neighbours(*early.shape[2:], device=early.device), "n H W -> n 1 1 H W")
        affinity = scores.masked_fill(outside, float("-inf")).softmax(dim=1)
        return paint(affinity, self.network.classifier(late))


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy over all pixels of logits (B, K, h, w), upsampled to labels (B, H, W)."""
    upsampled = functional.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    total = functional.cross_entropy(
        upsampled.float(), labels.long(), ignore_index=IGNORE_LABEL, reduction="sum"
    )
    return total / labels.numel()


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor, *, window: int, stride: int, size: tuple[int, int]) -> Tensor:
    """Return the classes (X, Y) of a normalised image (1, 3, X', Y') from the mean of full-size logits."""
    height, width = images.shape[2:]
    total = num_windows = None
    for top in window_starts(height, window, stride):
        for left in window_starts(width, window, stride):
            view = images[..., top : top + window, left : left + window]
            logits = functional.interpolate(model(view), view.shape[2:], mode="bilinear", align_corners=False)
            if total is None:
                total = images.new_zeros(1, logits.shape[1], height, width)
                num_windows = images.new_zeros(1, 1, height, width)
            total[..., top : top + window, left : left + window] += logits
            num_windows[..., top : top + window, left : left + window] += 1
    total = functional.interpolate(total / num_windows, size, mode="bilinear", align_corners=False)
    return total.softmax(dim=1).argmax(dim=1)[0]


def view(
    encoded: tuple[bytes, bytes], recipe: Recipe, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return image and label of a training view. The whole image is resized before it is cropped."""
    image = cv2.imdecode(np.frombuffer(encoded[0], np.uint8), cv2.IMREAD_COLOR)
    label = cv2.imdecode(np.frombuffer(encoded[1], np.uint8), cv2.IMREAD_UNCHANGED)
    ratio = generator.uniform(*recipe.ratio_range)
    size = rescaled_size(label.shape, tuple(int(side * ratio) for side in recipe.scale))
    image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
    height, width = (min(side, limit) for side, limit in zip(recipe.crop, size, strict=True))
    for _ in range(11):
        top, left = (int(generator.integers(s - c + 1)) for s, c in zip(size, (height, width), strict=True))
        crop = label[top : top + height, left : left + width]
        values, counts = np.unique(crop, return_counts=True)
        counts = counts[values != IGNORE_LABEL]
        if len(counts) > 1 and counts.max() / counts.sum() < recipe.max_class_share:
            break
    image, label = image[top : top + height, left : left + width], crop
    if generator.random() < recipe.flip_probability:
        image, label = np.flip(image, axis=1), np.flip(label, axis=1)
    image = cv2.cvtColor(_distort(image, generator), cv2.COLOR_BGR2RGB).astype(np.float32)
    image = (image - np.array(recipe.image_mean, np.float32)) / np.array(recipe.image_std, np.float32)
    bottom, right = recipe.crop[0] - height, recipe.crop[1] - width
    image = np.pad(image, ((0, bottom), (0, right), (0, 0)))
    label = np.pad(label, ((0, bottom), (0, right)), constant_values=IGNORE_LABEL)
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return pixels, torch.from_numpy(label.astype(np.int64))


def _distort(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    def linear(values: np.ndarray, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
        return np.clip(values.astype(np.float32) * scale + shift, 0, 255).astype(np.uint8)

    if generator.integers(2):
        image = linear(image, shift=generator.uniform(-32, 32))
    contrast_first = generator.integers(2)
    if contrast_first and generator.integers(2):
        image = linear(image, scale=generator.uniform(0.5, 1.5))
    if generator.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[..., 1] = linear(hsv[..., 1], scale=generator.uniform(0.5, 1.5))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if generator.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + generator.integers(-18, 18)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if not contrast_first and generator.integers(2):
        image = linear(image, scale=generator.uniform(0.5, 1.5))
    return image
