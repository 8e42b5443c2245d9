"""Images that the service has kept, and what its observations say of a specimen."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from bloodyspy.cli.terminal import console
from bloodyspy.settings import load_settings

app = typer.Typer()


@app.command()
def erase(specimen: Annotated[str, typer.Argument(help="its id, such as S-2024-00017")]) -> None:
    """Remove every kept image and every report of a specimen, and its id from the index and from the observations.

    The audit log says that it was done.
    """
    from bloodyspy.kept import store_of
    from bloodyspy.labelling.acceptance import unreached
    from bloodyspy.promotion import trail
    from bloodyspy.promotion.events import Erased
    from bloodyspy.serving.smear_jobs import Jobs
    from bloodyspy.specimen import check
    from bloodyspy.store import streams

    settings = load_settings()
    identity = check(specimen)
    trail.entries(settings)  # of a damaged log nobody hears afterwards what was erased
    beyond = unreached(identity, settings)  # afterwards nothing leads there
    removed = store_of(settings).erase(identity)
    observed = [stream.erase(identity) for stream in (streams.live(settings), streams.shadow(settings))]
    smears = Jobs(settings.smears).erase(identity)
    rows, lines = sum(one.rows for one in observed), sum(one.lines for one in observed)
    trail.record(
        Erased(
            specimen=identity,
            images=removed.images,
            rows=removed.rows,
            observations=rows,
            lines=lines,
            smears=smears,
            in_data=beyond.files,
        ),
        settings,
    )
    if not removed.rows:
        console.print(f"Nothing was kept of {identity}.")
    else:
        console.print(
            f"{identity}: {removed.images} image(s) were removed, and its id from {removed.rows} row(s) of the index."
        )
    if rows or lines:
        console.print(f"It was blanked in {rows} observation(s) of the store and in {lines} line(s) of the logs.")
    if smears:
        console.print(f"{smears} report(s) of its smears were removed.")
    if beyond.files:
        console.print(f"{len(beyond.files)} picture(s) of it are in data/ by their labels, and are still there:")
        for file in beyond.files:
            console.print(f"  data/{file}", soft_wrap=True)
        console.print(
            f"They are in the data versions {', '.join(beyond.versions)}: docs/runbook.md says how to remove them."
        )


@app.command()
def expire(
    days: Annotated[int | None, typer.Option(min=1, help="older than that  [default: BLOODYSPY_KEEP_DAYS]")] = None,
) -> None:
    """Remove kept images that are past their retention; a running service does so every hour."""
    from bloodyspy.kept import store_of

    settings = load_settings()
    limit = days if days is not None else settings.keep_days
    removed = store_of(settings).expire(datetime.now(UTC) - timedelta(days=limit))
    console.print(f"{removed.images} image(s) and {removed.rows} row(s) older than {limit} days were removed.")
