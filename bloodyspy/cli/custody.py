"""What an auditor asks."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bloodyspy.cli.terminal import console, context

app = typer.Typer()
_SHOWN_FAULTS = 50


@app.command()
def live(
    at: Annotated[datetime | None, typer.Option(help="UTC where it names no zone  [default: now]")] = None,
) -> None:
    """Which version answered at a time, since when, and why."""
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.history import answered

    moment = at and at.replace(tzinfo=at.tzinfo or UTC)
    found = answered(trail.entries(context()[0]), moment)
    if found is None:
        console.print("Nobody answered then: nothing was released yet.")
        raise typer.Exit(3)
    for line in found.lines():
        console.print(line, soft_wrap=True)


@app.command()
def audit(
    last: Annotated[int | None, typer.Option(min=1, help="only so many of the newest")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the lines as they are kept")] = False,
) -> None:
    """List the audit log: what was done, when and by whom."""
    from bloodyspy.promotion import trail

    settings, _ = context()
    entries = trail.entries(settings)
    shown = entries if last is None else entries[-last:]
    if as_json:
        for entry in shown:
            typer.echo(entry.line)  # the console would wrap it
        return
    table = Table("", "time (UTC)", "by", "what", "", title=f"{len(entries)} entries of {trail.place(settings)}")
    for entry in shown:
        event = entry.event
        table.add_row(str(entry.number), f"{entry.time:%Y-%m-%d %H:%M:%S}", entry.by, event.kind, event.words)
    console.print(table)


@app.command()
def anchor() -> None:
    """Keep the audit log's head as a git note, so that cutting off its end shows; push the note to another machine."""
    from bloodyspy.adapters.commits import NOTES
    from bloodyspy.custody.anchor import anchor as keep

    kept, commit = keep(context()[0])
    console.print(f"Entry {kept.number} ({kept.hash[:12]}) is kept in a git note on {commit[:12]}.")
    console.print(f"Out of reach of this machine it is after `git push origin {NOTES}`.")


@app.command()
def verify() -> None:
    """Check from the pictures to what is served that everything still is what was recorded; exit code 1 if not."""
    from bloodyspy.custody.verification import verify as check

    found = check(context()[0])
    table = Table("joint", "held against each other", "")
    for checked in found:
        verdict = "holds" if not checked.faults else f"{len(checked.faults)} FAULTS"
        table.add_row(checked.joint, checked.held, verdict)
    console.print(table)
    faults = [fault for checked in found for fault in checked.faults]
    for fault in faults[:_SHOWN_FAULTS]:
        console.print(f"- {fault}", soft_wrap=True)
    if len(faults) > _SHOWN_FAULTS:
        console.print(f"... and {len(faults) - _SHOWN_FAULTS} more.")
    if faults:
        raise typer.Exit(1)


@app.command()
def trace(
    asked: Annotated[str, typer.Argument(metavar="REQUEST_ID|VERSION|IMAGE", help="an image by its path or SHA-256")],
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
    picture: Annotated[Path | None, typer.Option(help="draw it, too: a .png, .svg or .pdf")] = None,
) -> None:
    """Walk from a prediction to its version, decision, run, dvc.lock, manifest and files."""
    from bloodyspy.custody.tracing import trace as walk

    found = walk(asked, context()[0])
    if picture is not None:
        from bloodyspy.custody.picture import save

        save(found, picture)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    for step in found.steps:
        console.print(f"{step.joint:>13}  {step.name}", soft_wrap=True)
        for key, value in step.facts.items():
            console.print(f"{'':15}{key}: {value}", soft_wrap=True)
        if step.fault:
            console.print(f"{'':15}! {step.fault}", soft_wrap=True)


@app.command()
def dossier(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="of the registered model")],
    to: Annotated[Path | None, typer.Option(help="the folder to write  [default: var/dossiers/v<VERSION>]")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="put it in the place of one that is there")] = False,
) -> None:
    """Write all that is known of a version into one folder: card, decision, trail, digests, dependencies, changes."""
    from bloodyspy.custody.dossier.writing import write

    settings, _ = context()
    folder = to or settings.state / "dossiers" / f"v{version}"
    console.print(f"Open {write(version, folder, settings, replace=replace)}", soft_wrap=True)
