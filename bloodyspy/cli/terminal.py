"""What every command writes to, how it ends, and the project that it is about."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from bloodyspy.errors import BloodySpyError, full_disk
from bloodyspy.params import Params, load_params
from bloodyspy.settings import Settings, load_settings

_SHOWN = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class _Terminal(Console):
    """Paths and reasons are other people's words: none of them moves the cursor or clears what was said before."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As Rich does, with control characters in letters."""
        return super().render_str(text.translate(_SHOWN), **options)


console = _Terminal(markup=False, emoji=False)
errors = _Terminal(stderr=True, emoji=False)


def run(application: Callable[[], object]) -> None:
    """Run a command: errors of ours, and a full disk, are one sentence and exit code 1, never a traceback."""
    try:
        application()
    except BloodySpyError as exc:
        _fail(str(exc))
    except Exception as exc:
        full = full_disk(exc)
        if full is None:
            raise
        place = f" for {full.filename}" if full.filename else ""
        _fail(f"No space is left{place}. Free some and run the same command again: it goes on where it was.")


def _fail(sentence: str) -> NoReturn:
    errors.print(f"[bold red]error[/]: {escape(sentence)}", highlight=False, soft_wrap=True)
    sys.exit(1)


def context() -> tuple[Settings, Params]:
    """Places and decisions of the project that the command is run in."""
    settings = load_settings()
    return settings, load_params(settings.root / "params.yaml")
