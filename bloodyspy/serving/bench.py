"""The page of the bench at ``/``: four files of our own, nothing from elsewhere; all it shows it asks of ``/v1``."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, HTTPException, Response

_FILES = Path(str(files(__package__))) / "page"
_KINDS = {
    "bench.html": "text/html",
    "bench.css": "text/css",
    "bench.js": "text/javascript",
    "review.js": "text/javascript",
}

# Pictures and reports are shown from the browser's memory (blob:), heat maps from the answer (data:). A report that is
# opened from memory is under this policy, and has its style inside.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> Response:
    """The page. It also hides BentoML's page at this place, which loads a tag manager."""
    return _file("bench.html")


@router.get("/page/{name}")
async def part(name: str) -> Response:
    """Its style and its script."""
    return _file(name)


def _file(name: str) -> Response:
    if name not in _KINDS:
        raise HTTPException(404, "The page has no such part.")
    return Response((_FILES / name).read_bytes(), headers=_HEADERS, media_type=f"{_KINDS[name]}; charset=utf-8")
