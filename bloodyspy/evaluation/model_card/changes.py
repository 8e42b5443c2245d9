"""The chapter of a card that tells what changed since the version that was released before."""

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.model_card.document import Cell, Paragraph, Section, Table, Text, words
from bloodyspy.evaluation.model_card.facts import Facts, word
from bloodyspy.evaluation.model_card.previous import PREVIOUS
from bloodyspy.evaluation.model_card.results import TEST
from bloodyspy.evaluation.model_card.robustness import COST, STRESS
from bloodyspy.model.artifact import METRICS, SPEC


def changes(facts: Facts) -> Section:
    """This model beside the one that was released when it was evaluated."""
    title = "Since the version before"
    if not facts.has(f"{PREVIOUS}#"):
        none = words("No other version that this one could be compared with was released when this card was written.")
        return Section(title, (Paragraph(none),))
    same = facts.value(f"{PREVIOUS}#/test_digest") == facts.value(f"{METRICS}#/test_digest")
    rows = [
        _row(words("candidate"), *((facts.string(f"{file}#/candidate"),) for file in (SPEC, PREVIOUS))),
        _row(words("network"), *((facts.string(f"{file}#/network"),) for file in (SPEC, PREVIOUS))),
        _row(words("weights"), *((facts.count(f"{file}#/parameters"),) for file in (SPEC, PREVIOUS))),
    ]
    compared: list[tuple[Text, str, str]] = [
        (words("accuracy"), f"{TEST}/accuracy", "accuracy"),
        (words("balanced accuracy"), f"{TEST}/balanced_accuracy", "balanced_accuracy"),
        ((word("macro_f1"),), f"{TEST}/macro_f1", "macro_f1"),
        *(
            (words("sensitivity, {c}", c=words(cell)), f"{TEST}/sensitivity/{cell}", f"sensitivity/{cell}")
            for cell in CELL_TYPES
        ),
        (words("mean balanced error under stress"), f"{STRESS}/mean_balanced_error", "stress_mean_balanced_error"),
    ]
    for name, mine, theirs in compared:
        before = f"{PREVIOUS}#/{theirs}"
        if facts.has(mine) and facts.has(before):
            change = (facts.points(f"{mine}/value", f"{before}/value"),) if same else ()
            rows.append(_row(name, facts.estimate(mine), facts.estimate(before), change))
    errors = f"{TEST}/ece", f"{PREVIOUS}#/ece"
    change = (facts.points(*errors),) if same else ()
    rows.append(_row(words("calibration error"), *((facts.percent(place, 2),) for place in errors), change))
    for name, key, digits, unit in (
        ("the graph on disk", "megabytes_graph", 1, "MB"),
        ("a picture takes", "milliseconds_picture", 2, "ms"),
    ):
        both = (facts.decimal(f"{file}/{key}", digits, unit) for file in (COST, f"{PREVIOUS}#"))
        rows.append(_row(words(name), *((fact,) for fact in both)))
    sealed = (
        "Both were scored on the same sealed images."
        if same
        else ("**They were scored on different images**, because the data changed: these scores do not rank them.")
    )
    alike = facts.value(f"{PREVIOUS}#/data_version") == facts.value(f"{SPEC}#/data_version")
    trained = (
        "Both were trained on the same data version." if alike else "They were trained on different data versions."
    )
    text = words(
        "The version before is {n}, run `{run}`. {sealed} {trained}",
        n=facts.count(f"{PREVIOUS}#/version"),
        run=facts.string(f"{PREVIOUS}#/run_id"),
        sealed=words(sealed),
        trained=words(trained),
    )
    headings = (
        (),
        words("this model"),
        words("version {n}", n=facts.count(f"{PREVIOUS}#/version")),
        words("difference"),
    )
    return Section(title, (Paragraph(text), Table(headings, tuple(rows))))


def _row(name: Text, this: Text, before: Text, change: Text = ()) -> tuple[Cell, ...]:
    return Cell(name), Cell(this), Cell(before), Cell(change or words("-"))
