"""Decoding, preparing and measuring a picture."""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from bloodyspy.errors import ImageError, ImageTooLarge, UnreadableImage
from bloodyspy.images.decode import decode
from bloodyspy.images.positions import EIGHT, back, placed
from bloodyspy.images.preprocess import InputSpec, golden_hash, golden_picture, to_array
from bloodyspy.images.statistics import SIDE, STATISTICS, describe


def encoded(pixels: NDArray[np.uint8], image_format: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, image_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_decode_to_the_same_pixels(image_format: str) -> None:
    picture = decode(encoded(golden_picture(), image_format))
    assert picture.format == image_format
    np.testing.assert_array_equal(picture.pixels, golden_picture())


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "I;16", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    grey = np.tile(np.arange(0, 256, dtype=np.uint8), (64, 1))
    if mode == "I;16":
        stream = io.BytesIO()
        Image.fromarray(grey.astype(np.uint16) * 257).save(stream, "PNG")
        payload = stream.getvalue()
    else:
        payload = encoded(np.stack([grey] * 3, -1), "TIFF", mode)
    pixels = decode(payload).pixels
    assert pixels.shape == (64, 256, 3)
    assert pixels.dtype == np.uint8
    assert abs(float(pixels.mean()) - 127.5) < 3


def test_transparency_is_white() -> None:
    stream = io.BytesIO()
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(stream, "PNG")
    assert decode(stream.getvalue()).pixels.min() == 255


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    assert decode(encoded(golden_picture(), "JPEG", exif=exif)).pixels.shape == (360, 363, 3)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "empty"),
        (b"hello, this is a text file", "not a JPEG"),
        (encoded(golden_picture(), "GIF"), "not a JPEG"),
        (encoded(golden_picture(), "JPEG")[:4000], "truncated"),
        (encoded(golden_picture(), "PNG")[:2000], "truncated"),
    ],
)
def test_bad_bytes_are_named(payload: bytes, said: str) -> None:
    with pytest.raises(UnreadableImage, match=said):
        decode(payload)


def test_too_many_pixels_are_refused_by_the_header() -> None:
    bomb = encoded(np.zeros((6000, 9000, 3), np.uint8), "PNG")
    with pytest.raises(ImageTooLarge, match=r"54\.0 megapixels"):
        decode(bomb)


# Pillow warns of odd EXIF and TIFF tags, which say nothing about the pixels.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_pictures_decode_or_say_why(data: st.DataObject) -> None:
    image_format = data.draw(st.sampled_from(["JPEG", "PNG", "BMP", "TIFF"]))
    payload = bytearray(encoded(golden_picture()[:48, :48], image_format))
    for _ in range(data.draw(st.integers(1, 8))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(payload)).pixels
    except ImageError:
        return
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


def test_preparing_keeps_the_centre_square() -> None:
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 200
    array = to_array(wide, InputSpec(size=64))
    assert (array[:, 1:-1] == 200).all()
    assert array.min() > 100  # at the seam the filter may see a neighbour's half


def test_the_golden_hash_is_the_one_of_the_lock() -> None:
    # Changes only where Pillow's resize does; then every artefact must be made anew.
    assert golden_hash(InputSpec(size=96)) == "e6144ddc1b4184489696ad98596604f5b4719676b644ef690e506492ebe70737"


def test_statistics_tell_what_changed() -> None:
    cell = np.full((360, 360, 3), (235, 220, 215), np.uint8)
    y, x = np.mgrid[:360, :360]
    cell[(y - 180) ** 2 + (x - 180) ** 2 < 80**2] = (120, 60, 150)
    before = describe(cell)
    darker = describe((cell * 0.8).astype(np.uint8))
    noisy = describe(np.clip(cell + np.random.default_rng(0).normal(0, 8, cell.shape), 0, 255).astype(np.uint8))
    assert before.nucleus_share == pytest.approx(np.pi * 80**2 / 360**2, rel=0.05)
    assert darker.brightness < before.brightness
    assert noisy.noise > before.noise + 1
    assert before.background > 200
    assert len(STATISTICS) == 18


def test_sharpness_noise_and_edges_are_their_formulas() -> None:
    grey = np.random.default_rng(0).integers(60, 200, (SIDE, SIDE)).astype(np.uint8)
    pixels = np.repeat(grey[..., None], 3, axis=-1)
    lightness = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[..., 0].astype(np.float64)
    found = describe(pixels)
    laplace = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    assert found.sharpness == pytest.approx(np.log10(1 + ndimage.convolve(lightness, laplace, mode="mirror").var()))
    immerkaer = ndimage.convolve(lightness, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]))[1:-1, 1:-1]
    assert found.noise == pytest.approx(np.sqrt(np.pi / 2) / 6 * np.abs(immerkaer).mean())
    slope = np.hypot(*(ndimage.sobel(lightness, axis=axis, mode="mirror") for axis in (0, 1)))
    assert found.edges == pytest.approx(slope.mean(), rel=1e-6)
    assert found.brightness == pytest.approx(lightness.mean())


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (5000, 3), (191, 193), (384, 385), (1000, 2000)])
def test_pictures_of_every_shape_can_be_measured(shape: tuple[int, int]) -> None:
    found = describe(np.full((*shape, 3), (200, 150, 100), np.uint8))
    assert (found.height, found.width) == shape
    assert (found.red, found.green, found.blue) == (200, 150, 100)
    assert found.noise == found.edges == found.sharpness == 0


def test_statistics_do_not_depend_on_the_size_of_the_file(real_data: Path) -> None:
    path = sorted((real_data / "pbc" / "neutrophil").glob("[!.]*.jpg"))[0]
    pixels = decode(path.read_bytes()).pixels
    double = np.asarray(Image.fromarray(pixels).resize((720, 726), Image.Resampling.BICUBIC))
    one, two = describe(pixels), describe(double)
    assert one.brightness == pytest.approx(two.brightness, abs=1)
    assert one.sharpness == pytest.approx(two.sharpness, rel=0.1)


@pytest.mark.parametrize("position", EIGHT)
def test_a_position_is_laid_back(position: tuple[bool, int]) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (3, 5, 5, 2))
    turned = placed(pictures, *position)
    assert np.array_equal(back(turned, *position), pictures)
    assert np.array_equal(turned, pictures) == (position == (False, 0))


def test_a_picture_has_eight_positions() -> None:
    picture = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    turned = [placed(picture, *position) for position in EIGHT]
    np.testing.assert_array_equal(turned[0], picture)
    assert len({one.tobytes() for one in turned}) == len(turned) == 8
    for one in turned:  # nothing is lost, and the two pictures stay two
        assert sorted(map(tuple, one[1].reshape(-1, 3))) == sorted(map(tuple, picture[1].reshape(-1, 3)))


def test_a_bitmap_of_run_lengths_is_refused_before_it_is_unpacked() -> None:
    """Two bytes a line, which Pillow unpacks in Python: a kilobyte may cost seconds."""
    width, height, runs = 12_000_000, 2, b"\0\0" * 2 + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(header) + 1024
    payload = struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start) + header + bytes(1024) + runs
    with pytest.raises(UnreadableImage, match="run-length encoded bitmap"):
        decode(payload)
