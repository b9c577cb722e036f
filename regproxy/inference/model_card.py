"""The model card: a page about a trained network, with the metadata that the Hugging Face Hub reads."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from regproxy.config.formats import FORMATS
from regproxy.config.variant import Variant
from regproxy.errors import DataError
from regproxy.runs.record import original_fingerprint, read_record
from regproxy.runs.saved_model import run_variant

LIBRARY = "library_name: regproxy"  # a line of every card
_PAPER = "[Semantic Segmentation by Early Region Proxy](https://arxiv.org/abs/2203.14043) (CVPR 2022)"
_HEADS = {
    "linear": "A linear layer gives each token one class.",
    "segmenter": "A mask transformer gives each token one class.",
    "regproxy": "Each token is a region. Early tokens give the shapes, late ones the classes.",
}


def read_result(path: str | os.PathLike[str], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result record in a file, such as results/demo/ade20k/4x4/0.json.

    Raises:
        DataError: the file is missing, is no result record, or belongs to another run than `record`.
    """
    result = read_record(Path(path))
    if result is None or "miou" not in result:
        raise DataError(f"{path} is missing or no result record. Give the one that evaluate wrote.")
    if result.get("run_fingerprint") not in (record.get("fingerprint"), _original(record)):
        raise DataError(f"{path} holds the scores of another run. Give the result record of this run.")
    return result


def write_card(
    record: Mapping[str, Any],
    *,
    num_parameters: int,
    license: str,
    result: Mapping[str, Any] | None = None,
) -> str:
    """Return the model card in Markdown, with metadata in YAML at its head.

    Args:
        record: the run record.
        num_parameters: of the network.
        license: identifier of the weights' licence, such as "mit".
        result: scores to show.
    """
    variant = run_variant(record)
    data = _data_name(variant, record)
    name = f"{variant.model.arch} {variant.name} on {data}"
    metadata: dict[str, Any] = {
        "license": license,
        "library_name": "regproxy",
        "pipeline_tag": "image-segmentation",
        "tags": ["semantic-segmentation", "vision-transformer", variant.model.head, "arxiv:2203.14043"],
        "datasets": [data],
        "metrics": ["mean_iou"],
    }
    if result is not None:
        metadata["model-index"] = [{"name": name, "results": [_index_entry(data, result)]}]
    sections = {
        "Use it": _usage(),
        "Network": _network(variant, num_parameters),
        f"{variant.data.num_classes} classes": ", ".join(variant.data.classes) + ".",
        "Scores": "None recorded." if result is None else _scores(variant, data, result),
        "Training": _training(variant, data, record),
        "Limits": (
            f"The network knows only the classes above and images like those of {data}. Its "
            "confidence is a softmax that was not calibrated. Check it on your own images first."
        ),
    }
    text = "\n".join(f"## {heading}\n\n{content}\n" for heading, content in sections.items())
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n# {name}\n\nSemantic segmentation after {_PAPER}.\n\n{text}"


def _data_name(variant: Variant, record: Mapping[str, Any]) -> str:
    """Return the data set's name, such as ade20k, or demo-ade20k for a profile's own data in its layout."""
    data, official = variant.data, FORMATS.get(variant.data.name)
    if official is None or (data.classes == official.classes and not data.allow_partial):
        return data.name
    return f"{record['profile']}-{data.name}" if "profile" in record else f"partial-{data.name}"


def _usage() -> str:
    return (
        "```python\nimport regproxy\n\n"
        'model = regproxy.load("FOLDER")  # this folder, or hf://owner/name\n'
        'result = model.predict("photo.jpg")  # result.labels, result.confidence, result.overlay()\n```'
    )


def _network(variant: Variant, num_parameters: int) -> str:
    model, window = variant.model, variant.evaluation.window
    rows = {
        "backbone": model.backbone.timm_name,
        "head": model.head,
        "sub-cells of a token": "x".join(map(str, model.region)) if model.region else None,
        "affinity read from the output of block": model.tap,
        "parameters": f"{num_parameters:,}",
        "window": f"{window[0]} x {window[1]} pixels",
        "scale (long, short side)": "{} x {}".format(*variant.evaluation.scale),
    }
    return f"{_HEADS[model.head]}\n\n{_table(rows)}"


def _scores(variant: Variant, data: str, result: Mapping[str, Any]) -> str:
    multi = result.get("multi_scale") or {}
    rows = {
        "mIoU": _percent(result["miou"]),
        "mIoU, several scales and flips": _percent(multi.get("miou")),
        "pixel accuracy": _percent(result.get("pixel_accuracy")),
        "boundary IoU": _percent(result.get("boundary_iou")),
    }
    images = f"{result.get('num_images')} images of {data}, split {result.get('split')}"
    per_class = {
        name: _percent(value)
        for name, value in zip(variant.data.classes, result.get("iou_per_class") or (), strict=False)
    }
    return f"In percent, on {images}.\n\n{_table(rows)}\n\nIoU of each class:\n\n{_table(per_class)}"


def _training(variant: Variant, data: str, record: Mapping[str, Any]) -> str:
    recipe, versions = variant.recipe, record.get("versions") or {}
    rows = {
        "data": f"{data}, split train",
        "pre-trained weights": variant.model.weights or ("not recorded" if "source" in record else "none"),
        "converted from": record.get("source"),
        "steps": recipe.steps,
        "images a step": recipe.batch_size,
        "crop": "{} x {} pixels".format(*recipe.crop),
        "seed": record.get("seed"),
        "device": record.get("device"),
        "software": ", ".join(f"{package} {number}" for package, number in versions.items()) or None,
        "git commit": record.get("git_commit"),
        "fingerprint": record.get("fingerprint"),
    }
    return _table(rows) + "\n\n`run.json` holds every setting."


def _index_entry(data: str, result: Mapping[str, Any]) -> dict[str, Any]:
    metric = {"type": "mean_iou", "name": "mIoU", "value": round(100 * result["miou"], 2)}
    return {
        "task": {"type": "image-segmentation"},
        "dataset": {
            "name": data,
            "type": data,
            "split": result.get("split", "val"),
        },
        "metrics": [metric],
    }


def _table(rows: Mapping[str, Any]) -> str:
    """Return a table of two columns, without the rows that have no value."""
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value is not None]
    return "\n".join(["| | |", "|---|---|", *lines])


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.2f}"


def _original(record: Mapping[str, Any]) -> str | None:
    return original_fingerprint(dict(record)) if "fingerprint" in record else None
