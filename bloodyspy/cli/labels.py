"""Labels of live answers: what is worth a look, what it tells, and the way out and back for Label Studio."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bloodyspy.cli.terminal import console, context

app = typer.Typer(no_args_is_help=True, help="What people say of answered pictures.")

Since = Annotated[datetime | None, typer.Option(help="answers from then on, in UTC")]


@app.command()
def queue(last: Annotated[int, typer.Option("--show", min=0, help="lines to show")] = 20) -> None:
    """Make the queue of pictures that are worth a look, and show its beginning; the first call begins the audit."""
    from bloodyspy.labelling.choosing import lay_out

    settings, params = context()
    laid = lay_out(settings, params)
    items = laid.queue.items
    table = Table(title=f"{len(items):,} pictures are worth a look", title_justify="left")
    for heading in ("request", "picture", "why"):
        table.add_column(heading)
    for item in items[:last]:
        table.add_row(item.request_id, str(item.picture), ", ".join(item.why))
    if items and last:
        console.print(table)
    else:
        console.print(f"{len(items):,} pictures are worth a look.")
    console.print(f"People agree on {laid.settled:,} more.")
    if laid.hidden:
        console.print(
            f"{laid.hidden:,} others would be, but their images are not kept: set BLOODYSPY_KEEP_IMAGES=review or all."
        )
    for key in laid.unresolved:
        console.print(f"Unresolved, talk about it: picture {key.picture} of request {key.request_id}")


@app.command()
def accuracy(
    version: Annotated[int | None, typer.Option(help="of the registered model  [default: all that answered]")] = None,
    since: Since = None,
) -> None:
    """How often the live answers are right, by the random audit alone."""
    from datetime import UTC

    from bloodyspy.labelling.accuracy import by_version

    settings, params = context()
    found = by_version(settings, params, since.replace(tzinfo=UTC) if since else None)
    chosen = [one for number, one in sorted(found.items()) if version in (None, number)]
    if not chosen:
        console.print("There are no such answers.")
    for one in chosen:
        console.print(
            f"Version {one.model_version}: {one.accuracy or 'nothing settled yet'}. "
            f"{one.right:,} right of {one.settled:,} settled; {one.audited:,} of {one.answered:,} answers were drawn."
        )
        if missing := one.audited - one.settled:
            console.print(
                f"  {missing:,} drawn ones are not settled: {one.waiting:,} wait, {one.unresolved:,} unresolved, "
                f"{one.lost:,} without an image. If all of them were wrong {one.worst:.1%}, if all were right "
                f"{one.best:.1%}."
            )
        if one.ambiguous:
            console.print(f"  {one.ambiguous:,} pictures of any version are left out: a request's id was used again.")


@app.command()
def suspects(limit: Annotated[int, typer.Option(min=1, help="lines to show")] = 50) -> None:
    """Images of data/ whose label the rest of data/ contradicts; the sealed part is not looked at."""
    from bloodyspy.labelling.suspects import suspects as find

    settings, params = context()
    found = find(settings, params)
    table = Table(title=f"{len(found):,} labels are doubtful", title_justify="left")
    for heading in ("image", "label", "more likely", "probability of the label", "part"):
        table.add_column(heading)
    for one in found[:limit]:
        table.add_row(one.path, one.label.spelled_out, one.likely.spelled_out, f"{one.quality:.3f}", str(one.part))
    console.print(table)


@app.command("export")
def export_tasks(
    file: Annotated[Path, typer.Argument(help="for Label Studio, JSON", dir_okay=False)],
    images: Annotated[Path | None, typer.Option(help="a folder for the pictures  [default: inside the file]")] = None,
    blind: Annotated[bool, typer.Option("--blind", help="without the model's answers")] = False,
) -> None:
    """Write the queue as tasks for Label Studio, and print the labelling interface for its project."""
    from bloodyspy.labelling.label_studio import config, export

    settings, _ = context()
    tasks = export(settings, file, images, blind=blind)
    console.print(f"{tasks:,} tasks are in {file}. The labelling interface of the project:", soft_wrap=True)
    console.print(config(), highlight=False, soft_wrap=True)


@app.command("import")
def import_tasks(
    file: Annotated[Path, typer.Argument(help="Label Studio's JSON export", dir_okay=False)],
    reviewer: Annotated[
        list[str] | None, typer.Option(help="who somebody of Label Studio is here: 3=anna or ann@example.org=anna")
    ] = None,
) -> None:
    """Take labels from Label Studio's export; the same file again changes nothing."""
    from bloodyspy.errors import LabellingError
    from bloodyspy.labelling.label_studio import import_labels

    settings, _ = context()
    people: dict[str, str] = {}
    for pair in reviewer or ():
        there, separator, here = pair.partition("=")
        if not (separator and there and here):
            raise LabellingError(f"--reviewer {pair} is no pair. Say for instance --reviewer 3=anna.")
        people |= {there: here, f"label-studio:{there}": here}
    done = import_labels(settings, file, people)
    console.print(f"{done.new:,} labels are new, {done.known:,} were known, {done.skipped:,} annotations say nothing.")


@app.command()
def waiting() -> None:
    """How many images people agree on and data/ does not have yet."""
    from bloodyspy.labelling.acceptance import waiting as count

    settings, params = context()
    console.print(f"{count(settings, params):,} images wait. `python -m pipelines take-labels` takes them into data/.")
