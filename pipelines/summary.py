"""What a flow did, as tables for a terminal."""

from rich.table import Column, Table

from bloodyspy.evaluation.comparison import Comparison
from bloodyspy.promotion.decision import Decision
from pipelines.lifecycle import LifecycleSummary, Watched
from pipelines.promote import Promotion


def comparison(found: Comparison) -> Table:
    """The candidates, best first."""
    kind = " (synthetic: drawn cells)" if found.synthetic else ""
    table = Table(title=f"Candidates{kind}, best first by {found.metric} on the validation part", title_justify="left")
    head, *body = found.columns()
    for number, heading in enumerate(head):
        table.add_column(heading, justify="right" if number else "left")
    for row in body:
        table.add_row(*row)
    return table


def promotion(done: Promotion) -> Table:
    """The decision, criterion by criterion."""
    table = Table("criterion", "", title=_decided(done.decision, done.was_champion), title_justify="left")
    for criterion in done.decision.criteria if done.decision else ():
        table.add_row(("met" if criterion.passed else "NOT MET"), criterion.sentence)
    if done.approval is not None:
        table.add_row("approved" if done.approval.approved else "REJECTED", done.approval.words)
    return table


def lifecycle(done: LifecycleSummary) -> Table:
    """The closing table of the whole loop."""
    title = "What happened" + (" (synthetic: every number here comes from drawn cells)" if done.synthetic else "")
    result = Column("result", overflow="fold")  # a path that is cut short opens nothing
    table = Table("step", result, title=title, title_justify="left", show_lines=True)
    table.add_row("data version", f"{done.data_version}, from {', '.join(done.sources)}")
    for row in done.comparison.rows:
        table.add_row(
            f"candidate {row.candidate}",
            f"sealed test part: accuracy {row.test_accuracy}, macro F1 {row.test_macro_f1}\n"
            f"validation part: accuracy {row.validation_accuracy}, macro F1 {row.validation_macro_f1}",
        )
    reasons = [criterion.sentence for criterion in done.decision.criteria] if done.decision else []
    table.add_row("decision", "\n".join([_decided(done.decision, done.was_champion), *reasons]))
    table.add_row("champion", f"version {done.champion}, served as {done.bento}")
    asked = done.answered
    table.add_row(
        "answer to one image",
        f"{asked.path}: {asked.answer.predicted}, {asked.answer.probability} % (is {asked.actual.spelled_out})",
    )
    table.add_row("drift, normal batch", _watched(done.normal))
    table.add_row("drift, stain-shifted batch", _watched(done.shifted))
    return table


def commands(done: LifecycleSummary) -> str:
    """How to open what was made; lines that can be pasted, so never wrapped in a table."""
    return "\n".join(f"# {command.what}\n{command.line}" for command in done.commands)


def _decided(decision: Decision | None, was_champion: bool) -> str:
    if decision is None:
        return "The champion was named by hand; nothing was decided here."
    return f"{'Decided before: ' if was_champion else ''}{decision.outcome}. {decision.summary}"


def _watched(batch: Watched) -> str:
    verdict = batch.verdict
    return (
        f"{verdict.overall}: {verdict.reason}\n"
        f"{batch.pictures} pictures through the service, {batch.accuracy:.1%} of them right\n{batch.page}"
    )
