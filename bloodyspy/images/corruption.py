"""Shifts as they happen in a laboratory, at five strengths: is drift noticed, and what does it do to a model?

The same picture, kind and severity give the same pixels on every machine (the rule of exactness is in
:mod:`bloodyspy.images.fields`). Where a picture has luck (which way a stain is off, where a bubble lies), its own
pixels decide, alike for all severities: a deposit that is there at severity 2 is there at 3. Severity 1 is what two
careful laboratories differ by, 5 is what nobody should read. Lengths are pixels of a picture whose shorter side is 360.

==============  ==========================================  ======  ======  ======  ======  ======
kind            what changes                                     1       2       3       4       5
==============  ==========================================  ======  ======  ======  ======  ======
stain           turn of the stain's hue towards blue,
                degrees                                          6      12      20      30      42
                optical density of the stain, times           1.06    1.12    1.20    1.30    1.42
stain_hue       turn of the hue to either side, degrees          5      10      17      26      36
stain_strength  optical density, times or divided by          1.15    1.32    1.55    1.85    2.30
deposit         clumps of precipitated stain                     6      14      28      48      75
blur            radius of the disc of confusion (at least
                one pixel of the picture's own)                  1     1.8     2.8       4     5.5
motion          way of the stage during exposure                 4       8      13      19      26
magnification   enlarged or reduced, times                    1.10    1.20    1.32    1.46    1.62
bubble          radius of an air bubble                         36      48      60      74      90
                its distance from the middle                   104      92      78      62      44
illumination    light left in the middle, share               0.90    0.80    0.68    0.56    0.44
                blue light left for each red (a dimmed
                lamp is warmer), share                        0.94    0.87    0.79    0.70    0.60
                light lost in the corners, share              0.10    0.20    0.32    0.45    0.60
contrast        stray light, share of all light               0.05    0.12    0.22    0.34    0.48
noise           standard deviation, grey levels                 10      20      32      48      70
jpeg            quality, colours at half resolution             40      25      15       9       5
==============  ==========================================  ======  ======  ======  ======  ======
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image

from bloodyspy.errors import ImageError
from bloodyspy.images import camera, optics, staining
from bloodyspy.images.decode import decode
from bloodyspy.images.fields import Pixels

SEVERITIES = range(1, 6)


class Shift(StrEnum):
    """What can go differently between two laboratories."""

    STAIN = "stain"
    STAIN_HUE = "stain_hue"
    STAIN_STRENGTH = "stain_strength"
    DEPOSIT = "deposit"
    BLUR = "blur"
    MOTION = "motion"
    MAGNIFICATION = "magnification"
    BUBBLE = "bubble"
    ILLUMINATION = "illumination"
    CONTRAST = "contrast"
    NOISE = "noise"
    JPEG = "jpeg"


STRESSES: tuple[Shift, ...] = tuple(kind for kind in Shift if kind is not Shift.STAIN)
"""The kinds of the stress suite, one fault each; :attr:`Shift.STAIN` is hue and strength together, for drift drills."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """A kind of shift and its five severities."""

    change: Callable[..., Pixels]
    """Takes the picture and the numbers of one severity."""
    steps: tuple[tuple[float, ...], ...]
    """Those numbers, weakest first, as in the table above."""


SHIFTS: Mapping[Shift, Ladder] = {
    Shift.STAIN: Ladder(staining.restain, ((6, 1.06), (12, 1.12), (20, 1.20), (30, 1.30), (42, 1.42))),
    Shift.STAIN_HUE: Ladder(staining.turn_hue, ((5,), (10,), (17,), (26,), (36,))),
    Shift.STAIN_STRENGTH: Ladder(staining.change_strength, ((1.15,), (1.32,), (1.55,), (1.85,), (2.30,))),
    Shift.DEPOSIT: Ladder(staining.strew_deposit, ((6,), (14,), (28,), (48,), (75,))),
    Shift.BLUR: Ladder(optics.defocus, ((1.0,), (1.8,), (2.8,), (4.0,), (5.5,))),
    Shift.MOTION: Ladder(optics.move, ((4,), (8,), (13,), (19,), (26,))),
    Shift.MAGNIFICATION: Ladder(optics.magnify, ((1.10,), (1.20,), (1.32,), (1.46,), (1.62,))),
    Shift.BUBBLE: Ladder(optics.lay_bubble, ((36, 104), (48, 92), (60, 78), (74, 62), (90, 44))),
    Shift.ILLUMINATION: Ladder(
        optics.dim,
        ((0.90, 0.94, 0.10), (0.80, 0.87, 0.20), (0.68, 0.79, 0.32), (0.56, 0.70, 0.45), (0.44, 0.60, 0.60)),
    ),
    Shift.CONTRAST: Ladder(optics.veil, ((0.05,), (0.12,), (0.22,), (0.34,), (0.48,))),
    Shift.NOISE: Ladder(camera.add_noise, ((10,), (20,), (32,), (48,), (70,))),
    Shift.JPEG: Ladder(camera.compress, ((40,), (25,), (15,), (9,), (5,))),
}


def shift(pixels: Pixels, kind: Shift, severity: int) -> Pixels:
    """Shift one picture.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        kind: what goes differently.
        severity: 1 to 5, as in the table above.

    Returns:
        A new array of the same shape.

    Raises:
        ImageError: the severity is not 1, 2, 3, 4 or 5.
    """
    if severity not in SEVERITIES:
        raise ImageError(f"There is no severity {severity} of {kind}. Give a whole number from 1 to 5.")
    ladder = SHIFTS[kind]
    return ladder.change(pixels, *ladder.steps[severity - 1])


def shift_payload(payload: bytes, kind: Shift, severity: int) -> bytes:
    """Shift the picture in a file's bytes; the result is a JPEG of quality 95, its colours at full resolution.

    Raises:
        UnreadableImage, ImageTooLarge: from decoding.
        ImageError: the severity is not 1, 2, 3, 4 or 5.
    """
    stream = io.BytesIO()
    shifted = Image.fromarray(shift(decode(payload).pixels, kind, severity))
    shifted.save(stream, format="JPEG", quality=95, subsampling="4:4:4")
    return stream.getvalue()
