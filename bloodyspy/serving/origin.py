"""Where a request's pictures come from, as its headers say."""

import re
from typing import Annotated

from fastapi import Header, HTTPException

from bloodyspy.observation import Origin

_SHAPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}")
_IN_WORDS = "1 to 24 letters, digits, dots, underscores and dashes, with a letter or a digit in front"
_SCHEMA = {"pattern": f"^({_SHAPE.pattern})?$"}


async def sent_origin(
    site: Annotated[
        str,
        Header(alias="X-Site", description="short name of the laboratory; never a person's", json_schema_extra=_SCHEMA),
    ] = "",
    instrument: Annotated[
        str,
        Header(
            alias="X-Instrument", description="short name of the scanner; never a person's", json_schema_extra=_SCHEMA
        ),
    ] = "",
) -> Origin:
    """Site and instrument, which go into the observation's row; empty where they are not sent.

    Asynchronous though it waits for nothing: FastAPI runs any other dependency in a thread, there and back.

    Raises:
        HTTPException: 422, one of them is not short; the sentence does not repeat it, because it may be a name.
    """
    for header, sent in (("X-Site", site), ("X-Instrument", instrument)):
        if sent and not _SHAPE.fullmatch(sent):
            raise HTTPException(
                422, f"The header {header} is not {_IN_WORDS}. Send a short name such as LAB-2 or DM96-1, or none."
            )
    return Origin(site, instrument)
