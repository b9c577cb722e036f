"""Time of predicting image files compared with the network alone: `python -m benchmarks.predict_files`.

The network is CamVid/16 4x4 of the profile camvid, with random weights. Files: `predict_files` on 233 JPEG
files of 480 x 360, from loading the network to the last label map. Network: the forward passes of the same
windows alone, one image after the other. The last column is how much longer the files take.
"""

import json
import tempfile
from pathlib import Path
from statistics import median

import cv2
import torch
from torch import Tensor, nn

from benchmarks.measure import Call, Section, Settings, in_turns, main, milliseconds
from benchmarks.scenes import encoded_pairs
from regproxy.config.profile_file import load_profile
from regproxy.data.images import decode_image
from regproxy.eval.sliding import predict
from regproxy.inference.label_maps import predict_files
from regproxy.inference.load import load
from regproxy.model.build import build
from regproxy.runs.saved_model import save_model

IMAGES, SCENES, SIZE = 233, 16, (480, 360)


class Recorder(nn.Module):
    """Calls a network and keeps its inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.inputs = network, list[Tensor]()

    def forward(self, images: Tensor) -> Tensor:
        self.inputs.append(images.clone())
        return self.network(images)


def write_run(folder: Path) -> None:
    """Write a run folder with random weights."""
    torch.manual_seed(0)
    (variant,) = (found for found in load_profile("camvid").variants if found.name == "region-4x4")
    folder.mkdir()
    save_model(build(variant), folder)
    (folder / "run.json").write_text(json.dumps({"variant": variant.to_dict()}))


def write_images(folder: Path) -> None:
    """Write JPEG files of scenes; some have the same content."""
    folder.mkdir()
    scenes = [cv2.resize(decode_image(jpeg)[..., ::-1], SIZE) for jpeg, _ in encoded_pairs(SCENES)]
    for index in range(IMAGES):
        cv2.imwrite(str(folder / f"{index}.jpg"), scenes[index % SCENES], (cv2.IMWRITE_JPEG_QUALITY, 95))


def forward_passes(run: Path, image: Path, device: str) -> Call:
    """Return a call that runs the network on the windows of one image, once for each of the images."""
    model = load(run, device)
    recorder, recipe = Recorder(model.network), model.variant.recipe
    settings = {"evaluation": model.variant.evaluation, "mean": recipe.image_mean, "std": recipe.image_std}
    for _ in range(2):  # the first prediction also runs the network to learn the size of its logits
        recorder.inputs.clear()
        predict(recorder, decode_image(image.read_bytes()), **settings)

    @torch.inference_mode()
    def call() -> None:
        for _ in range(IMAGES):
            for windows in recorder.inputs:
                model.network(windows)

    return call


def run(settings: Settings) -> Section:
    section = Section("Prediction of files", __doc__)
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as place:
        folder, images, out = Path(place, "run"), Path(place, "images"), Path(place, "out")
        write_run(folder)
        write_images(images)
        calls = {
            "network": forward_passes(folder, images / "0.jpg", settings.device),
            "files": lambda: predict_files(folder, [images], out, device=settings.device),
        }
        turns = in_turns(calls, settings.rounds(8), settings, unmeasured=1)
    section.add(
        **{
            "images": IMAGES,
            "network ms": milliseconds(turns, "network"),
            "files ms": milliseconds(turns, "files"),
            "files / network": median(turn["files"] / turn["network"] for turn in turns),
        }
    )
    return section


if __name__ == "__main__":
    main(run, __doc__)
