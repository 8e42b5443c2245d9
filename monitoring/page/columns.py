"""How a column is called and what it is measured in."""

from collections.abc import Mapping
from typing import NamedTuple


class Title(NamedTuple):
    """Of a column."""

    words: str
    unit: str


_GREY = "grey value, 0 to 255"

TITLES: Mapping[str, Title] = {
    "width": Title("Width", "pixels"),
    "height": Title("Height", "pixels"),
    "brightness": Title("Brightness", "mean lightness, 0 to 255"),
    "contrast": Title("Contrast", "deviation of the lightness, 0 to 255"),
    "darkest": Title("Darkest parts", "lightness, 0 to 255"),
    "lightest": Title("Lightest parts", "lightness, 0 to 255"),
    "red": Title("Red", _GREY),
    "green": Title("Green", _GREY),
    "blue": Title("Blue", _GREY),
    "green_red": Title("Green to red", "CIE a*, 128 is neutral"),
    "blue_yellow": Title("Blue to yellow", "CIE b*, 128 is neutral"),
    "stain_spread": Title("Strength of the stain", "deviation of a* and b*"),
    "saturation": Title("Saturation", "HSV, 0 to 255"),
    "background": Title("Background", "lightness of the corners, 0 to 255"),
    "nucleus_share": Title("Dark share", "share of the picture, 0 to 1"),
    "sharpness": Title("Sharpness", "log10 of the Laplacian's variance"),
    "noise": Title("Noise", "grey values"),
    "edges": Title("Edges", "mean gradient, grey values a pixel"),
    "confidence": Title("Confidence", "probability of the answer, 0 to 1"),
    "novelty": Title("Novelty", "0 inside the training cells, 1 outside"),
    "foreignness": Title("Foreignness", "deviations from the training pictures"),
    "predicted": Title("Answered types", "share of the pictures"),
    "embedding": Title("What the network sees", "distance of its features, all together"),
}


def title(name: str) -> Title:
    """Of any column; one that nobody named is called as it is."""
    return TITLES.get(name, Title(name, ""))
