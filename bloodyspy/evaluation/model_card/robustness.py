"""The chapters of a card that tell where scores stop holding, how much was chance, and what an answer costs."""

from itertools import groupby

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.model_card.document import Block, Cell, Fact, Heading, Paragraph, Section, Table, Text, words
from bloodyspy.evaluation.model_card.facts import Facts, word
from bloodyspy.evaluation.model_card.results import confused, estimated
from bloodyspy.evaluation.scores import Scores, SeedNumbers
from bloodyspy.model.artifact import INFERENCE, METRICS, SPEC, TRAINING

STRESS, EXTERNAL, COST = f"{METRICS}#/stress", f"{METRICS}#/external", f"{METRICS}#/cost"
_DARKEST = 0.6  # balanced error; guessing has an error of seven in eight

_SEED_NAMES = {
    "validation_accuracy": "accuracy, validation part",
    "test_accuracy": "accuracy, sealed test part",
    "test_balanced_accuracy": "balanced accuracy, sealed test part",
    "test_ig_sensitivity": "sensitivity for ig, sealed test part",
    "test_ece": "calibration error, sealed test part",
}


def stress(facts: Facts, found: Scores) -> Section:
    """Balanced error under each corruption."""
    cells = list(enumerate(found.stress.cells))
    rows: list[tuple[Cell, ...]] = []
    heads: dict[int, Fact] = {}
    for kind, group in groupby(cells, key=lambda pair: pair[1].kind):
        row = [Cell(words(str(kind).replace("_", " ")))]
        for i, cell in group:
            source = f"{STRESS}/cells/{i}"
            heads.setdefault(cell.severity, facts.count(f"{source}/severity"))
            error = f"{source}/balanced_error"
            shade = min(1.0, cell.balanced_error.value / _DARKEST)
            row.append(Cell((facts.percent(f"{error}/value"),), words("{low} to {high}", **facts.ends(error)), shade))
        rows.append(tuple(row))
    text = words(
        "{n} pictures of the sealed test part, at most {most} of each type, were spoilt at full size in each of these "
        "ways, at rising severity. The balanced error is one less the mean sensitivity. On the same pictures unspoilt "
        "it is {clean}; its mean over the table is **{mean}**.",
        n=facts.count(f"{STRESS}/images"),
        most=facts.count(f"{STRESS}/per_class"),
        clean=facts.estimate(f"{STRESS}/clean"),
        mean=facts.estimate(f"{STRESS}/mean_balanced_error"),
    )
    heading = (words("corruption"), *((heads[severity],) for severity in sorted(heads)))
    return Section("Stress", (Paragraph(text), Table(heading, tuple(rows), "matrix", words("severity"))))


def external(facts: Facts, found: Scores) -> Section:
    """Other laboratories' pictures."""
    blocks: list[Block] = []
    for i, other in enumerate(found.external):
        source = f"{EXTERNAL}/{i}"
        blocks.append(Heading((facts.string(f"{source}/name"),)))
        text = words(
            "{n} pictures; left out: {unreadable} files that cannot be read, {held} pictures that the data set holds "
            "too, and {duplicates} copies: of a picture that was taken, or of one that stands under several types. "
            "Digest `{digest}`.",
            n=facts.count(f"{source}/images"),
            unreadable=facts.count(f"{source}/unreadable"),
            held=facts.count(f"{source}/in_data_set"),
            duplicates=facts.count(f"{source}/duplicates"),
            digest=facts.string(f"{source}/digest"),
        )
        names = (("accuracy", words("accuracy")), ("balanced_accuracy", words("balanced accuracy, types that occur")))
        scores = [
            (Cell(name), estimated(facts, f"{source}/metrics/{score}"))
            for score, name in (*names, ("macro_f1", (word("macro_f1"),)))
        ]
        scores.append((Cell(words("calibration error")), Cell((facts.percent(f"{source}/metrics/ece"),))))
        types = []
        for cell in CELL_TYPES:
            if cell in other.metrics.sensitivity:
                place = f"{source}/metrics/confusion/{cell.position}"
                taken = confused(facts, place, other.metrics.confusion[cell.position], cell.position)
                sensitivity = estimated(facts, f"{source}/metrics/sensitivity/{cell}")
                n = facts.count(f"{source}/metrics/support/{cell}")
                types.append((Cell(words(cell)), Cell((n,)), sensitivity, Cell(taken)))
        headings = ("cell type", "images", "sensitivity", "most often taken for")
        by_type = Table(tuple(map(words, headings)), tuple(types), "notes")
        blocks += [Paragraph(text), Table((words("score"), words("all its pictures")), tuple(scores)), by_type]
    if not blocks:
        blocks.append(Paragraph(words("It was measured on no other laboratory's pictures. Expect less there.")))
    return Section("Other laboratories", tuple(blocks))


def seeds(facts: Facts, found: Scores) -> Section:
    """The chance of training."""
    if found.seeds is None:
        told = words(
            "This candidate was trained once, so how much of its scores is the chance of training is not known."
        )
        return Section("Seeds", (Paragraph(told),))
    source = f"{METRICS}#/seeds"
    runs = facts.keys(f"{source}/runs")
    rows = tuple(
        (
            Cell(words(_SEED_NAMES[name])),
            Cell((facts.percent(f"{source}/mean/{name}", 2),)),
            Cell((facts.percent(f"{source}/standard_deviation/{name}", 2),)),
            *(Cell((facts.percent(f"{run}/{name}", 2),)) for run in runs),
        )
        for name in SeedNumbers.model_fields
        if facts.has(f"{source}/mean/{name}")
    )
    headings = (
        (),
        words("mean"),
        words("standard deviation"),
        *(words("seed {n}", n=facts.count(f"{run}/seed")) for run in runs),
    )
    text = words(
        "The same candidate was trained with several seeds, each a run of its own. All are scored in Keras, "
        "{precision}, whatever serves; the kept one is seed {kept}, of the lowest loss on the validation part.",
        precision=word("full_precision"),
        kept=facts.count(f"{TRAINING}#/fit/seed"),
    )
    return Section("Seeds", (Paragraph(text), Table(headings, rows)))


def cost(facts: Facts) -> Section:
    """Size and speed."""
    rows: list[tuple[Text, Text]] = [
        (
            words("served by"),
            words("{a}, {b}", a=facts.string(f"{SPEC}#/runtime"), b=facts.string(f"{SPEC}#/precision")),
        ),
        (words("a picture, from its bytes to the answer"), (facts.decimal(f"{COST}/milliseconds_picture", 2, "ms"),)),
        (words("the graph alone, one picture"), (facts.decimal(f"{COST}/milliseconds_1", 2, "ms"),)),
        (words("the graph alone, each of a batch"), (facts.decimal(f"{COST}/milliseconds_32", 2, "ms"),)),
        (words("the graph on disk"), (facts.decimal(f"{COST}/megabytes_graph", 1, "MB"),)),
        (words("the whole artefact on disk"), (facts.decimal(f"{COST}/megabytes_artefact", 1, "MB"),)),
        (
            words("resident memory of a process that holds the graph alone"),
            (facts.decimal(f"{COST}/memory_mb", 0, "MB"),),
        ),
        (words("machine"), (facts.string(f"{INFERENCE}#/machine"),)),
        (words("threads of one inference"), (facts.count(f"{INFERENCE}#/threads"),)),
    ]
    table = Table((words("what"), words("how much")), tuple((Cell(a), Cell(b)) for a, b in rows), "words")
    variants = tuple(_variant(facts, place) for place in facts.keys(f"{INFERENCE}#/variants"))
    headings = tuple(
        words(name)
        for name in (
            *("graph", "on disk", "one picture", "each of a batch"),
            *("balanced accuracy", "calibration error", "let through", "why"),
        )
    )
    text = words(
        "Every graph answered the {n} images of the validation part beside the network that was trained. At full "
        "precision each class must be the same; at a reduced one balanced accuracy and calibration error must hold.",
        n=facts.count(f"{INFERENCE}#/images_compared"),
    )
    return Section(
        "Cost", (table, Heading(words("Graphs compared")), Paragraph(text), Table(headings, variants, "notes"))
    )


def _variant(facts: Facts, source: str) -> tuple[Cell, ...]:
    name = Cell((facts.string(f"{source}/runtime"),), (facts.string(f"{source}/precision"),))
    texts: tuple[Text, ...] = (
        (facts.decimal(f"{source}/megabytes", 1, "MB"),),
        (facts.decimal(f"{source}/milliseconds_1", 2, "ms"),),
        (facts.decimal(f"{source}/milliseconds_32", 2, "ms"),),
        (facts.percent(f"{source}/balanced_accuracy", 2),),
        (facts.percent(f"{source}/ece", 2),),
        (facts.string(f"{source}/accepted"),),
        (facts.string(f"{source}/reason"),),
    )
    return (name, *map(Cell, texts))
