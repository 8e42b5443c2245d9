"""``bloodyspy VERB``: the DVC stages, and what a person runs.

Commands import what they need inside their bodies, so that ``bloodyspy --help`` answers at once. What stands above this
package (``monitoring``, ``pipelines``) adds its commands by entry points, so that nothing here imports it.
"""

import logging
from importlib.metadata import entry_points

import typer
from rich.logging import RichHandler

from bloodyspy.cli import custody, data, keeping, keys, labels, models, promotion, smear, stages, users
from bloodyspy.cli.terminal import errors, run

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keeps a blood-cell image classifier good.")
for _group in (stages, models, smear, promotion, custody, keeping):
    app.add_typer(_group.app)
app.add_typer(data.app, name="data")
app.add_typer(labels.app, name="labels")
app.add_typer(users.app, name="users")
app.add_typer(keys.app, name="keys")

COMMANDS = "bloodyspy.commands"
"""Group of entry points; each is a ``typer.Typer`` whose commands join, and imports inside their bodies like these."""


def whole() -> typer.Typer:
    """The application, with the commands of every installed package that has some."""
    for entry in entry_points(group=COMMANDS):
        app.add_typer(entry.load())
    return app


def main() -> None:
    """Entry point."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=errors, show_path=False, show_level=False, log_time_format="%H:%M:%S")],
    )
    logging.getLogger("bloodyspy").setLevel(logging.INFO)
    run(whole())
