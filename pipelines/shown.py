"""Tables and links of the flows, as Prefect artifacts: the newest of each key is on the UI's artifacts page."""

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from bloodyspy.adapters.versioning import Reproduction
from bloodyspy.dataset.importing import ImportReport
from bloodyspy.dataset.version import read_dataset
from bloodyspy.evaluation.comparison import Comparison
from bloodyspy.promotion import trail
from bloodyspy.promotion.chain import chain
from bloodyspy.promotion.decision import Decision
from bloodyspy.promotion.events import Released
from bloodyspy.promotion.watch import Finding
from bloodyspy.settings import Settings
from monitoring.history import Check
from monitoring.remedies import REMEDIES


def _told(synthetic: bool) -> str:
    return "Drawn cells: synthetic, no number here says anything about real ones. " if synthetic else ""


def import_report(report: ImportReport) -> None:
    """What an import took and refused."""
    rows = [dict(zip(report.headings, row, strict=True)) for row in report.rows()]
    create_table_artifact(table=rows, key="import", description=report.title)


def data_version(version: str, s: Settings) -> None:
    """The data version and its sources."""
    info = read_dataset(s.data)
    sources = "\n".join(f"- {source.name}: {source.taken} images" for source in info.sources)
    create_markdown_artifact(f"{_told(info.synthetic)}Data version `{version}`\n\n{sources}", key="data-version")


def reproduction(done: Reproduction) -> None:
    """What ``dvc repro`` did, stage by stage."""
    what = {"ran": done.ran, "restored from the cache": done.restored, "unchanged": done.unchanged}
    rows = [{"stage": stage, "was": was} for was, stages in what.items() for stage in stages]
    create_table_artifact(table=rows, key="stages", description="dvc repro")


def comparison(found: Comparison) -> None:
    """The candidates, best first."""
    rows = [dict(zip(found.headings, row, strict=True)) for row in found.table()]
    words = f"{_told(found.synthetic)}Candidates, best first by {found.metric} on the validation part."
    create_table_artifact(table=rows, key="candidates", description=words)


def promotion(candidate: str, decision: Decision | None, champion: int | None) -> None:
    """The decision and its reasons."""
    rows = [dict(zip(Decision.headings, row, strict=True)) for row in (decision.table() if decision else ())]
    summary = decision.summary if decision else f"{candidate} was made champion by hand; nothing was decided here."
    create_table_artifact(table=rows, key="decision", description=f"{summary} Champion now: version {champion}.")


def release(done: Released) -> None:
    """Which version answers from now on, and why."""
    create_markdown_artifact(f"**Version {done.version}** answers: {done.words}", key="release")


def drift(check: Check) -> None:
    """The verdict of a drift check, what to do, and where its page lies."""
    verdict = check.verdict
    rows = [
        {
            "column": column.name,
            "reference": str(column.reference),
            "window": str(column.current),
            "distance": f"{column.statistic:.4f}",
            "threshold": f"{column.threshold:.4f}",
            "drifted": "YES" if column.drifted else "no",
        }
        for column in verdict.columns
    ]
    create_markdown_artifact(_in_words(check), key="drift")
    words = f"{_told(verdict.synthetic)}**{verdict.overall}**: {verdict.reason}"
    create_table_artifact(table=rows, key="drift-verdict", description=words)
    create_link_artifact(
        link=check.page.resolve().as_uri(), link_text=f"{verdict.overall}: {check.folder.name}", key="drift-report"
    )


def _in_words(check: Check) -> str:
    verdict = check.verdict
    cause = f", probably {verdict.cause}" if verdict.cause else ""
    accuracy = f"withheld, {verdict.accuracy_withheld}"
    if found := verdict.accuracy:
        accuracy = f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%}, 95 %)"
    lines = [
        f"{_told(verdict.synthetic)}**{verdict.overall}{cause}**: {verdict.reason}",
        f"Right answers, estimated without labels: {accuracy}.",
    ]
    if verdict.cause:
        steps = "\n".join(f"{place}. {step}" for place, step in enumerate(REMEDIES[verdict.cause].steps, start=1))
        lines += [f"What to do:\n\n{steps}"]
    return "\n\n".join([*lines, f"[The page]({check.page.resolve().as_uri()}), with pictures where they are kept"])


PAGES = {
    "reason": "drift-verdict",
    "data version": "data-version",
    "training": "candidates",
    "decision": "decision",
    "release": "release",
    "watch": "watch",
}
"""The artifact that tells more of a link of the chain."""


def watch(finding: Finding) -> None:
    """What the last look at the new champion found."""
    create_markdown_artifact(f"**{finding.standing}**: {finding.words}", key="watch")


def loop(s: Settings) -> None:
    """The newest loop from its reason to the watch, one row a link; the page of the loop in the UI."""
    rows = ["| link | when | what | more |", "|---|---|---|---|"]
    for link in chain(trail.entries(s)):
        key = PAGES.get(link.name)
        if link.name == "reason" and "(drift)" not in link.words:
            key = None
        more = f"[{key}](/artifacts/key/{key})" if key and link.when else ""
        when = f"{link.when:%Y-%m-%d %H:%M} UTC" if link.when else ""
        words = " ".join(link.words.replace("|", "/").split())  # one line, or the table ends in its middle
        rows.append(f"| {link.name} | {when} | {words} | {more} |")
    create_markdown_artifact("\n".join(rows), key="loop", description="The newest loop")
