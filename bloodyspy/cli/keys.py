"""Keys of users, for programs that use the service."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from bloodyspy.cli.terminal import console
from bloodyspy.cli.users import users_file
from bloodyspy.serving.roles import Role
from bloodyspy.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Keys of users, for programs that use the service.")


@app.command("add")
def keys_add(
    name: Annotated[str, typer.Argument(help="what it is for")],
    user: Annotated[str, typer.Option(help="whose it is")],
    role: Annotated[Role, typer.Option(help="what it may do, at most")] = Role.CLASSIFY,
    days: Annotated[int, typer.Option(help="until it expires")] = 90,
) -> None:
    """Make a key and print it, this once; it is sent as `Authorization: Bearer KEY`."""
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.events import KeyChanged
    from bloodyspy.serving.accounts import add_key, revoke_key

    settings = load_settings()
    path = users_file(settings)
    trail.entries(settings)  # of a damaged log nobody hears afterwards who was given one
    identity, key, token = add_key(path, name, user, role, days)
    facts = {"id": identity, "name": name, "user": user, "role": role, "expires": key.expires}
    try:
        trail.record(KeyChanged.model_validate({**facts, "change": "added"}), settings)
    except BaseException:
        revoke_key(path, identity)  # nobody has seen it
        raise
    typer.echo(f"{name} is good until {key.expires:%Y-%m-%d %H:%M} UTC. This is shown once:", err=True)
    typer.echo(token)


@app.command("list")
def keys_list() -> None:
    """List the keys: whose, what for, and until when; of the keys themselves nothing is kept that could be shown."""
    from bloodyspy.serving.accounts import read_users

    table = Table("key", "id", "user", "role", "made (UTC)", "expires (UTC)", "")
    for identity, key in read_users(users_file(load_settings())).keys.items():
        expired = "expired" if key.expires <= datetime.now(UTC) else ""
        made, until = (f"{time:%Y-%m-%d %H:%M}" for time in (key.created, key.expires))
        table.add_row(key.name, identity, key.user, key.role, made, until, expired)
    console.print(table)


@app.command("revoke")
def keys_revoke(key: Annotated[str, typer.Argument(metavar="NAME|ID")]) -> None:
    """Revoke a key: the service refuses it from now on."""
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.events import KeyChanged
    from bloodyspy.serving.accounts import revoke_key

    settings = load_settings()
    trail.entries(settings)
    identity, gone = revoke_key(users_file(settings), key)
    facts = {"id": identity, "name": gone.name, "user": gone.user, "role": gone.role, "expires": gone.expires}
    trail.record(KeyChanged.model_validate({**facts, "change": "revoked"}), settings)
    console.print(f"{gone.name} ({identity}) is good for nothing any more.")
