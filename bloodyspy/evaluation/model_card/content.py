"""The chapters of a card that tell what a model is: its use, data, limits, making, and the version before it."""

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.model_card.document import (
    Block,
    Cell,
    Items,
    Listing,
    Paragraph,
    Section,
    Table,
    Text,
    Tiles,
    words,
)
from bloodyspy.evaluation.model_card.facts import Facts
from bloodyspy.evaluation.model_card.results import TEST
from bloodyspy.evaluation.model_card.robustness import COST, EXTERNAL, STRESS
from bloodyspy.evaluation.origin import PARTS
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import DATA, METRICS, SPEC, TRAINING, ModelSpec
from bloodyspy.model.provenance import DIRTY, UNKNOWN

_PURPOSE = {
    "train": "the network's weights",
    "validation": "early stopping, choice between candidates and graphs",
    "calibration": "the temperature, the limits of the answer policy, the reference of the drift check",
    "test": "sealed: scores only",
    "withheld": "near-duplicates of an image in another part: used for nothing",
}

SYNTHETIC = (
    "**Trained and measured on drawn cells.** Every number here comes from synthetic pictures and says nothing about "
    "real blood. Use it to try the platform, for nothing else."
)


def lead(facts: Facts, spec: ModelSpec, found: Scores) -> tuple[Block, ...]:
    """What to see first."""
    test = found.test
    lowest = min(test.sensitivity, key=lambda cell: test.sensitivity[cell].value)

    def tile(name: Text, source: str) -> tuple[Text, Text, Text]:
        return name, (facts.percent(f"{source}/value"),), words("{low} to {high}", **facts.ends(source))

    tiles = (
        tile(words("accuracy"), f"{TEST}/accuracy"),
        tile(words("balanced accuracy"), f"{TEST}/balanced_accuracy"),
        tile(words("lowest sensitivity: {cell}", cell=words(lowest)), f"{TEST}/sensitivity/{lowest}"),
        tile(words("mean balanced error under stress"), f"{STRESS}/mean_balanced_error"),
        (
            words("calibration error"),
            (facts.percent(f"{TEST}/ece", 2),),
            words("{before} untempered", before=facts.percent(f"{METRICS}#/calibration/test_before/ece", 2)),
        ),
        (
            words("a picture takes"),
            (facts.decimal(f"{COST}/milliseconds_picture", 1, "ms"),),
            words("{size} graph", size=facts.decimal(f"{COST}/megabytes_graph", 1, "MB")),
        ),
    )
    text = words(
        "Names the type of one blood cell. Network {network}, {parameters} weights, input of {size} by {size} pixels"
        "{margin}. Scores are of {n} images of the sealed test part. **Research use only: not a medical device.**",
        network=facts.string(f"{SPEC}#/network"),
        parameters=facts.count(f"{SPEC}#/parameters"),
        size=facts.count(f"{SPEC}#/input/size"),
        margin=words(", the centre of a picture resized to {x}", x=facts.count(f"{SPEC}#/input/resize"))
        if spec.input.resize
        else words(""),
        n=facts.count(f"{TEST}/n"),
    )
    warning = (Paragraph(words(SYNTHETIC), "warning"),) if spec.synthetic else ()
    return (*warning, Paragraph(text), Tiles(tiles))


def use() -> Section:
    """For and not for."""
    types = ", ".join(cell.spelled_out for cell in CELL_TYPES)
    return Section(
        "Use",
        (
            Paragraph(
                words(
                    "**For** naming the type of the one cell in the middle of a picture, cut from a peripheral blood "
                    "smear with May-Grünwald-Giemsa stain, as one of eight: {types}. For research, and for building "
                    "and testing laboratory software.",
                    types=words(types),
                )
            ),
            Paragraph(
                words(
                    "**Not for** diagnosis: it is no medical device, and no decision about a person may rest on it. "
                    "It knows eight types only: blasts, atypical lymphocytes, smudge cells and artefacts get one of "
                    "these names too where the policy does not hold them back (see Answers). It was not made for other "
                    "stains, whole fields of view or bone marrow."
                )
            ),
        ),
    )


def data(facts: Facts, spec: ModelSpec) -> Section:
    """What it was trained and measured on."""
    sources = tuple(
        words("{name}: {n} images", name=facts.string(f"{place}/name"), n=facts.count(f"{place}/taken"))
        for place in facts.keys(f"{DATA}#/sources")
    )
    kind = words("synthetic (drawn, not photographed)" if spec.synthetic else "photographs")
    identity: tuple[tuple[Text, Text], ...] = (
        (words("kind"), kind),
        (words("data version"), words("`{x}`", x=facts.string(f"{DATA}#/data_version"))),
        (words("manifest"), words("`{x}`", x=facts.string(f"{DATA}#/manifest_digest"))),
        (words("sealed test part"), words("`{x}`", x=facts.string(f"{METRICS}#/test_digest"))),
    )
    parts = tuple(
        (
            Cell(words(part)),
            Cell((facts.total(f"{DATA}#/sizes/{part}/{cell}" for cell in CELL_TYPES),)),
            Cell(words(_PURPOSE[part])),
        )
        for part in PARTS
    )
    classes = tuple(
        (Cell(words(cell)), *(Cell((facts.count(f"{DATA}#/sizes/{part}/{cell}"),)) for part in PARTS))
        for cell in CELL_TYPES
    )
    split = words(
        "The parts are drawn by the hash of an image's content: exact duplicates never straddle them, near-duplicates "
        "of a held-out image are withheld from training, and an image keeps its part when others are added. **Donors "
        "are not identified in the data**, so pictures of one donor can stand on both sides of the split: every score "
        "here is an upper bound of what to expect on new donors. **This artefact holds pictures**: a few small ones of "
        "each type from the calibration part (`typical.parquet`), for the page of a drift check."
    )
    listed: tuple[Block, ...] = (Items(sources),) if sources else ()
    return Section(
        "Data",
        (
            Table((words("what"), words("which")), tuple((Cell(a), Cell(b)) for a, b in identity), "words"),
            *listed,
            Paragraph(split),
            Table((words("part"), words("images"), words("used for")), parts, "notes"),
            Table((words("cell type"), *map(words, PARTS)), classes),
        ),
    )


def limits(facts: Facts, found: Scores) -> Section:
    """What to keep in mind."""
    test = found.test
    lowest = min(test.sensitivity, key=lambda cell: test.sensitivity[cell].value)
    fewest = min(test.sensitivity, key=lambda cell: test.support[cell])
    absent = ", ".join(cell for cell in CELL_TYPES if cell not in test.sensitivity)
    unknown = "The sealed test part has no image of {types}: how the model does there is not known."
    worst = max(range(len(found.stress.cells)), key=lambda i: found.stress.cells[i].balanced_error.value)
    elsewhere = [
        words(
            "On the pictures of {name} its balanced accuracy is {there}, here {here}: measure it on your own slides "
            "before you rely on it.",
            name=facts.string(f"{EXTERNAL}/{i}/name"),
            there=facts.estimate(f"{EXTERNAL}/{i}/metrics/balanced_accuracy"),
            here=facts.estimate(f"{TEST}/balanced_accuracy"),
        )
        for i in range(len(found.external))
    ] or [
        words(
            "It was not measured on another laboratory's slides, stain, microscope or camera; expect less there, and "
            "watch the drift check."
        )
    ]
    chance = (
        words(
            "The intervals cover the choice of test images, not the chance of training; over the seeds the accuracy "
            "has a standard deviation of {sd}.",
            sd=facts.percent(f"{METRICS}#/seeds/standard_deviation/test_accuracy", 2),
        )
        if found.seeds
        else words("The intervals cover the choice of test images, not the chance of training: one seed was trained.")
    )
    return Section(
        "Limits",
        (
            Items(
                (
                    words(
                        "Donors are not identified, so all scores are an upper bound."
                        if not found.external
                        else "Donors are not identified, so all scores but those from elsewhere are upper bounds."
                    ),
                    *elsewhere,
                    words(
                        "It is weakest on {cell}: {sensitivity}. The fewest test images are of {fewest} ({n}), so the "
                        "number of that type is the least certain.",
                        cell=words(lowest),
                        sensitivity=facts.estimate(f"{TEST}/sensitivity/{lowest}"),
                        fewest=words(fewest),
                        n=facts.count(f"{TEST}/support/{fewest}"),
                    ),
                    *([words(unknown, types=words(absent))] if absent else []),
                    words(
                        "Of the corruptions, {kind} at severity {severity} hurts most: {error} balanced error.",
                        kind=words(str(found.stress.cells[worst].kind).replace("_", " ")),
                        severity=facts.count(f"{STRESS}/cells/{worst}/severity"),
                        error=facts.estimate(f"{STRESS}/cells/{worst}/balanced_error"),
                    ),
                    chance,
                )
            ),
        ),
    )


def origin(facts: Facts, spec: ModelSpec) -> Section:
    """How it was made, and how to make it again."""
    fit = f"{TRAINING}#/kept"
    text = words(
        "{epochs} epochs in {time}; the weights of epoch {kept} were kept. MLflow run `{run}`.",
        epochs=facts.count(f"{fit}/epochs"),
        time=facts.minutes(f"{fit}/seconds"),
        kept=facts.count(f"{fit}/kept_epoch"),
        run=facts.string(f"{SPEC}#/run_id"),
    )
    candidate = f"{TRAINING}#/candidate"
    settings = tuple(
        (
            Cell(words(place.removeprefix(f"{candidate}/").replace("_", " ").replace("/", ": "))),
            Cell(facts.setting(place)),
        )
        for place in facts.leaves(candidate)
    )
    blocks: list[Block] = [Paragraph(text), Table((words("setting"), words("value")), settings, "words")]
    lines: list[Text] = [words("dvc pull data.dvc")]
    if spec.git_commit == UNKNOWN:
        blocks.append(Paragraph(words("The code's commit is unknown: it was no git checkout."), "warning"))
    else:
        lines.insert(0, words("git checkout {x}", x=facts.string(f"{SPEC}#/git_commit", without=DIRTY)))
    if spec.git_commit.endswith(DIRTY):
        told = "**Files differed from that commit**, so these commands may give another model."
        blocks.append(Paragraph(words(told), "warning"))
    lines.append(words("dvc repro evaluate@{x}", x=facts.string(f"{SPEC}#/candidate")))
    return Section("Making", (*blocks, Listing(tuple(lines))))
