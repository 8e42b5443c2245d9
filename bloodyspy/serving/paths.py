"""Paths that BentoML would answer itself, in a word of plain text, before the application is asked."""

from starlette.types import ASGIApp, Receive, Scope, Send


class OneLinePaths:
    """Writes a line break in a path as it was sent, ``%0A``: no mount of Starlette's matches a path of two lines."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            scope["path"] = scope["path"].replace("\n", "%0A")
        await self._app(scope, receive, send)
