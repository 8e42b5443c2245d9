"""Users of the service."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bloodyspy.cli.terminal import console
from bloodyspy.serving.roles import Role
from bloodyspy.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Users of the service.")


@app.command("add")
def users_add(
    name: str,
    role: Annotated[Role | None, typer.Option(help="what they may do  [default: classify]")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="set a new password for a user who is there")] = False,
) -> None:
    """Add a user of the service; the password is asked for, or read from standard input when that is a pipe."""
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.events import UserChanged
    from bloodyspy.serving.accounts import add_user, read_users

    settings = load_settings()
    path = users_file(settings)
    if sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        password = sys.stdin.readline().rstrip("\n")
    trail.entries(settings)  # of a damaged log nobody hears afterwards who was added
    new = add_user(path, name, password, role, replace=replace)
    given = read_users(path).users[name].role
    trail.record(UserChanged(name=name, change="added" if new else "new password", role=given), settings)
    console.print(f"{name} may use the service ({given}); kept in {path}.")


@app.command("list")
def users_list() -> None:
    """List the users and their roles."""
    from bloodyspy.serving.accounts import read_users

    file = read_users(users_file(load_settings()))
    table = Table("user", "role", "keys")
    for name, user in sorted(file.users.items()):
        table.add_row(name, user.role, str(sum(key.user == name for key in file.keys.values())))
    console.print(table)


@app.command("role")
def users_role(name: str, role: Role) -> None:
    """Give a user another role; their keys never give more than that."""
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.events import UserChanged
    from bloodyspy.serving.accounts import set_role

    settings = load_settings()
    trail.entries(settings)
    set_role(users_file(settings), name, role)
    trail.record(UserChanged(name=name, change="new role", role=role), settings)
    console.print(f"{name} has the role {role} now.")


@app.command("remove")
def users_remove(name: str) -> None:
    """Remove a user and their keys; the service lets them in no more from now on."""
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.events import UserChanged
    from bloodyspy.serving.accounts import remove_user

    settings = load_settings()
    trail.entries(settings)
    keys = remove_user(users_file(settings), name)
    trail.record(UserChanged(name=name, change="removed"), settings)
    console.print(f"{name} may use the service no more" + (f", nor may {len(keys)} key(s)." if keys else "."))


def users_file(settings: Settings) -> Path:
    """Where the users are kept."""
    from bloodyspy.errors import SettingsError

    if settings.users_file is None:
        raise SettingsError("BLOODYSPY_USERS_FILE is not set. Set it to the file that shall hold the users.")
    return settings.users_file
