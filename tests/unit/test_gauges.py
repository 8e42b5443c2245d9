"""What Prometheus reads of the drift checks."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from judged_windows import verdict
from observed import START
from prometheus_client.parser import text_string_to_metric_families

from monitoring.causes import Cause
from monitoring.gauges import FILE, MOST, write
from monitoring.history import Check
from monitoring.verdict import Kind, Overall, Verdict

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def told(folder: Path, *verdicts: Verdict) -> dict[tuple[str, ...], float]:
    write(folder, [Check(Path(str(n)), one) for n, one in enumerate(verdicts)], NOW)
    families = text_string_to_metric_families((folder / FILE).read_text())
    samples = [sample for family in families for sample in family.samples]
    order = ("site", "instrument", "verdict", "kind", "cause", "bound")
    return {
        (s.name.removeprefix("bloodyspy_drift_"), *(s.labels[name] for name in order if name in s.labels)): s.value
        for s in samples
    }


def test_the_newest_check_of_each_place_is_told(tmp_path: Path) -> None:
    found = told(
        tmp_path / "drift",
        verdict(Overall.DRIFTED, Cause.FOCUS, site='a "north"\n', strength=1.5),
        verdict(Overall.STABLE),
        verdict(Overall.DRIFTED, Cause.STAIN, strength=2.0),
        verdict(Overall.INSUFFICIENT, site='a "north"\n'),
    )
    north = ('a "north"\n', "")
    assert found["run_timestamp_seconds",] == NOW.timestamp()
    assert found["window_end_timestamp_seconds", "", ""] == START.timestamp()
    assert found["window_rows", "", ""] == 200
    assert {o: found["verdict", "", "", o] for o in Overall} == {"stable": 0, "drifted": 1, "insufficient": 0}
    assert found["verdict", *north, "insufficient"] == 1
    assert found["ratio", "", "", Kind.OPTICS] == 2.0
    assert {c: found["alarm", "", "", c] for c in Cause} == {c: float(c is Cause.STAIN) for c in Cause}
    assert found["alarm", *north, "focus"] == 1  # too little to judge ends no alarm
    assert (found["accuracy", "", "", "low"], found["accuracy", "", "", "value"]) == (0.9, 0.93)
    assert ("accuracy", *north, "value") not in found
    assert list((tmp_path / "drift").iterdir()) == [tmp_path / "drift" / FILE]


def test_a_model_that_was_replaced_is_not_told_of(tmp_path: Path) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    old = verdict(Overall.DRIFTED, Cause.STAIN, site="old", run_id="b" * 32)
    found = told(tmp_path, old, verdict(Overall.STABLE, site="new", checked=later))
    assert {key[1] for key in found if key[0] == "verdict"} == {"new"}
    assert ("ratio", "old", "", "optics") not in found


def test_no_check_yet_and_more_places_than_are_told(tmp_path: Path) -> None:
    assert told(tmp_path) == {("run_timestamp_seconds",): NOW.timestamp()}
    found = told(tmp_path, *(verdict(Overall.STABLE, site=f"site {n}") for n in range(MOST + 20)))
    assert {key[1] for key in found if key[0] == "verdict"} == {f"site {n}" for n in range(20, MOST + 20)}


def test_what_cannot_be_written_fails_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "drift").write_text("in the way")
    write(tmp_path / "drift", [], NOW)
    assert "cannot be written" in caplog.text
