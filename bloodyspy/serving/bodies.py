"""Reads a small JSON body: within limits, and only once the caller is known."""

import asyncio
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

MAX_JSON = 64 * 1024
"""Bytes."""

_SECONDS = 10

Body = TypeVar("Body", bound=BaseModel)


async def receive_json(request: Request, model: type[Body]) -> Body:
    """The body of a request. FastAPI would read it whole, whatever its size, before it asks who sends it.

    Raises:
        HTTPException: 400 it ends too early, 408 it takes too long, 413 it is too large, 415 it is announced as
            something else, 422 it is not what is wanted; the sentence says what is.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send the body as application/json.")
    content = bytearray()
    try:
        async with asyncio.timeout(_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_JSON:
                    raise HTTPException(413, f"The body may have {MAX_JSON // 1024} kB.")
    except TimeoutError as exc:
        raise HTTPException(408, f"The body did not arrive within {_SECONDS} s.", {"Connection": "close"}) from exc
    except ClientDisconnect as exc:
        raise HTTPException(400, "The connection ended before the body did.") from exc
    try:
        return model.model_validate_json(bytes(content))
    except ValidationError as exc:
        raise HTTPException(422, faults(exc)) from exc


def faults(exc: ValidationError) -> str:
    """What is wrong, in one sentence, without a value that was sent: it may be a name."""
    told = (f"{'.'.join(map(str, fault['loc'])) or 'the body'}: {fault['msg']}" for fault in exc.errors()[:5])
    return f"This is not what is wanted: {'; '.join(told)}."


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's words for it. What the model refers to has to be part of some answer, too."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
