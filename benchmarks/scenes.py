"""Generated street scenes of the size of real photographs, encoded as in data sets."""

import cv2
import numpy as np

from regproxy.data.scan import encode_label
from regproxy.demo.scenes import draw_scene

HEIGHT, WIDTH = 512, 683  # pixels, the most common size in ADE20K


def encoded_pairs(count: int) -> list[tuple[bytes, bytes]]:
    """Return pairs (JPEG, PNG of train ids) of 683 x 512, about 100 kB an image, as in ADE20K."""
    pairs = []
    for index in range(count):
        image, label = draw_scene(HEIGHT, WIDTH, np.random.default_rng(index))
        noise = np.random.default_rng(index).normal(0, 6, image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
        _, jpeg = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, 90))
        _, png = cv2.imencode(".png", label)
        pairs.append((jpeg.tobytes(), png.tobytes()))
    return pairs


def prepared(pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return a pair as stored in shards: an unchanged JPEG and a label encoded by the preparation."""
    jpeg, png = pair
    return jpeg, encode_label(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))
