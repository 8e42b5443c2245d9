"""``python -m monitoring``: the drift checks so far; with a word behind it, the store of observations."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Column, Table

from bloodyspy.cli.terminal import console, run
from bloodyspy.observation import Origin
from bloodyspy.params import load_params
from bloodyspy.settings import load_settings
from monitoring.history import history

app = typer.Typer(add_completion=False, help="The drift checks so far, oldest first, and the store of observations.")


@app.callback(invoke_without_command=True)
def checks(context: typer.Context) -> None:
    """Print the history of drift checks, and what of it could not be read."""
    if context.invoked_subcommand:
        return
    kept = history(load_settings().drift_history)
    page = Column("report", overflow="fold")  # a path that is cut short opens nothing
    table = Table("window's end", "verdict", "cause", "rows", "model version", "reason", page, title="Drift checks")
    for check in kept.checks:
        verdict = check.verdict
        when = f"{verdict.end:%Y-%m-%d %H:%M}" if verdict.end else "no observation"
        version = "" if verdict.model_version is None else str(verdict.model_version)
        table.add_row(
            when, verdict.overall, verdict.cause or "", str(verdict.rows), version, verdict.reason, str(check.page)
        )
    console.print(table)
    for unreadable in kept.unreadable:
        console.print(f"Could not be read: {unreadable}")


@app.command()
def judge(
    rows: Annotated[int | None, typer.Option(min=10, help="the newest so many  [default: monitoring.window]")] = None,
    since: Annotated[datetime | None, typer.Option(help="UTC where it names no zone")] = None,
    until: Annotated[datetime | None, typer.Option(help="likewise; the moment itself is left out")] = None,
    site: Annotated[str, typer.Option(help="of one site alone")] = "",
    instrument: Annotated[str, typer.Option(help="of one instrument alone")] = "",
    specimen: Annotated[str, typer.Option(help="of one smear alone: its pseudonym")] = "",
) -> None:
    """Judge any window of the released model's observations, at once: nothing is drawn, kept or told to anybody."""
    from monitoring.check import judge_now

    settings = load_settings()
    params = load_params(settings.root / "params.yaml")
    moments = [one and one.replace(tzinfo=one.tzinfo or UTC) for one in (since, until)]
    given = rows or (params.monitoring.window if since is None else None)
    verdict = judge_now(
        settings, params, Origin(site, instrument, specimen), rows=given, since=moments[0], until=moments[1]
    )
    drawn = " (synthetic: the model was trained on drawn cells)" if verdict.synthetic else ""
    _say(f"{verdict.overall}{f', {verdict.cause}' if verdict.cause else ''}{drawn}: {verdict.reason}")
    _say(f"Right answers, estimated without labels: {verdict.accuracy or verdict.accuracy_withheld}")


@app.command()
def collect() -> None:
    """Gather what the workers' logs have gained into the store, each row exactly once."""
    from monitoring import upkeep

    for name, done in upkeep.collect(load_settings()).items():
        _say(
            f"{name}: {done.rows:,} observation(s) collected; {done.corrupt:,} line(s) that are none set aside, "
            f"{done.torn:,} unfinished line(s) left for the next time"
        )


@app.command()
def compact() -> None:
    """Put one file in the place of each day's several."""
    from monitoring import upkeep

    for name, done in upkeep.compact(load_settings()).items():
        _say(f"{name}: {done.parts:,} part(s) of {done.days:,} day(s) became one each")


@app.command()
def expire() -> None:
    """Remove observations past `monitoring.retention_days`, and logs past `log_days` that are wholly in the store.

    Pages of drift checks lose the pictures that the service keeps no longer.
    """
    from monitoring import upkeep

    settings = load_settings()
    rule = load_params(settings.root / "params.yaml").monitoring
    for name, done in upkeep.expire(settings, rule).items():
        _say(f"{name}: {done.rows:,} observation(s) and {done.logs:,} log(s) removed")
        if done.waiting:
            _say(f"{name}: {done.waiting:,} log(s) as old stay, because not all of them is in the store: collect first")
    _say(f"{upkeep.withdraw(settings):,} picture(s) taken out of the pages of drift checks")


def _say(words: str) -> None:
    console.print(words, soft_wrap=True, highlight=False)


def main() -> None:
    """Entry point."""
    run(app)


if __name__ == "__main__":
    main()
