"""What every command writes to, and the project that it is about."""

from rich.console import Console

from bloodyspy.params import Params, load_params
from bloodyspy.settings import Settings, load_settings

console = Console(markup=False, emoji=False)  # paths are other people's words
errors = Console(stderr=True, emoji=False)


def context() -> tuple[Settings, Params]:
    """Places and decisions of the project that the command is run in."""
    settings = load_settings()
    return settings, load_params(settings.root / "params.yaml")
