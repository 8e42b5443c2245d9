"""Users of the service."""

import sys
from typing import Annotated

import typer

from bloodyspy.cli.terminal import console
from bloodyspy.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Users of the service.")


@app.command("add")
def users_add(
    name: str,
    replace: Annotated[bool, typer.Option("--replace", help="set a new password for a user who is there")] = False,
) -> None:
    """Add a user of the service; the password is asked for, or read from standard input when that is a pipe."""
    from bloodyspy.errors import SettingsError
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.events import UserChanged
    from bloodyspy.serving.authentication import add_user

    settings = load_settings()
    if settings.users_file is None:
        raise SettingsError("BLOODYSPY_USERS_FILE is not set. Set it to the file that shall hold the users.")
    if sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        password = sys.stdin.readline().rstrip("\n")
    trail.entries(settings)  # of a damaged log nobody hears afterwards who was added
    new = add_user(settings.users_file, name, password, replace=replace)
    trail.record(UserChanged(name=name, change="added" if new else "new password"), settings)
    console.print(f"{name} may use the service; kept in {settings.users_file}.")
