"""Reads the files of a multipart request: in memory, within limits, and only once the caller is known."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

MAX_BODY = 32 * 1024 * 1024
"""Bytes of one request. A cut-out of one cell has 20 to 500 kB."""

MAX_FILES = 256
"""Pictures of one request."""

MAX_SECONDS = 30
"""From the credentials to the end of the body; BentoML would cut a request off at 60, without a sentence."""

MAX_FIELD = 64 * 1024
"""Bytes of a form field that is not a file."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One file as it was sent."""

    filename: str
    payload: bytes


class _InMemory(MultiPartParser):
    # Starlette moves a file of more than 1 MB to the disk; the whole request is already limited to less than hurts.
    spool_max_size = MAX_BODY + 1


async def receive_uploads(
    request: Request, *fields: str, arrived: Callable[[int], None] | None = None, seconds: float = MAX_SECONDS
) -> list[Upload]:
    """The files that the request carries under these field names, in their order; at least one.

    Args:
        request: its body is read here.
        fields: names.
        arrived: is told the bytes of each piece of the body; what it raises ends the reading.

    Raises:
        HTTPException: 400 the body is no well-formed form, 408 it takes more than ``seconds``, 413 it is too large or
            has too many files, 415 it is no form at all, 422 it has no file under such a name. The limits hold while
            the body streams in.
    """
    wanted = " or ".join(f"`{field}`" for field in fields)
    content_type = request.headers.get("content-type", "")
    if content_type.split(";")[0].strip().lower() != "multipart/form-data":
        raise HTTPException(
            415,
            f"Send the picture as multipart/form-data in the field {wanted}"
            f"{f', not as {content_type}' if content_type else ''}.",
        )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY:
        raise _too_large()
    parser = _InMemory(
        request.headers,
        _limited(request.stream(), arrived),
        max_files=MAX_FILES,
        max_fields=MAX_FILES,
        max_part_size=MAX_FIELD,
    )
    try:
        async with asyncio.timeout(seconds):
            form = await parser.parse()
    except TimeoutError as exc:
        raise HTTPException(
            408,
            f"The pictures did not arrive within {seconds:g} s. Send fewer in a request, or over a faster line.",
            headers={"Connection": "close"},  # the rest of the body would be waited for otherwise
        ) from exc
    except MultiPartException as exc:
        status = 413 if exc.message.startswith("Too many") else 400
        raise HTTPException(status, f"The form cannot be read: {exc.message}") from exc
    except (ValueError, LookupError) as exc:  # odd charsets and header parameters
        raise HTTPException(400, f"The form cannot be read: {exc}.") from exc
    uploads = []
    for field, value in form.multi_items():
        if isinstance(value, UploadFile) and field in fields:
            uploads.append(Upload(value.filename or "unnamed", value.file.read()))
    await form.close()
    if not uploads:
        raise HTTPException(
            422, f"There is no file in the field {wanted}. Attach at least one picture under that name."
        )
    return uploads


async def _limited(
    stream: AsyncGenerator[bytes, None], arrived: Callable[[int], None] | None
) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in stream:
        received += len(chunk)
        if received > MAX_BODY:
            raise _too_large()
        if arrived is not None:
            arrived(len(chunk))
        yield chunk


def _too_large() -> HTTPException:
    return HTTPException(
        413,
        f"A request may carry {MAX_BODY // 1024 // 1024} MB in at most {MAX_FILES} files. "
        "Send the pictures in several requests.",
    )
