"""``bloodyspy VERB``: the DVC stages, and what a person runs.

Commands import what they need inside their bodies, so that ``bloodyspy --help`` answers at once.
"""

import logging
import os
import signal
import sys
from datetime import UTC, datetime
from functools import partial
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

_SHOWN_FAULTS = 50


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
    from bloodyspy.model.artifact import NETWORK, sha256
    from bloodyspy.model.fits import fit, read_fit
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.audit import Trained

    settings, params = _context()
    with recording(candidate, settings, params) as recorder:
        fit(candidate, settings, params, recorder)
    done = read_fit(settings.fit(candidate))
    trained = Trained(
        candidate=candidate,
        run_id=done.run_id,
        network=sha256(settings.fit(candidate) / NETWORK),
        git_commit=done.git_commit,
        data_version=done.data_version,
        manifest_digest=done.manifest_digest,
    )
    trail.record_once(trained, settings)


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
    from bloodyspy.promotion import ledger

    settings, params = _context()
    log_evaluation(assemble(candidate, settings, params, partial(ledger.for_fit, settings)), settings, params)


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


@app.command()
def approve(
    version: Annotated[int, typer.Argument(help="of the registered model")],
    reason: Annotated[str, typer.Option(help="for the audit log")],
    reject: Annotated[bool, typer.Option("--reject", help="it shall not be promoted")] = False,
    by: Annotated[str | None, typer.Option(help="who says so  [default: this account and machine]")] = None,
) -> None:
    """Let a version be promoted that the gate lets through, and wake the flow run that waits for it."""
    named = ["--by", by] if by else []
    _flow("approve", str(version), "--reason", reason, *(["--reject"] if reject else []), *named)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="for the audit log")],
    to: Annotated[int | None, typer.Option(help="a version  [default: the one that answered before]")] = None,
) -> None:
    """Let an earlier version answer again; code, data and params stay as they are."""
    _flow("rollback", "--reason", reason, *(["--to", str(to)] if to is not None else []))


def _flow(*words: str) -> NoReturn:
    """Become ``python -m pipelines``: the flows stand above this package, so it does not import them."""
    os.execv(sys.executable, [sys.executable, "-m", "pipelines", *words])  # noqa: S606


@app.command()
def audit(
    last: Annotated[int | None, typer.Option(min=1, help="only so many of the newest")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the lines as they are kept")] = False,
) -> None:
    """List the audit log: what was done, when and by whom."""
    from bloodyspy.promotion import trail

    settings = load_settings()
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

    kept, commit = keep(load_settings())
    console.print(f"Entry {kept.number} ({kept.hash[:12]}) is kept in a git note on {commit[:12]}.")
    console.print(f"Out of reach of this machine it is after `git push origin {NOTES}`.")


@app.command()
def verify() -> None:
    """Check from the pictures to what is served that everything still is what was recorded; exit code 1 if not."""
    from bloodyspy.custody.verification import verify as check

    found = check(load_settings())
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

    found = walk(asked, load_settings())
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
def live(
    at: Annotated[datetime | None, typer.Option(help="UTC where it names no zone  [default: now]")] = None,
) -> None:
    """Which version answered at a time, since when, and why."""
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.history import answered

    moment = at and at.replace(tzinfo=at.tzinfo or UTC)
    found = answered(trail.entries(load_settings()), moment)
    if found is None:
        console.print("Nobody answered then: nothing was released yet.")
        raise typer.Exit(3)
    for line in found.lines():
        console.print(line, soft_wrap=True)


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
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.audit import UserChanged
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
def dossier(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="of the registered model")],
    to: Annotated[Path | None, typer.Option(help="the folder to write  [default: var/dossiers/v<VERSION>]")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="put it in the place of one that is there")] = False,
) -> None:
    """Write all that is known of a version into one folder: card, decision, trail, digests, dependencies, changes."""
    from bloodyspy.custody.dossier.writing import write

    settings = load_settings()
    folder = to or settings.state / "dossiers" / f"v{version}"
    console.print(f"Open {write(version, folder, settings, replace=replace)}", soft_wrap=True)


if __name__ == "__main__":
    main()
