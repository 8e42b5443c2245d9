"""Where the cell is in a picture, roughly: enough to say whether a heat map looks at it."""

import cv2
import numpy as np
from numpy.typing import NDArray

_GROWN = 0.10  # of the picture's side: cytoplasm around a nucleus
_MIDDLE = 0.5  # side of the central square that a cell reaches into


def cell_mask(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The stained nucleus nearest to the middle, grown by a tenth of the side to take in its cytoplasm.

    Nuclei absorb green most. Otsu's threshold on green parts stained from unstained; of the dark ones, a second
    threshold parts nuclei from red cells where both are there. A platelet is found in the same way.

    Args:
        pixels: RGB (side, side, 3), the cell in the middle.

    Returns:
        (side, side); all True where nothing dark reaches the middle: then nothing can be told.
    """
    side = pixels.shape[0]
    green = cv2.GaussianBlur(np.ascontiguousarray(pixels[..., 1]), (0, 0), side / 64)
    stained, _ = cv2.threshold(green, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark = green[green <= stained]
    deeper, _ = cv2.threshold(dark.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    for threshold in (deeper, stained):
        count, parts, _, centres = cv2.connectedComponentsWithStats((green <= threshold).astype(np.uint8))
        border = round(side * (1 - _MIDDLE) / 2)
        inner = parts[border : side - border, border : side - border]
        reaching = [part for part in range(1, count) if (inner == part).sum() > inner.size / 100]
        if reaching:
            nearest = min(reaching, key=lambda part: float(np.linalg.norm(centres[part] - side / 2)))
            reach = max(1, round(side * _GROWN))
            disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
            return np.asarray(cv2.dilate((parts == nearest).astype(np.uint8), disc) > 0)
    return np.ones(pixels.shape[:2], np.bool_)
