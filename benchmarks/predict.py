"""Prediction of a 2048 x 1024 image beside the authors' way: `python -m benchmarks.predict`.

Ti/16 4x4, sliding windows of 768 by steps of 512, float32. Timed: from the uint8 image to the class of every
pixel, normalising included. Plain: explicit softmax attention, windows one by one, their logits at full size
added up, divided and resized, softmax, argmax.
"""

import dataclasses

import numpy as np
import torch

from benchmarks import reference
from benchmarks.measure import Call, Section, Settings, in_turns, main, milliseconds, peak_megabytes, ratio
from regproxy.config.profile_file import load_profile
from regproxy.data.loader import normalise
from regproxy.eval.sliding import predict
from regproxy.model.build import build

SIZE, WINDOW, STRIDE = (1024, 2048), 768, 512


def prediction(way: str, classes: int, device: str) -> Call:
    """Returns a call that predicts one image."""
    torch.manual_seed(0)
    (variant,) = (
        variant
        for variant in load_profile("paper").variants
        if (variant.data.name, variant.name) == ("cityscapes", "ti-4x4")
    )
    names = tuple(f"class {index}" for index in range(classes))
    variant = dataclasses.replace(variant, data=dataclasses.replace(variant.data, classes=names))
    model = build(variant).eval().to(device)
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    statistics = {"mean": variant.recipe.image_mean, "std": variant.recipe.image_std}
    if way == "ours":
        return lambda: predict(model, image, evaluation=variant.evaluation, **statistics)
    plain = reference.PlainRegProxy(model).eval()

    def call() -> np.ndarray:
        images = normalise(torch.from_numpy(image)[None].to(device), **statistics)
        classes = reference.predict(plain, images, window=WINDOW, stride=STRIDE, size=SIZE)
        return classes.cpu().numpy()

    return call


def run(settings: Settings) -> Section:
    section = Section("Prediction", __doc__)
    torch.set_num_threads(2)
    for classes in (19, 150):
        calls = {way: prediction(way, classes, settings.device) for way in ("plain", "ours")}
        agree = float((calls["plain"]() == calls["ours"]()).mean())
        turns = in_turns(calls, settings.rounds(5), settings)
        calls.clear()
        memory = {
            way: peak_megabytes(prediction, (way, classes, settings.device), settings)
            for way in ("plain", "ours")
        }
        section.add(
            **{
                "classes": classes,
                "dtype": "float32",
                "plain ms": milliseconds(turns, "plain"),
                "ours ms": milliseconds(turns, "ours"),
                "faster": ratio(turns, "plain", "ours"),
                "plain MB": memory["plain"],
                "ours MB": memory["ours"],
                "memory": memory["ours"] / memory["plain"],
                "equal pixels": f"{agree:.4%}",
            }
        )
    return section


if __name__ == "__main__":
    main(run, __doc__)
