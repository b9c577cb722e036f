"""Decode an image with OpenCV and learn what the decoder complained about."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import cv2
import numpy as np

_ONE_AT_A_TIME = threading.Lock()  # file descriptor 2 belongs to the whole process
_DECODERS = ("Corrupt JPEG", "Premature end", "Invalid", "Unsupported", "libpng", "TIFF", "[ WARN", "[ERROR")


def decode_with_messages(encoded: bytes, flags: int) -> tuple[np.ndarray | None, list[str]]:
    """Return an image as OpenCV decodes it, or None, and the lines that the decoder wrote to stderr.

    OpenCV returns a JPEG whose data break off as an image with a grey rest. Only libjpeg's line on stderr
    reveals it.
    """
    with decoder_messages() as messages:
        try:
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
        except cv2.error:
            image = None
    return image, messages


@contextmanager
def decoder_messages() -> Iterator[list[str]]:
    """Keep the lines that decoders write to stderr from the terminal; they are in the list at the end.

    Decoders write to file descriptor 2 themselves, so it is a temporary file meanwhile. Lines that do not
    begin like those of a decoder come from other threads, and are passed on.
    """
    messages: list[str] = []
    with _ONE_AT_A_TIME, _scratch_file() as captured:
        try:
            stderr = os.dup(2)
        except OSError:  # the process has no stderr
            yield messages
            return
        try:
            os.dup2(captured.fileno(), 2)
            yield messages
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if os.fstat(captured.fileno()).st_size:
                captured.seek(0)
                lines = captured.read().decode("utf-8", "replace").splitlines()
                messages += lines
                _pass_on([line for line in lines if line.strip() and not line.startswith(_DECODERS)])


def _pass_on(lines: list[str]) -> None:
    if lines:
        os.write(2, ("\n".join(lines) + "\n").encode())


def _scratch_file() -> IO[bytes]:
    """Return an empty file without a name, in memory where the system can."""
    return (
        open(os.memfd_create("decoder"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()
    )
