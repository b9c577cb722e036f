"""Prediction of a 2048 x 1024 image compared with the authors' method: `python -m benchmarks.predict`.

Ti/16 4x4, sliding windows of 768 with stride 512, float32. Timed: from the uint8 image to the class of every
pixel, including normalisation. Plain: explicit softmax attention, one window at a time, the mean of full-size
logits, resized, softmax, argmax.
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


def prediction(method: str, classes: int, device: str) -> Call:
    """Return a call that predicts one image, `plain` or `ours`."""
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
    if method == "ours":
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
        calls = {method: prediction(method, classes, settings.device) for method in ("plain", "ours")}
        agree = float((calls["plain"]() == calls["ours"]()).mean())
        turns = in_turns(calls, settings.rounds(5), settings)
        calls.clear()
        memory = {
            method: peak_megabytes(prediction, (method, classes, settings.device), settings)
            for method in ("plain", "ours")
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
