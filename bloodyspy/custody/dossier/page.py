"""``index.html`` of a dossier, in the form of the model card: each value names its place in ``dossier.json``."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bloodyspy.custody.dossier.content import Dossier
from bloodyspy.custody.dossier.succession import Succession
from bloodyspy.evaluation.model_card.changes import Places, beside
from bloodyspy.evaluation.model_card.content import SYNTHETIC
from bloodyspy.evaluation.model_card.document import (
    Block,
    Card,
    Cell,
    Fact,
    Files,
    Heading,
    Items,
    Listing,
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

INDEX, DOSSIER, DECIDED = "index.html", "dossier.json", "decision.json"
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

_D = f"{DOSSIER}#"
_SCORES = f"{_D}/measured/scores"
_TITLE = "Since the champion before"
_LINES = 40  # of commits, and of files, on the page
_SECONDS = len("2026-11-23T12:00:00")
_SHORT = 12  # characters of a digest


def index(folder: Path, dossier: Dossier) -> str:
    """The page of a folder that holds everything else but the digests."""
    facts = Facts(folder)
    card = Card(
        title=words(
            "{model}, version {n}", model=facts.string(f"{_D}/registered_model"), n=facts.count(f"{_D}/version")
        ),
        lead=_lead(folder, facts, dossier),
        sections=(
            _decision(facts, dossier),
            _trail(facts, dossier),
            _since(facts, dossier.since),
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

    test = f"{_SCORES}/test"
    tiles = (
        tile(words("accuracy"), f"{test}/accuracy"),
        tile(words("balanced accuracy"), f"{test}/balanced_accuracy"),
        tile((word("macro_f1"),), f"{test}/macro_f1"),
        tile(words("mean balanced error under stress"), f"{_SCORES}/stress/mean_balanced_error"),
    )
    identity = words(
        "Candidate {candidate}, artefact `{artefact}`, registered {registered} UTC. In service: {service}. The scores "
        "are of the sealed test part.",
        candidate=facts.string(f"{_D}/spec/candidate"),
        artefact=facts.string(f"{_D}/artefact_digest"),
        registered=_head(facts, f"{_D}/registered", _SECONDS),
        service=facts.string(f"{_D}/service"),
    )
    made = words("Made {time} UTC, {log}.", time=_head(facts, f"{_D}/made", _SECONDS), log=_log(facts, dossier))
    present = tuple((name, words(what)) for name, what in FILES.items() if (folder / name).is_file() or name == DIGESTS)
    warning = (Paragraph(words(SYNTHETIC), "warning"),) if dossier.spec.synthetic else ()
    return (*warning, Paragraph(identity), Tiles(tiles), Files(present), Paragraph(made, "note"))


def _log(facts: Facts, dossier: Dossier) -> Text:
    if dossier.head is None:
        return words("when the audit log was empty")
    return words(
        "when the audit log ended with entry {n}, `{hash}`",
        n=facts.count(f"{_D}/head/number"),
        hash=facts.string(f"{_D}/head/hash"),
    )


def _decision(facts: Facts, dossier: Dossier) -> Section:
    decision, at = dossier.decision, f"{_D}/decision"
    if decision is None:
        return Section("Decision", (Paragraph(words("**Nobody decided about this version**: the gate never saw it.")),))
    blocks: list[Block] = [Paragraph(words("{summary}", summary=facts.string(f"{at}/summary")))]
    if dossier.decision_entry is None:
        edited = "**The audit log has no such decision about this version**: the one shown was not recorded, or edited."
        blocks.append(Paragraph(words(edited), "warning"))
    else:
        told = words("It is entry {n} of the audit log.", n=facts.count(f"{_D}/decision_entry"))
        blocks.append(Paragraph((*told, " ", *_circumstances(facts, decision)), "note"))
    rows = tuple(_criterion(facts, f"{at}/criteria/{i}", asked) for i, asked in enumerate(decision.criteria))
    blocks.append(Table(tuple(map(words, Decision.headings)), rows, "notes"))
    sentences = tuple((facts.string(f"{at}/criteria/{i}/sentence"),) for i in range(len(decision.criteria)))
    return Section("Decision", (*blocks, Heading(words("In words")), Items(sentences)))


def _circumstances(facts: Facts, decision: Decision) -> Text:
    at = f"{_D}/decision"
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
        for at in (f"{_D}/trail/{i}" for i in range(len(dossier.trail)))
    )
    headings = (words("entry"), words("when (UTC), and by whom"), words("hash"), words("what"))
    return Section("Trail", (Table(headings, rows, "notes"),))


def _since(facts: Facts, found: Succession | None) -> Section:
    if found is None:
        return Section(_TITLE, (Paragraph(words("There was no champion before this version.")),))
    at = f"{_D}/since"
    gaps = tuple(Paragraph((facts.string(f"{at}/gaps/{i}"),), "warning") for i in range(len(found.gaps)))
    if found.previous is None:
        return Section(_TITLE, gaps)
    scores = beside(facts, Places(f"{_D}/spec", _SCORES, f"{at}/previous"))
    blocks = (
        *scores,
        *_params(facts, found),
        *_data(facts, found),
        Heading(words("Code")),
        *gaps,
        *_code(facts, found),
    )
    return Section(_TITLE, blocks)


def _params(facts: Facts, found: Succession) -> tuple[Block, ...]:
    heading = Heading(words("Params of the candidate"))
    if not found.params:
        return heading, Paragraph(words("They are the same."))
    rows = tuple(
        (
            Cell((facts.string(f"{at}/name"),)),
            Cell(facts.setting(f"{at}/this")),
            Cell(facts.setting(f"{at}/before")),
        )
        for at in (f"{_D}/since/params/{i}" for i in range(len(found.params)))
    )
    return heading, Table((words("param"), words("this model"), words("before")), rows)


def _data(facts: Facts, found: Succession) -> tuple[Block, ...]:
    heading = Heading(words("Images"))
    if not found.data:
        return heading, Paragraph(words("Each part has as many of each type as before."))
    rows = tuple(
        (
            Cell(words("{part}, {cell}", part=facts.string(f"{at}/part"), cell=facts.string(f"{at}/cell_type"))),
            Cell((facts.count(f"{at}/this"),)),
            Cell((facts.count(f"{at}/before"),)),
        )
        for at in (f"{_D}/since/data/{i}" for i in range(len(found.data)))
    )
    return heading, Table((words("part, type"), words("this model"), words("before")), rows)


def _code(facts: Facts, found: Succession) -> tuple[Block, ...]:
    if found.code is None:
        return ()
    if not found.code.files:
        return (Paragraph(words("The code of both commits is the same.")),)
    at = f"{_D}/since/code"
    return (
        *_listing(facts, f"{at}/commits", len(found.code.commits)),
        *_listing(facts, f"{at}/files", len(found.code.files)),
    )


def _listing(facts: Facts, at: str, lines: int) -> tuple[Block, ...]:
    """The last lines of a list: of ``git diff --stat``, the sum is the last one."""
    if not lines:
        return ()
    shown = Listing(tuple((facts.string(f"{at}/{i}"),) for i in range(max(0, lines - _LINES), lines)))
    more = Paragraph(words("The list is longer: the whole of it is in dossier.json."), "note")
    return (shown,) if lines <= _LINES else (more, shown)


def _origin(facts: Facts, dossier: Dossier) -> Section:
    spec = f"{_D}/spec"
    named: Iterable[tuple[str, str]] = (
        ("artefact", f"{_D}/artefact_digest"),
        ("run", f"{spec}/run_id"),
        ("commit", f"{spec}/git_commit"),
        ("data version", f"{spec}/data_version"),
        ("manifest", f"{spec}/manifest_digest"),
        ("sealed test part", f"{_SCORES}/test_digest"),
    )
    rows = tuple((Cell(words(name)), Cell(words("`{x}`", x=facts.string(at)))) for name, at in named)
    files = tuple(
        (Cell((facts.string(f"{at}/name"),)), Cell(words("`{x}`", x=facts.string(f"{at}/sha256"))))
        for at in (f"{_D}/files/{i}" for i in range(len(dossier.files)))
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
            joint=facts.string(f"{_D}/way/steps/{i}/joint"),
            fault=facts.string(f"{_D}/way/steps/{i}/fault"),
        )
        for i, step in enumerate(dossier.way.steps)
        if step.fault
    )
    known = words("Each step of it is known and holds here.")
    told = (Paragraph(words("Not known here:")), Items(faults)) if faults else (Paragraph(known),)
    picture = Picture((folder / WAY).read_bytes(), "What the version rests on, step by step")
    return Section("What it rests on", (*told, picture))


def _dependencies(facts: Facts, dossier: Dossier) -> Section:
    at, found = f"{_D}/dependencies", dossier.dependencies
    source = Paragraph((facts.string(f"{at}/source"),), "plain" if found.certain else "warning")
    listed: list[str | Fact] = []
    for i in range(len(found.packages)):
        name, version = (facts.string(f"{at}/packages/{i}/{key}") for key in ("name", "version"))
        listed += [name, " ", version, ", "]
    packages = (Paragraph(tuple(listed[:-1])),) if listed else ()
    return Section("Dependencies", (source, *packages))


def _head(facts: Facts, source: str, characters: int = _SHORT) -> Fact:
    """The first characters of words."""
    found = facts.string(source)
    return replace(found, text=found.text[:characters])
