"""What an OpenAPI document cannot say of a valid request, for schemathesis: pictures, pseudonyms, and who asks.

Loaded by schemathesis itself, in a process of its own.
"""

import json
from ipaddress import ip_network
from typing import Any

import schemathesis
from hypothesis import strategies as st
from pictures import tinted
from schemathesis.core.deserialization import DeserializationContext

from bloodyspy.cells import CellType
from bloodyspy.errors import SpecimenRefused
from bloodyspy.serving.routes import EXPLAINED
from bloodyspy.specimen import SCHEMA, check

PICTURES = [tinted(seed, image_format) for seed in range(4) for image_format in ("JPEG", "PNG", "BMP", "TIFF")]

ADDRESSES = ip_network("198.18.0.0/15").hosts()
"""Which are set aside for tests."""
SMEARS: list[str] = []
"""Ids, the newest last."""


def is_pseudonym(text: str) -> bool:
    try:
        check(text)
    except SpecimenRefused:
        return False
    return True


# Bytes that are no picture are what tests/mutated.py is for; here they would all end in the same refusal.
schemathesis.openapi.format("binary", st.sampled_from(PICTURES))
PSEUDONYMS = st.from_regex(r"S-20[0-9]{2}-[0-9]{3,5}", fullmatch=True).filter(is_pseudonym)
schemathesis.openapi.format(SCHEMA["format"], PSEUDONYMS)


@schemathesis.deserializer("text/html", "text/csv")
def text(ctx: DeserializationContext, response: schemathesis.Response) -> str:
    return response.content.decode("utf-8")


@schemathesis.hook
def filter_case(ctx: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Only so many pictures are explained at a time, but no schema ties a query to a body."""
    files = case.body.get("files") if isinstance(case.body, dict) else None
    return not (isinstance(files, list) and len(files) > EXPLAINED and (case.query or {}).get("explain"))


@schemathesis.hook
def before_call(ctx: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, object]) -> None:
    """Each request comes from an address of its own, by way of a proxy: wrong credentials are to be refused as such,
    and where all came from one address it would soon be told to wait instead. Who may ask for a smear asks for one
    that there is; the others ask for any."""
    case.headers["X-Forwarded-For"] = str(next(ADDRESSES))
    if case.meta and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        case.body = fitted(case.operation.path, case.body)
    if SMEARS and "job_id" in case.path_parameters and case.meta and case.meta.generation.mode.is_positive:
        case.path_parameters["job_id"] = SMEARS[-1]


def fitted(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What no schema ties together: as many cells as files, and a white cell at least in a differential."""
    if "cells" in body:
        answered = [{"request_id": "request-17", "picture": place} for place in range(len(body["files"]))]
        return {**body, "cells": json.dumps(answered)}
    if path == "/v1/differential":
        return {**body, "auto": {**body.get("auto", {}), CellType.NEUTROPHIL: 3}}
    return body


@schemathesis.hook
def after_call(ctx: schemathesis.HookContext, case: schemathesis.Case, response: schemathesis.Response) -> None:
    """Remember the smears that were taken in."""
    if response.status_code == 202:
        SMEARS.append(response.json()["id"])
