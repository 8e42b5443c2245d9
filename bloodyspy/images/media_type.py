"""What kind of picture a file is, by its first bytes alone: for its name, and for whoever shows it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file."""

    media_type: str
    suffix: str


_KINDS = {
    b"\xff\xd8": Kind("image/jpeg", ".jpg"),
    b"\x89PNG": Kind("image/png", ".png"),
    b"BM": Kind("image/bmp", ".bmp"),
    b"II*\0": Kind("image/tiff", ".tif"),
    b"MM\0*": Kind("image/tiff", ".tif"),
}


def kind_of(payload: bytes) -> Kind:
    """The kind of a picture that decodes; ``application/octet-stream`` for what is none."""
    found = (kind for magic, kind in _KINDS.items() if payload.startswith(magic))
    return next(found, Kind("application/octet-stream", ""))
