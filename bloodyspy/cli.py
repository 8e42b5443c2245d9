"""``bloodyspy VERB``: the DVC stages, and what a person runs.

Commands import what they need inside their bodies, so that ``bloodyspy --help`` answers at once.
"""

import logging
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from bloodyspy.errors import BloodySpyError, full_disk
from bloodyspy.params import Params, load_params
from bloodyspy.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keeps a blood-cell image classifier good.")
data_app = typer.Typer(no_args_is_help=True, help="Images in, and what is held.")
users_app = typer.Typer(no_args_is_help=True, help="Users of the service.")
gate_app = typer.Typer(no_args_is_help=True, help="The rule of promotion.")
app.add_typer(data_app, name="data")
app.add_typer(users_app, name="users")
app.add_typer(gate_app, name="gate")

console = Console(markup=False, emoji=False)  # paths are other people's words
errors = Console(stderr=True, emoji=False)


def main() -> None:
    """Entry point: errors of ours, and a full disk, are one sentence and exit code 1, never a traceback."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=errors, show_path=False, show_level=False, log_time_format="%H:%M:%S")],
    )
    logging.getLogger("bloodyspy").setLevel(logging.INFO)
    try:
        app()
    except BloodySpyError as exc:
        _fail(str(exc))
    except Exception as exc:
        full = full_disk(exc)
        if full is None:
            raise
        place = f" for {full.filename}" if full.filename else ""
        _fail(f"No space is left{place}. Free some and run the same command again: training goes on where it was.")


def _fail(sentence: str) -> NoReturn:
    errors.print(f"[bold red]error[/]: {escape(sentence)}", highlight=False, soft_wrap=True)
    sys.exit(1)


def _context() -> tuple[Settings, Params]:
    settings = load_settings()
    return settings, load_params(settings.root / "params.yaml")


@data_app.command("import")
def data_import(
    source: Annotated[str, typer.Argument(help="a folder per class, a zip of one, its URL, `synthetic` or `pbc`")],
    checksum: Annotated[str | None, typer.Option(help="SHA-256 of the archive; required for a URL")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="start from nothing instead of adding")] = False,
) -> None:
    """Bring images into data/, all or nothing; what is not taken is listed with its reason."""
    from bloodyspy.dataset.importing import import_images

    settings, params = _context()
    report = import_images(source, settings, params, checksum=checksum, replace=replace)
    table = Table(title=report.title, title_justify="left")
    for heading in report.headings:
        table.add_column(heading, justify="left" if heading == report.headings[0] else "right")
    for row in report.rows():
        table.add_row(*row)
    console.print(table)
    if report.quarantined:
        console.print(f"{report.quarantined} files were not taken: each is in {settings.data / 'quarantine.csv'}.")
    console.print("Version it with `dvc add data`, or let `make lifecycle` do so.")


@app.command()
def validate() -> None:
    """List every image with its facts and its part, and check the list (DVC stage)."""
    from bloodyspy.adapters import expectations
    from bloodyspy.dataset.validation import validate as validate_data

    settings, params = _context()
    report = validate_data(settings, params, expectations.check)
    console.print(report.summary)


@app.command()
def prepare(input_name: Annotated[str, typer.Argument(metavar="INPUT", help="a name under `inputs`")]) -> None:
    """Decode every picture once for one network input (DVC stage)."""
    from bloodyspy.dataset.preparation import prepare as prepare_pictures

    settings, params = _context()
    console.print(f"Prepared {prepare_pictures(settings, params, input_name)}")


@app.command()
def train(candidate: Annotated[str, typer.Argument(help="a name under `candidates`")]) -> None:
    """Fit one candidate as one MLflow run; goes on where a killed fit stopped (DVC stage)."""
    from bloodyspy.adapters.tracking import recording
    from bloodyspy.model.fits import fit

    settings, params = _context()
    with recording(candidate, settings, params) as recorder:
        fit(candidate, settings, params, recorder)


@app.command()
def tune(
    study: Annotated[str, typer.Argument(help="a name under `tuning`")],
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes at once; more may be started elsewhere")] = 1,
) -> None:
    """Search for a better candidate; the winner is put into params.yaml. Goes on where a killed search stopped."""
    import signal

    from bloodyspy.model.workers import run_workers
    from bloodyspy.params_edit import put_candidate

    settings, params = _context()
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
def evaluate(candidate: Annotated[str, typer.Argument(help="a name under `candidates`")]) -> None:
    """Measure one fit on held-out pictures and assemble the model directory (DVC stage)."""
    from bloodyspy.adapters.evaluation_log import log_evaluation
    from bloodyspy.evaluation.assembly import assemble

    settings, params = _context()
    log_evaluation(assemble(candidate, settings, params), settings, params)


@app.command()
def compare() -> None:
    """Rank the candidates on the validation part (DVC stage)."""
    from bloodyspy.evaluation.comparison import compare as compare_candidates

    settings, params = _context()
    comparison = compare_candidates(settings, params)
    kind = " (synthetic: drawn cells)" if comparison.synthetic else ""
    table = Table(title=f"Candidates{kind}, best first by {params.promotion.metric} on the validation part")
    head, *body = comparison.columns()
    for number, heading in enumerate(head):
        table.add_column(heading, justify="right" if number else "left")
    for row in body:
        table.add_row(*row)
    console.print(table)


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
def decision(version: Annotated[int, typer.Argument(help="of the registered model")]) -> None:
    """What the gate decided about a version, criterion by criterion."""
    from bloodyspy.adapters import registry
    from bloodyspy.promotion.release import recorded

    found = recorded(registry.version(load_settings(), version).tags)
    if found is None:
        console.print(f"Nobody decided about version {version} here.")
        raise typer.Exit(3)
    console.print(found.summary, soft_wrap=True)
    table = Table(*found.headings)
    for row in found.table():
        table.add_row(*row)
    console.print(table)


@gate_app.command("simulate")
def gate_simulate(
    challengers: Annotated[int, typer.Option(min=10, max=100_000, help="drawn of each kind")] = 1000,
    champion: Annotated[str | None, typer.Option(help="a candidate to take for it  [default: the best]")] = None,
) -> None:
    """Which share of drawn challengers the gate lets through, at this project's test sizes."""
    from rich.progress import track

    from bloodyspy.promotion.evidence import world
    from bloodyspy.promotion.simulation import SCENARIOS, simulate

    settings, params = _context()
    drawn_from = world(champion, settings)
    table = Table(title=f"Promoted by the policy `{params.promotion.policy}`, of {challengers:,} of each kind")
    headings = ("challengers", "should be", "this gate", "one position an image", "the usual rule")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in headings[:2] else "right")
    for number, scenario in enumerate(track(SCENARIOS, "Deciding", console=errors, transient=True)):
        found = simulate(drawn_from, params.promotion, scenario, challengers, seed=number)
        table.add_row(found.scenario, found.wanted, *map(str, found.shares))
    console.print(table)
    console.print(drawn_from.words, soft_wrap=True)


@users_app.command("add")
def users_add(
    name: str,
    replace: Annotated[bool, typer.Option("--replace", help="set a new password for a user who is there")] = False,
) -> None:
    """Add a user of the service; the password is asked for, or read from standard input when that is a pipe."""
    from bloodyspy.errors import SettingsError
    from bloodyspy.serving.authentication import add_user

    settings = load_settings()
    if settings.users_file is None:
        raise SettingsError("BLOODYSPY_USERS_FILE is not set. Set it to the file that shall hold the users.")
    if sys.stdin.isatty():
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        password = sys.stdin.readline().rstrip("\n")
    add_user(settings.users_file, name, password, replace=replace)
    console.print(f"{name} may use the service; kept in {settings.users_file}.")


@data_app.command("status")
def data_status() -> None:
    """What data/ holds: version, images per class, where they came from."""
    from bloodyspy.dataset.version import data_version, read_dataset

    settings = load_settings()
    info = read_dataset(settings.data)
    kind = "synthetic (drawn, not photographed)" if info.synthetic else "photographs"
    console.print(f"data/ holds {kind}; version {data_version(settings.root)}.")
    for source in info.sources:
        console.print(f"  {source.name}: {source.taken} taken, {source.quarantined} quarantined")


if __name__ == "__main__":
    main()
