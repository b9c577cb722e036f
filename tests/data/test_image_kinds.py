"""Image files as people have them: kinds, depths, EXIF orientations, damage; what shards keep of them."""

import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from regproxy.data.images import match_label, read_image
from regproxy.data.loader import decode
from regproxy.errors import DataError
from regproxy.raw.encoded import open_picture

BLURRED = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8), (0, 0), 2)
IMAGE = BLURRED[:24, :32]


def pillow(kind: str, pixels: np.ndarray = IMAGE, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def opencv(suffix: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(suffix, pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


def turned(orientation: int, kind: str, pixels: np.ndarray = IMAGE) -> bytes:
    exif = Image.Exif()
    exif[0x112] = orientation
    return pillow(kind, pixels, exif=exif)


def decoded(stored: bytes) -> np.ndarray:
    """Return the pixels that a training reads from a shard."""
    return decode(stored, pillow("PNG", IMAGE[..., 0]))[0]


@pytest.mark.parametrize(
    "encoded",
    [
        pillow("BMP"),
        pillow("WEBP", lossless=True),
        pillow("WEBP", np.dstack([IMAGE, IMAGE[..., :1]]), lossless=True, exact=True),
        pillow("TIFF"),
        pillow("TIFF", compression="tiff_lzw"),
        pillow("TIFF", compression="tiff_adobe_deflate"),
        pillow("TIFF", np.dstack([IMAGE, IMAGE[..., :1]])),
    ],
    ids=["BMP", "WebP", "WebP with alpha", "TIFF", "LZW", "deflate", "TIFF with alpha"],
)
def test_other_kinds_are_stored_as_png(encoded: bytes) -> None:
    image = read_image(encoded)
    np.testing.assert_array_equal(image.pixels, IMAGE)
    assert image.encoded[1:4] == b"PNG"
    np.testing.assert_array_equal(decoded(image.encoded), IMAGE)


@pytest.mark.parametrize("encoded", [pillow("JPEG"), pillow("PNG"), pillow("PNG", IMAGE[..., 0])])
def test_jpeg_and_8_bit_png_are_stored_as_they_are(encoded: bytes) -> None:
    image = read_image(encoded)
    assert image.encoded == encoded
    np.testing.assert_array_equal(image.pixels, decoded(encoded))


def test_a_grey_tiff_becomes_rgb() -> None:
    np.testing.assert_array_equal(read_image(pillow("TIFF", IMAGE[..., 0])).pixels, IMAGE[..., [0, 0, 0]])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_images_are_scaled(suffix: str, channels: int) -> None:
    values = np.linspace(0, 4500, 24 * 32 * channels).astype(np.uint16)
    values = values.reshape((24, 32, 3) if channels == 3 else (24, 32))
    encoded = opencv(suffix, values)
    with pytest.raises(
        DataError, match=r"uint16 values 0\.\.4500, not 8 bits. Set image_range: \[low, high\]"
    ):
        read_image(encoded)
    image = read_image(encoded, image_range=(100.0, 4095.0))
    exact = np.clip((values.astype(float) - 100) / 3995 * 255, 0, 255)
    expected = np.floor(exact + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(image.pixels, expected if channels == 3 else np.dstack([expected] * 3))
    np.testing.assert_array_equal(decoded(image.encoded), image.pixels)


def test_halves_are_rounded_up() -> None:
    values = np.array([[0, 1, 3, 509, 510]], np.uint16)
    assert read_image(opencv(".png", values), image_range=(0, 510)).pixels[0, :, 0].tolist() == [
        0,
        1,
        2,
        255,
        255,
    ]


def test_float_images() -> None:
    values = IMAGE.astype(np.float32) / 255
    np.testing.assert_array_equal(read_image(opencv(".tif", values), image_range=(0, 1)).pixels, IMAGE)
    with pytest.raises(DataError, match="float32 values 0"):
        read_image(opencv(".tif", values))
    values[3, 3] = np.nan
    with pytest.raises(DataError, match="no numbers"):
        read_image(opencv(".tif", values), image_range=(0, 1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_label_decides_whether_a_photo_is_turned(kind: str, orientation: int) -> None:
    encoded = turned(orientation, kind)
    with Image.open(io.BytesIO(encoded)) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    image = read_image(encoded)
    assert image.orientation == orientation
    assert match_label(image, (24, 32), "ignore") is image
    applied = match_label(image, upright.shape[:2], "apply")
    assert np.abs(applied.pixels.astype(int) - upright).max() <= (1 if kind == "JPEG" else 0)
    np.testing.assert_array_equal(decoded(applied.encoded), applied.pixels)
    if orientation < 5:  # the size is the same both ways
        with pytest.raises(DataError, match=f"EXIF orientation {orientation}.*exif: apply.*exif: ignore"):
            match_label(image, (24, 32), None)
    else:
        assert match_label(image, (24, 32), None) is image
        np.testing.assert_array_equal(match_label(image, (32, 24), None).pixels, applied.pixels)


def test_a_square_photo_on_its_side_is_refused() -> None:
    with pytest.raises(DataError, match="EXIF orientation 6"):
        match_label(read_image(turned(6, "JPEG", IMAGE[:, :24])), (24, 24), None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("progressive", [False, True])
def test_an_image_that_breaks_off(kind: str, progressive: bool, capfd: pytest.CaptureFixture) -> None:
    encoded = pillow(kind, BLURRED, progressive=progressive) if kind == "JPEG" else pillow(kind, BLURRED)
    with pytest.raises(DataError, match=r"the image cannot be decoded: .*(breaks? off|cannot be read)"):
        read_image(encoded[: len(encoded) // 2])
    if kind == "JPEG":
        with pytest.raises(DataError, match=r"the image is damaged \(premature end of data segment\)"):
            read_image(encoded[: len(encoded) // 2] + b"\xff\xd9")
    assert capfd.readouterr().err == ""


def test_a_few_bytes_before_the_end_of_a_jpeg_are_harmless() -> None:
    encoded = pillow("JPEG")
    assert read_image(encoded[:-2] + bytes(5) + encoded[-2:]).pixels.shape == IMAGE.shape
    with pytest.raises(DataError, match="the image is damaged"):
        read_image(encoded[:-2] + bytes(500) + encoded[-2:])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_several_pages_are_refused(kind: str) -> None:
    more = {"save_all": True, "append_images": [Image.fromarray(IMAGE[::-1].copy())]}
    with pytest.raises(DataError, match="animated or has several pages"):
        read_image(pillow(kind, **more))


@pytest.mark.parametrize("content", [b"", b"GIF89a" + bytes(50), b"\0\0\0\x18ftypheic" + bytes(50)])
def test_files_that_are_no_such_image(content: bytes) -> None:
    with pytest.raises(DataError, match="expected a JPEG, PNG, BMP, WebP or TIFF"):
        read_image(content)


def sized(side: int) -> bytes:
    """Return a PNG whose head claims side x side pixels."""
    head = bytearray(pillow("PNG"))
    head[16:24] = side.to_bytes(4, "big") * 2
    head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, "big")
    return bytes(head)


def test_only_images_above_a_gigapixel_are_too_large() -> None:
    assert open_picture(sized(20_000), "PNG").size == (20_000, 20_000)
    with pytest.raises(DataError, match=r"the image cannot be decoded: it has 40,000 x 40,000 pixels"):
        read_image(sized(40_000))
    with pytest.raises(DataError, match=r"40,000 x 40,000 pixels: .*Cut the image and its label into tiles"):
        open_picture(sized(40_000), "PNG")
