"""What can be said of a picture without a network: size, exposure, stain, sharpness. Drift is judged on these.

Everything but the size is measured on the centred square resized to one fixed side, because sharpness and noise change
with resolution, and reference and live pictures must be measured alike. No network sees this square, so it is resized
in the quickest way that leaves no pixel out: docs/decisions/0038.
"""

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 192
"""Of the square that is measured, pixels."""

# Pictures are measured in several threads at a time: OpenCV's own threads would only wait for each other.
cv2.setNumThreads(1)


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """Statistics of one picture; grey and colour values are on the scale 0 to 255."""

    width: int  # pixels, as sent
    height: int
    brightness: float  # mean lightness (CIE L*, scaled to 255)
    contrast: float  # standard deviation of the lightness
    darkest: float  # 1st percentile of the lightness
    lightest: float  # 99th percentile of the lightness
    red: float  # channel means
    green: float
    blue: float
    green_red: float  # mean CIE a*, 128 is neutral; eosin moves it up
    blue_yellow: float  # mean CIE b*, 128 is neutral; azure moves it down
    stain_spread: float  # standard deviation of a* and b* together: how strongly the stain colours
    saturation: float  # mean HSV saturation
    background: float  # mean lightness of the four corners (1/16 of the side each)
    nucleus_share: float  # share of pixels darker than Otsu's threshold, 0 to 1
    sharpness: float  # log10 of 1 + the variance of the Laplacian
    noise: float  # estimated standard deviation of the noise (Immerkær 1996)
    edges: float  # mean magnitude of the Sobel gradient

    def row(self) -> dict[str, int | float]:
        """The values by name; a tenth of the time of ``dataclasses.asdict``, which copies in depth."""
        return {name: getattr(self, name) for name in STATISTICS}


STATISTICS: tuple[str, ...] = tuple(field.name for field in fields(ImageStatistics))

_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)


def describe(pixels: NDArray[np.uint8]) -> ImageStatistics:
    """Measure one decoded picture.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
    """
    height, width = pixels.shape[:2]
    square = _square(pixels)
    lab = cv2.cvtColor(square, cv2.COLOR_RGB2LAB)
    lab_mean, lab_spread = (moment.ravel() for moment in cv2.meanStdDev(lab))
    red, green, blue, _ = cv2.mean(square)
    lightness = cv2.extractChannel(lab, 0)
    histogram = cv2.calcHist([lightness], [0], None, [256], [0, 256]).ravel().cumsum()
    darkest, lightest = np.searchsorted(histogram, np.array([0.01, 0.99]) * lightness.size)
    corner = SIDE // 16
    corners = [cv2.mean(lightness[y, x])[0] for y in _ends(corner) for x in _ends(corner)]
    threshold, _ = cv2.threshold(lightness, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    _, laplacian_spread = cv2.meanStdDev(cv2.Laplacian(lightness, cv2.CV_16S))
    ripple = cv2.filter2D(lightness, cv2.CV_16S, _IMMERKAER)[1:-1, 1:-1]
    # Whole numbers up to the root, which NumPy rounds as IEEE 754 asks: the last bits of cv2.magnitude depend on the
    # address.
    across, down = cv2.Sobel(lightness, cv2.CV_32F, 1, 0), cv2.Sobel(lightness, cv2.CV_32F, 0, 1)
    gradient = np.sqrt(across * across + down * down)
    saturation = cv2.mean(cv2.cvtColor(square, cv2.COLOR_RGB2HSV))[1]
    return ImageStatistics(
        width=width,
        height=height,
        brightness=float(lab_mean[0]),
        contrast=float(lab_spread[0]),
        darkest=float(darkest),
        lightest=float(lightest),
        red=red,
        green=green,
        blue=blue,
        green_red=float(lab_mean[1]),
        blue_yellow=float(lab_mean[2]),
        stain_spread=float(np.hypot(lab_spread[1], lab_spread[2])),
        saturation=saturation,
        background=sum(corners) / len(corners),
        nucleus_share=float(histogram[int(threshold)] / lightness.size),
        sharpness=float(np.log10(1 + laplacian_spread[0, 0] ** 2)),
        noise=float(np.sqrt(np.pi / 2) / 6 * cv2.norm(ripple, cv2.NORM_L1) / ripple.size),
        edges=float(gradient.mean(dtype=np.float64)),
    )


def _square(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The centred square at the side that is measured: means of whole blocks of pixels, the rest bilinear."""
    height, width = pixels.shape[:2]
    block = max(1, min(height, width) // SIDE)
    side = min(height, width) // block * block
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    if block > 1:
        square = cv2.resize(square, (side // block, side // block), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))


def _ends(length: int) -> tuple[slice, slice]:
    return slice(0, length), slice(-length, None)
