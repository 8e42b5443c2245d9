"""``index.html`` of a dossier, in the form of the model card: each value names its place in ``dossier.json``."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bloodyspy.custody.dossier.changes import changes
from bloodyspy.custody.dossier.content import DOSSIER, FACTS, SCORES, Dossier
from bloodyspy.evaluation.model_card.content import SYNTHETIC
from bloodyspy.evaluation.model_card.document import (
    Block,
    Card,
    Cell,
    Fact,
    Files,
    Heading,
    Items,
    Paragraph,
    Picture,
    Section,
    Table,
    Text,
    Tiles,
    words,
)
from bloodyspy.evaluation.model_card.facts import Facts, word
from bloodyspy.evaluation.model_card.page import page
from bloodyspy.model.artifact import CARD, CARD_HTML, DIGESTS
from bloodyspy.promotion.decision import Criterion, Decision

INDEX, DECIDED = "index.html", "decision.json"
TRAIL, SBOM, WAY = "trail.jsonl", "sbom.cdx.json", "way.svg"

FILES = {
    INDEX: "this page",
    CARD_HTML: "the model card, as it lies in the artefact",
    CARD: "the same as Markdown",
    DECIDED: "what the gate decided",
    TRAIL: "the entries of the audit log about this version, each line as it is kept",
    SBOM: "what it is served with, in CycloneDX",
    WAY: "what it rests on, drawn",
    DOSSIER: "all of this for programs",
    DIGESTS: "the digest of each file here",
}
"""Every file that a dossier can have, and what it is."""

_SECONDS = len("2026-11-23T12:00:00")
_SHORT = 12  # characters of a digest


def index(folder: Path, dossier: Dossier) -> str:
    """The page of a folder that holds everything else but the digests."""
    facts = Facts(folder)
    card = Card(
        title=words(
            "{model}, version {n}", model=facts.string(f"{FACTS}/registered_model"), n=facts.count(f"{FACTS}/version")
        ),
        lead=_lead(folder, facts, dossier),
        sections=(
            _decision(facts, dossier),
            _trail(facts, dossier),
            changes(facts, dossier),
            _origin(facts, dossier),
            _way(folder, facts, dossier),
            _dependencies(facts, dossier),
        ),
        kind="Dossier",
    )
    return page(card)


def _lead(folder: Path, facts: Facts, dossier: Dossier) -> tuple[Block, ...]:
    def tile(name: Text, source: str) -> tuple[Text, Text, Text]:
        return name, (facts.percent(f"{source}/value"),), words("{low} to {high}", **facts.ends(source))

    test = f"{SCORES}/test"
    tiles = (
        tile(words("accuracy"), f"{test}/accuracy"),
        tile(words("balanced accuracy"), f"{test}/balanced_accuracy"),
        tile((word("macro_f1"),), f"{test}/macro_f1"),
        tile(words("mean balanced error under stress"), f"{SCORES}/stress/mean_balanced_error"),
    )
    identity = words(
        "Candidate {candidate}, artefact `{artefact}`, registered {registered} UTC. In service: {service}. The scores "
        "are of the sealed test part.",
        candidate=facts.string(f"{FACTS}/spec/candidate"),
        artefact=facts.string(f"{FACTS}/artefact_digest"),
        registered=_head(facts, f"{FACTS}/registered", _SECONDS),
        service=facts.string(f"{FACTS}/service"),
    )
    made = words("Made {time} UTC, {log}.", time=_head(facts, f"{FACTS}/made", _SECONDS), log=_log(facts, dossier))
    present = tuple((name, words(what)) for name, what in FILES.items() if (folder / name).is_file() or name == DIGESTS)
    warning = (Paragraph(words(SYNTHETIC), "warning"),) if dossier.spec.synthetic else ()
    return (*warning, Paragraph(identity), Tiles(tiles), Files(present), Paragraph(made, "note"))


def _log(facts: Facts, dossier: Dossier) -> Text:
    if dossier.head is None:
        return words("when the audit log was empty")
    return words(
        "when the audit log ended with entry {n}, `{hash}`",
        n=facts.count(f"{FACTS}/head/number"),
        hash=facts.string(f"{FACTS}/head/hash"),
    )


def _decision(facts: Facts, dossier: Dossier) -> Section:
    decision, at = dossier.decision, f"{FACTS}/decision"
    if decision is None:
        return Section("Decision", (Paragraph(words("**Nobody decided about this version**: the gate never saw it.")),))
    blocks: list[Block] = [Paragraph(words("{summary}", summary=facts.string(f"{at}/summary")))]
    if dossier.decision_entry is None:
        edited = "**The audit log has no such decision about this version**: the one shown was not recorded, or edited."
        blocks.append(Paragraph(words(edited), "warning"))
    else:
        told = words("It is entry {n} of the audit log.", n=facts.count(f"{FACTS}/decision_entry"))
        blocks.append(Paragraph((*told, " ", *_circumstances(facts, decision)), "note"))
    rows = tuple(_criterion(facts, f"{at}/criteria/{i}", asked) for i, asked in enumerate(decision.criteria))
    blocks.append(Table(tuple(map(words, Decision.headings)), rows, "notes"))
    # a refusal's summary is the sentences of what was not met
    others = [i for i, asked in enumerate(decision.criteria) if asked.sentence not in decision.summary]
    if others:
        sentences = tuple((facts.string(f"{at}/criteria/{i}/sentence"),) for i in others)
        blocks += [Heading(words("What was met, in words")), Items(sentences)]
    return Section("Decision", tuple(blocks))


def _circumstances(facts: Facts, decision: Decision) -> Text:
    at = f"{FACTS}/decision"
    text = words(
        "Decided on {n} sealed images, `{digest}`",
        n=facts.count(f"{at}/images"),
        digest=_head(facts, f"{at}/test_digest"),
    )
    if decision.policy is not None:
        text += words(", by the policy {policy}", policy=facts.string(f"{at}/policy"))
    if decision.looks is not None:
        looks = facts.count(f"{at}/looks/networks"), facts.count(f"{at}/looks/challengers")
        text += words(", that {n} networks were scored on before, for {m} challengers", n=looks[0], m=looks[1])
    return (*text, ".")


def _criterion(facts: Facts, at: str, asked: Criterion) -> tuple[Cell, ...]:
    if asked.low is None:
        interval = words("-")
    elif asked.high is None:
        interval = words("at least {low}", low=facts.decimal(f"{at}/low", 4))
    else:
        ends = {end: facts.decimal(f"{at}/{end}", 4) for end in ("low", "high")}
        interval = words("{low} to {high}", **ends)
    return (
        Cell((facts.string(f"{at}/name"),)),
        Cell(_amount(facts, f"{at}/value")),
        Cell(interval),
        Cell(_amount(facts, f"{at}/limit")),
        Cell((facts.decimal(f"{at}/p", 3),) if asked.p is not None else words("-")),
        Cell(words("met" if asked.passed else "**not met**")),
    )


def _amount(facts: Facts, source: str) -> Text:
    """Shares to four places; counts as they are."""
    if not facts.has(source):
        return words("-")
    value = facts.number(source)
    return (facts.count(source) if value >= 2 and value == int(value) else facts.decimal(source, 4),)


def _trail(facts: Facts, dossier: Dossier) -> Section:
    if not dossier.trail:
        return Section("Trail", (Paragraph(words("**The audit log has no entry about this version.**")),))
    rows = tuple(
        (
            Cell((facts.count(f"{at}/number"),)),
            Cell((_head(facts, f"{at}/time", _SECONDS),), (facts.string(f"{at}/by"),)),
            Cell(words("`{hash}`", hash=_head(facts, f"{at}/hash"))),
            Cell((facts.string(f"{at}/words"),)),
        )
        for at in (f"{FACTS}/trail/{i}" for i in range(len(dossier.trail)))
    )
    headings = (words("entry"), words("when (UTC), and by whom"), words("hash"), words("what"))
    return Section("Trail", (Table(headings, rows, "notes"),))


def _origin(facts: Facts, dossier: Dossier) -> Section:
    spec = f"{FACTS}/spec"
    named: Iterable[tuple[str, str]] = (
        ("artefact", f"{FACTS}/artefact_digest"),
        ("run", f"{spec}/run_id"),
        ("commit", f"{spec}/git_commit"),
        ("data version", f"{spec}/data_version"),
        ("manifest", f"{spec}/manifest_digest"),
        ("sealed test part", f"{SCORES}/test_digest"),
    )
    rows = tuple((Cell(words(name)), Cell(words("`{x}`", x=facts.string(at)))) for name, at in named)
    files = tuple(
        (Cell((facts.string(f"{at}/name"),)), Cell(words("`{x}`", x=facts.string(f"{at}/sha256"))))
        for at in (f"{FACTS}/files/{i}" for i in range(len(dossier.files)))
    )
    unknown = words("git does not know that commit here: ask whoever trained the model for the code.")
    return Section(
        "Data and code",
        (
            Table((words("what"), words("which")), rows, "words"),
            *(() if dossier.commit_known else (Paragraph(unknown, "warning"),)),
            Heading(words("Files of the artefact")),
            Table((words("file"), words("digest")), files, "words"),
        ),
    )


def _way(folder: Path, facts: Facts, dossier: Dossier) -> Section:
    faults = tuple(
        words(
            "**{joint}**: {fault}",
            joint=facts.string(f"{FACTS}/way/steps/{i}/joint"),
            fault=facts.string(f"{FACTS}/way/steps/{i}/fault"),
        )
        for i, step in enumerate(dossier.way.steps)
        if step.fault
    )
    known = words("Each step of it is known and holds here.")
    told = (
        (Paragraph(words("What cannot be followed here, and why:")), Items(faults)) if faults else (Paragraph(known),)
    )
    picture = Picture((folder / WAY).read_bytes(), "What the version rests on, step by step")
    return Section("What it rests on", (*told, picture))


def _dependencies(facts: Facts, dossier: Dossier) -> Section:
    at, found = f"{FACTS}/dependencies", dossier.dependencies
    source = Paragraph((facts.string(f"{at}/source"),), "plain" if found.certain else "warning")
    listed: list[str | Fact] = []
    for i in range(len(found.packages)):
        name, version = (facts.string(f"{at}/packages/{i}/{key}") for key in ("name", "version"))
        listed += [name, " ", version, ", "]
    packages = (Paragraph(tuple(listed[:-1])),) if listed else ()
    return Section("Dependencies", (source, *packages))


def _head(facts: Facts, source: str, characters: int = _SHORT) -> Fact:
    """The first characters of a digest or a time, which no line breaks."""
    found = facts.string(source)
    return replace(found, text=found.text[:characters], words=False)
