"""The OpenAPI document: FastAPI's own, but with refusals as this service gives them."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from bloodyspy.serving.answers import Fault

_FAULT = {"application/json": {"schema": {"$ref": f"#/components/schemas/{Fault.__name__}"}}}


def put_right(application: FastAPI) -> None:
    """Say that whatever is refused is refused in JSON, with a sentence.

    FastAPI describes refusals in the type that the end-point answers otherwise, a page or a table, and announces a
    shape of its own for parameters that do not fit.
    """
    application.openapi = _with_faults(application.openapi)  # type: ignore[method-assign]


def _with_faults(described: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    def document() -> dict[str, Any]:
        made = described()  # FastAPI makes it once and keeps it
        for operations in made["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    if status.startswith(("4", "5")):
                        response["content"] = _FAULT
        for unused in ("HTTPValidationError", "ValidationError"):
            made["components"]["schemas"].pop(unused, None)
        return made

    return document
