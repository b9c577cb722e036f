"""Write a profile of a user's own data set as commented YAML."""

import json
from typing import Any

from regproxy.suggest.settings import Settings

_TEMPLATE = """\
# {title}
#
#   dvc repro         # params.yaml: profiles: [{name}]
#   regproxy predict runs/{name}/{name}/region-4x4/0 PHOTOS --out labels --overlay
#
# Written by `regproxy new` from the images, the labels and the device. Every number is a starting point.
seeds: [0]  # [0, 1, 2] trains three times; the report then shows the median

demo: null

architectures:
  {arch}:
    backbone: {backbone}
    taps: {{{name}: {tap}}}  # 0-based block whose tokens form the regions; about a third of the depth
{weights}
datasets:
  {name}:
{data}
recipe:
  steps: {steps}  # {steps_comment}
  crop: {crop}  # pixels: height, width of what the network sees while it trains
  scale: {scale}  # pixels: long, short side that images are resized to first; then by a factor of 0.5 to 2
  batch_size: {batch_size}
  learning_rate: {learning_rate}  # {rate_comment}
  warmup_steps: {warmup_steps}
  precision: {precision}
  loader_workers: {loader_workers}  # processes that decode and augment
  log_every: {log_every}  # steps, like the next two
  validate_every: {validate_every}
  checkpoint_every: {checkpoint_every}  # a training that was stopped resumes from the last one

evaluation: {{scale: {scale}, window: {crop}, stride: {stride}}}  # sliding windows

variants:
  linear: {{arch: {arch}, head: linear}}  # the baseline: one class for each token
  region-4x4: {{arch: {arch}, head: regproxy, region: [4, 4]}}

tables:
  {name}:
    title: {table_title}
    complexity: true
    rows:
      - {{label: [ViT linear], variant: linear}}
      - {{label: [RegProxy 4x4], variant: region-4x4}}

trends: []

notes: []

pictures: {{variants: [linear, region-4x4], num_images: 3}}

resources: {{workers: 1, cpus: {cpus}, gpus: {gpus}}}  # of one training
"""


def profile_text(
    name: str, title: str, data: list[tuple[str, Any, str]], num_train: int, settings: Settings
) -> str:
    """Return the YAML text of a profile with one data set, a baseline and RegProxy 4x4.

    Args:
        name: of the profile and of its data set.
        title: one line that describes the data.
        data: (key, value, comment) of each line of the data set's entry; an empty comment is left out.
        num_train: training images, for a comment.
        settings: from `choose_settings`.
    """
    start = settings.start
    weights = "    # Random weights. `pretrain: augreg` with weights of timm is nearly always better.\n"
    if start.weights:
        weights = (
            f"    pretrain: {settings.pretrain}\n"
            f"    weights: {{{settings.pretrain}: {start.weights}}}"
            "  # downloaded by timm, or put into data/pretrained/\n"
        )
    epochs = settings.steps * settings.batch_size / num_train
    return _TEMPLATE.format(
        name=name,
        title=" ".join(title.split()),
        table_title=flow(title),
        arch=start.arch,
        backbone=flow(start.backbone),
        tap=settings.tap,
        weights=weights,
        data="".join(_line(*entry) for entry in data),
        steps=settings.steps,
        steps_comment=f"each of the {num_train:,} training images is seen {epochs:.0f} times",
        crop=list(settings.crop),
        scale=list(settings.scale),
        stride=list(settings.stride),
        batch_size=settings.batch_size,
        learning_rate=f"{start.learning_rate:.1e}".replace("e-0", "e-"),
        rate_comment="try half and double" if start.weights else "for random weights",
        warmup_steps=settings.warmup_steps,
        precision="bf16" if settings.gpu else "float32",
        loader_workers=6 if settings.gpu else 0,
        log_every=settings.log_every,
        validate_every=settings.validate_every,
        checkpoint_every=settings.checkpoint_every,
        cpus=8 if settings.gpu else 1,
        gpus=1 if settings.gpu else 0,
    )


def flow(value: Any) -> str:
    """Return a value as YAML on one line. JSON strings are YAML strings; plain words need no quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and value.replace("_", "").replace("-", "").isalpha() and value.isascii():
        return value if value.lower() not in _NOT_PLAIN else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


_NOT_PLAIN = ("true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf")


def _line(key: str, value: Any, comment: str) -> str:
    return f"    {key}: {flow(value)}" + (f"  # {comment}" if comment else "") + "\n"
