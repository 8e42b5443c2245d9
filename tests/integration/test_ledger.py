"""The ledger of looks: one door to the sealed part, and an entry for each who goes through it."""

import re
from pathlib import Path

import coloured
import pytest
from handmade import make_artefact

from bloodyspy.dataset.manifest import digest
from bloodyspy.errors import AuditError, SealedPart
from bloodyspy.evaluation.scoring import digest_of, part_of
from bloodyspy.params import load_params
from bloodyspy.promotion import ledger, trail
from bloodyspy.promotion.decision import Looks
from bloodyspy.promotion.events import Looked, Why
from bloodyspy.promotion.evidence import contend
from bloodyspy.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def s(settings: Settings) -> Settings:
    coloured.lay_out(settings)
    return settings


def looked(s: Settings) -> list[Looked]:
    return [entry.event for entry in trail.entries(s) if isinstance(entry.event, Looked)]


def test_who_asks_for_the_test_part_is_told_which_part_to_use(s: Settings) -> None:
    with pytest.raises(SealedPart, match=r"Choose on the validation part; fit thresholds on the calibration part"):
        part_of(s, "test")
    assert len(part_of(s, "validation")) == 32
    assert looked(s) == []


def test_only_the_ledger_has_the_key() -> None:
    holders = [
        path.relative_to(ROOT).as_posix()
        for folder in ("bloodyspy", "monitoring", "pipelines", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\bsealed_part\b", path.read_text(encoding="utf-8"))
    ]
    assert sorted(holders) == ["bloodyspy/evaluation/scoring.py", "bloodyspy/promotion/ledger.py"]


def test_each_look_is_an_entry_and_each_network_counts_once(s: Settings, tmp_path: Path) -> None:
    p = load_params(s.root / "params.yaml")
    first = make_artefact(tmp_path / "1", "1" * 32, manifest_digest=digest(s.manifest))
    for _ in range(2):
        rows = ledger.for_version(s, Why.PROMOTION, first, 1)
    assert len(rows) == 160
    contender = contend(1, first.path, s, p)
    assert [(e.version, e.run_id, e.images, e.why) for e in looked(s)] == [(1, "1" * 32, 160, Why.PROMOTION)] * 3
    assert {e.test_digest for e in looked(s)} == {digest_of(rows)} == {contender.sealed.digest}
    assert ledger.looks(s, digest_of(rows), first.digest) == Looks(networks=1, challengers=1)
    trail.record(looked(s)[0].model_copy(update={"network": "f" * 64, "version": 2}), s)
    trail.record(looked(s)[0].model_copy(update={"network": "e" * 64, "test_digest": "d" * 64}), s)
    assert ledger.looks(s, digest_of(rows), first.digest).networks == 2
    assert ledger.looks(s, "d" * 64, first.digest).networks == 1


def test_what_cannot_be_counted_is_not_seen(s: Settings, tmp_path: Path) -> None:
    artefact = make_artefact(tmp_path / "1", manifest_digest=digest(s.manifest))
    s.state.mkdir()
    s.audit_log.mkdir()
    with pytest.raises(AuditError, match="cannot be written"):
        ledger.for_version(s, Why.PROMOTION, artefact, 1)


def test_counting_sealed_images_is_no_look(s: Settings) -> None:
    assert set(ledger.sizes(s).values()) == {20}
    assert looked(s) == []
