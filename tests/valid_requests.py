"""What an OpenAPI document cannot say of a valid request, for schemathesis: pictures, pseudonyms, and who asks.

Loaded by schemathesis itself, in a process of its own.
"""

from ipaddress import ip_network

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
QUEUED = "in-the-queue-1"
"""Request of the picture that is in the queue."""
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


def positive(case: schemathesis.Case) -> bool:
    """Whether the document allows it."""
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.hook
def filter_case(ctx: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Only so many pictures are explained at a time, and `cells` has to tell of as many as there are files: no schema
    ties a query to a body, or two fields to one another."""
    if isinstance(case.body, dict) and "cells" in case.body:
        return False
    files = case.body.get("files") if isinstance(case.body, dict) else None
    return not (isinstance(files, list) and len(files) > EXPLAINED and (case.query or {}).get("explain"))


@schemathesis.hook
def before_call(ctx: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, object]) -> None:
    """Each request comes from an address of its own, by way of a proxy: wrong credentials are to be refused as such,
    and where all came from one address it would soon be told to wait instead. Who may ask for a smear asks for one
    that there is; the others ask for any."""
    case.headers["X-Forwarded-For"] = str(next(ADDRESSES))
    if case.operation.path == "/v1/differential" and isinstance(case.body, dict) and positive(case):
        case.body["auto"] = {**case.body.get("auto", {}), CellType.NEUTROPHIL: 3}  # without white cells there is none
    if SMEARS and "job_id" in case.path_parameters and positive(case):
        case.path_parameters["job_id"] = SMEARS[-1]
    if case.operation.path.startswith("/v1/queue/") and positive(case):
        case.path_parameters |= {"request_id": QUEUED, "picture": 0}


@schemathesis.hook
def after_call(ctx: schemathesis.HookContext, case: schemathesis.Case, response: schemathesis.Response) -> None:
    """Remember the smears that were taken in."""
    if response.status_code == 202:
        SMEARS.append(response.json()["id"])
