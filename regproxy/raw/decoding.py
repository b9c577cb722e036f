"""Decode an image with OpenCV and learn what the decoder complained about."""

import os
import tempfile
import threading

import cv2
import numpy as np

_ONE_AT_A_TIME = threading.Lock()  # file descriptor 2 belongs to the whole process
_DECODERS = ("Corrupt JPEG", "Premature end", "Invalid", "Unsupported", "libpng", "TIFF", "[ WARN", "[ERROR")


def decode_with_messages(encoded: bytes, flags: int) -> tuple[np.ndarray | None, list[str]]:
    """Return a decoded image, or None, and the lines that the decoder wrote to stderr.

    OpenCV returns a JPEG whose data break off as an image with a grey rest. Only libjpeg's line on stderr
    reveals it, so stderr (file descriptor 2) is a temporary file during this call. Lines that another thread
    writes during the call are passed on.
    """
    buffer = np.frombuffer(encoded, np.uint8)
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as captured:
        try:
            stderr = os.dup(2)
        except OSError:  # the process has no stderr
            return _decode(buffer, flags), []
        try:
            os.dup2(captured.fileno(), 2)
            image = _decode(buffer, flags)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        captured.seek(0)
        lines = captured.read().splitlines()
    messages = [line.decode("utf-8", "replace") for line in lines]
    others = [line for line, text in zip(lines, messages, strict=True) if not text.startswith(_DECODERS)]
    if others:
        os.write(2, b"\n".join(others) + b"\n")
    return image, messages


def _decode(buffer: np.ndarray, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(buffer, flags)
    except cv2.error:
        return None
