"""What a person does with models outside the graph."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bloodyspy.cli.terminal import console, context, errors
from bloodyspy.settings import load_settings

app = typer.Typer()


@app.command()
def tune(
    study: Annotated[str, typer.Argument(help="a name under `tuning`")],
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes at once; more may be started elsewhere")] = 1,
) -> None:
    """Search for a better candidate; the winner is put into params.yaml. Goes on where a killed search stopped."""
    import signal

    from bloodyspy.model.workers import run_workers
    from bloodyspy.params_edit import put_candidate

    settings, params = context()
    params.study(study)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped worker says so, and its trial is put back
    if workers > 1 and any(run_workers(workers, ["tune", study], settings.root)):
        errors.print("Not every worker came to its end; this process goes on with what they left.")

    from bloodyspy.adapters.tracking import recording_study
    from bloodyspy.model.fits import code_digest
    from bloodyspy.model.training import train as train_one
    from bloodyspy.model.tuning import tune as search

    with recording_study(study, settings, params) as recorder:
        found = search(study, settings, params, recorder, train_one, code_digest())
    table = Table(title=f"{study}: {found.words}; best first by validation loss", title_justify="left")
    for heading in ("trial", "validation loss", "trained epochs", *params.study(study).space):
        table.add_column(heading, justify="right")
    for trial in found.best[:10]:
        table.add_row(str(trial.number), f"{trial.val_loss:.3g}", str(trial.epochs), *trial.fields.values())
    console.print(table)
    winner = found.best[0]
    remark = f"trial {winner.number} of `bloodyspy tune {study}`: validation loss {winner.val_loss:.3g}"
    if put_candidate(settings.root / "params.yaml", study, found.candidate, remark):
        console.print(f"params.yaml has it as the candidate {study} now. Fit and measure it with `dvc repro`.")
    else:
        console.print(f"params.yaml has it as the candidate {study} already. `dvc repro` fits and measures it.")


@app.command()
def predict(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="pictures, and folders of pictures")],
    table: Annotated[Path, typer.Option("--csv", help="the table to write, one row a picture")],
    model: Annotated[str | None, typer.Option(help="a candidate, or a model's folder  [default: the released]")] = None,
) -> None:
    """Classify pictures into a table; exit code 3 where some could not be read: their rows say why."""
    from bloodyspy.images.files import find
    from bloodyspy.model.prediction import open_model, write

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # like an interrupt: the unfinished table is removed
    classifier = open_model(load_settings(), model)
    found = find(paths)
    done = write(classifier, found.files, table)
    rate = f"{len(found.files):,} files in {done.seconds:.1f} s, {len(found.files) / done.seconds:,.0f} a second"
    console.print(f"{table}: {rate}, by {classifier.spec.candidate} (run {classifier.spec.run_id}).", soft_wrap=True)
    console.print(", ".join(f"{count:,} {cell}" for cell, count in done.counts.items()) or "Nothing was classified.")
    if found.left_out:
        console.print(f"{found.left_out:,} files of the folders were left out: hidden, or not named like pictures.")
    if done.unreadable:
        errors.print(f"{done.unreadable:,} files could not be read: the column `error` says why.")
        raise typer.Exit(3)


@app.command()
def replay(
    champion: Annotated[int, typer.Argument(metavar="VERSION", help="of the registered model")],
    challenger: Annotated[int, typer.Argument(metavar="VERSION", help="that is held against it")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="pictures, and folders of pictures  [default: what both logged]"),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="of each version, the newest logged ones")] = 20_000,
) -> None:
    """How far two versions agree on the same pictures: those that both answered live, or those given."""
    from bloodyspy.adapters import registry
    from bloodyspy.cells import CELL_TYPES
    from bloodyspy.promotion.replay import replay_logged, replay_pictures

    settings = load_settings()
    if paths:
        first_folder, second_folder = (registry.artefact_of(number, settings) for number in (champion, challenger))
        found = replay_pictures((champion, first_folder), (challenger, second_folder), paths)
    else:
        first, second = registry.version(settings, champion), registry.version(settings, challenger)
        found = replay_logged(first, second, settings, rows)
    console.print(found.summary, soft_wrap=True)
    table = Table(title=f"Pictures, by the type of version {champion} (row) and of version {challenger} (column)")
    table.add_column("")
    for cell in CELL_TYPES:
        table.add_column(cell, justify="right")
    for cell, counts in zip(CELL_TYPES, found.table, strict=True):
        table.add_row(cell, *map(str, counts))
    console.print(table)
    if found.ambiguous:
        console.print(f"{found.ambiguous:,} pictures were left out: their request's id was used again.")
    if found.most_apart:
        console.print("Furthest apart:", *found.most_apart, sep="\n  ", soft_wrap=True)


@app.command()
def shadow(
    version: Annotated[
        int | None, typer.Argument(help="of the registered model  [default: the best candidate]")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="nobody answers in the shadow any more")] = False,
) -> None:
    """Let a version answer live requests beside the champion, unheard; what it says is compared, never sent."""
    from bloodyspy.custody.shadowing import end_shadow
    from bloodyspy.custody.shadowing import shadow as begin

    settings = load_settings()
    if not off:
        number = begin(version, settings)
        console.print(f"Version {number} answers in the shadow; its rows are in {settings.shadow_observations}.")
    elif (ended := end_shadow(settings, version)) is not None:
        console.print(f"Version {ended} answers in the shadow no more.")
    else:
        console.print("Nobody answered in the shadow.")
