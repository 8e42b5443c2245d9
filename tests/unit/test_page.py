"""The page of a check: what it says, whatever a client has called itself, from one file."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged_windows import MOVED, verdict
from observed import START, live, observed
from pictures import tinted
from running import ROOT

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import MonitoringError
from bloodyspy.images.decode import decode
from bloodyspy.images.small import small
from bloodyspy.kept import Kept, Store
from monitoring.causes import Cause
from monitoring.history import PAGE
from monitoring.page import Content, render
from monitoring.page.columns import title
from monitoring.page.distributions import distribution, weights
from monitoring.pictures import (
    LIST,
    NONE,
    STRANGEST,
    TYPICAL,
    Album,
    Pictures,
    choose,
    strangeness,
    withdraw,
    write_list,
)
from monitoring.remedies import REMEDIES, heading
from monitoring.verdict import Overall, Verdict

REFERENCE, CURRENT = observed(200, seed=1), live(observed(100, seed=2, stain=2))


def page(shown: Verdict, past: Sequence[Verdict] = (), pictures: Pictures | None = None) -> str:
    return render(Content(shown, REFERENCE, CURRENT, past, pictures or choose(REFERENCE, CURRENT, NONE), "report.html"))


@pytest.mark.parametrize("cause", Cause)
def test_the_page_says_the_cause_and_what_to_do_before_any_figure(cause: Cause) -> None:
    text = page(verdict(Overall.DRIFTED, cause))
    first = text.index("<svg")
    for step in REMEDIES[cause].steps:
        assert text.index(step.replace("'", "&#x27;")) < first
    assert f"<title>Drift check: drifted, {cause}</title>" in text
    assert text.index("93.0%<small>90.0% to 96.0% (95 %), without labels") < first
    assert text.count('<tr class="over">') == len(MOVED[cause])
    for name in MOVED[cause]:
        assert title(name).words in text


def test_the_runbook_says_what_the_page_says() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^## (.+)\n([^#]+)", runbook, re.MULTILINE))
    for cause, remedy in REMEDIES.items():
        listed = "".join(f"{number}. {step}\n" for number, step in enumerate(remedy.steps, start=1))
        assert remedy.means in entries[heading(cause)]
        assert listed in entries[heading(cause)]


def test_the_page_needs_no_other_file_and_no_other_host(tmp_path: Path) -> None:
    album = kept_album(tmp_path, range(100))
    text = page(verdict(Overall.DRIFTED, Cause.STAIN), pictures=choose(REFERENCE, CURRENT, album))
    assert set(re.findall(r"\b(?:src|href)=\"([a-z.]+:?[a-z/]*)", text)) == {"data:", "data:image/jpeg", "report.html"}
    assert "<script" not in text
    assert "url(" not in text
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
    assert len(text) < 600_000


def test_too_little_to_judge_and_nothing_to_do() -> None:
    few = page(verdict(Overall.INSUFFICIENT))
    assert "withheld<small>the window is too small" in few
    assert "Not judged yet" in few
    stable = page(verdict(Overall.STABLE), [verdict(Overall.DRIFTED, Cause.FOCUS, end=START - timedelta(days=1))])
    assert "Nothing. The next check" in stable
    assert "What moved" not in stable
    assert stable.count('<i class="drifted"') == 1
    assert stable.count('class="over" cx') == 1  # of optics, yesterday
    odd = verdict(Overall.STABLE, synthetic=True, torn_lines=1, corrupt_lines=2, model_version=None, start=None)
    assert "3 of the log, left out (1 torn" in page(odd)
    assert "No number here tells of real ones" in page(odd)


@settings(max_examples=20)
@given(st.text(max_size=40) | st.sampled_from(["<script>alert(1)</script>", "\" onload='x'", "&lt;b&gt;", "</style>"]))
def test_whatever_a_client_sends_is_text(hostile: str) -> None:
    plain = page(verdict(Overall.DRIFTED, Cause.STAIN, checked=START))
    named = verdict(Overall.DRIFTED, Cause.STAIN, checked=START, site=hostile, instrument=hostile, reason=hostile)
    text = page(named)
    assert re.findall(r"</?[a-zA-Z]+", text) == re.findall(r"</?[a-zA-Z]+", plain)  # not one tag more
    if re.search("<[a-z/]", hostile):
        assert hostile not in text.replace("</style>", "", 1)


def test_the_reference_is_drawn_at_the_window_s_mix() -> None:
    """Lymphocytes are dark here; a window with more of them has not moved."""
    rows = [("lymphocyte", 100.0)] * 10 + [("neutrophil", 200.0)] * 90
    reference = pd.DataFrame(rows, columns=["predicted", "brightness"])
    window = pd.DataFrame(rows[:10] * 5 + rows[10:60], columns=["predicted", "brightness"])
    share = pd.Series(weights(reference, window)).groupby(reference["predicted"]).sum()
    assert share.to_dict() == pytest.approx({"lymphocyte": 0.5, "neutrophil": 0.5})
    drawn = distribution("brightness", reference, window)
    filled, line = re.findall(r'd="(M[^"]+?)Z?"', drawn)
    assert filled == line
    assert "mean lightness, 0 to 255" in drawn


@pytest.mark.parametrize("values", [[360.0] * 5, [1e-9, 2e-9, 3e-9, 4e-9, 1e9], [float("nan")] * 5, [-1.0, 0, 0, 0, 0]])
def test_any_column_can_be_drawn(values: list[float]) -> None:
    frame = pd.DataFrame({"predicted": ["platelet"] * 5, "noise": values})
    drawn = distribution("noise", frame, frame)
    assert "nan" not in drawn
    assert ("<svg" in drawn) == (values[0] == values[0])
    assert distribution("embedding", frame, frame) == ""


def kept_album(folder: Path, rows: Sequence[int], key: bytes | None = None) -> Album:
    """Pictures of some of the window's rows are kept; each type has two typical ones."""
    store = Store(folder / "kept", key)
    store.keep([Kept(tinted(row), f"S-{row}", f"request-{row}", 0, "review") for row in rows])
    typical = folder / "typical.parquet"
    jpegs = [(str(cell), small(decode(tinted(900 + n)).pixels)) for n, cell in enumerate(CELL_TYPES) for _ in "ab"]
    pd.DataFrame(jpegs, columns=["cell_type", "jpeg"]).to_parquet(typical)
    return Album(typical, Store(folder / "kept"))


def test_strange_and_typical_cells_of_what_is_kept(tmp_path: Path) -> None:
    current = CURRENT.copy()
    current.loc[[3, 40], "novelty"] = 5.0
    current.loc[7, "confidence"] = -9.0
    assert set(strangeness(REFERENCE, current).argsort()[-3:]) == {3, 7, 40}
    kept = [row for row in range(100) if row != 40]
    found = choose(REFERENCE, current, kept_album(tmp_path, kept))
    assert len(found.strangest) == STRANGEST
    assert {small(decode(tinted(row)).pixels) for row in (3, 7)} == {cell.jpeg for cell in found.strangest[:2]}
    assert all(len(found.window[cell]) == TYPICAL for cell in map(str, CELL_TYPES))
    assert all(len(found.reference[cell]) == 2 for cell in map(str, CELL_TYPES))
    assert found.note.startswith("99 of the 100 pictures of this window are kept.")
    assert len(found.kept) == STRANGEST + TYPICAL * len(CELL_TYPES)  # none twice


def test_where_no_picture_can_be_shown_the_page_says_why(tmp_path: Path) -> None:
    none = choose(REFERENCE, CURRENT, Album(None, Store(tmp_path / "nowhere")))
    assert "Set BLOODYSPY_KEEP_IMAGES=review or all" in page(verdict(Overall.STABLE), pictures=none)
    hidden = choose(REFERENCE, CURRENT, kept_album(tmp_path, range(5), bytes(32)))
    assert hidden.strangest == ()
    assert "enciphered" in page(verdict(Overall.STABLE), pictures=hidden)
    (tmp_path / "kept" / "index.db").write_bytes(b"no data base" * 100)
    broken = choose(REFERENCE, CURRENT, Album(None, Store(tmp_path / "kept")))
    assert "cannot be shown" in broken.note


def test_a_request_s_id_that_was_used_again_shows_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep([Kept(tinted(seed), "", "request-1", 0, "auto") for seed in (1, 2)])
    store.keep([Kept(tinted(3), "", "request-2", 1, "auto")])
    assert set(store.find(["request-1", "request-2", "request-3"])) == {("request-2", 1)}


def test_an_erased_picture_leaves_the_page(tmp_path: Path) -> None:
    shown = choose(REFERENCE, CURRENT, kept_album(tmp_path, range(100)))
    folder = tmp_path / "drift" / "check"
    folder.mkdir(parents=True)
    (folder / PAGE).write_text(page(verdict(Overall.STABLE), pictures=shown), encoding="utf-8")
    write_list(shown, folder)
    assert (folder / LIST).exists()
    store = Store(tmp_path / "kept")
    assert withdraw(tmp_path / "drift", store) == 0
    gone = shown.strangest[0].kept
    row = next(row for row in range(100) if store.find([f"request-{row}"]) == {(f"request-{row}", 0): gone})
    store.erase(f"S-{row}")
    before = (folder / PAGE).read_text(encoding="utf-8")
    assert withdraw(tmp_path / "drift", store) == 1
    after = (folder / PAGE).read_text(encoding="utf-8")
    assert gone in before
    assert gone not in after
    for each in ("<figure", "data-kept", "data:image/jpeg"):
        assert before.count(each) == after.count(each) + 1
    strange = tmp_path / "drift" / "other"
    strange.mkdir()
    (strange / LIST).write_text("{")
    with pytest.raises(MonitoringError, match="other: "):
        withdraw(tmp_path / "drift", store)
    (strange / LIST).unlink()
    for each in range(100):
        store.erase(f"S-{each}")
    assert withdraw(tmp_path / "drift", store) == len(shown.kept) - 1
    assert "data-kept" not in (folder / PAGE).read_text(encoding="utf-8")
    assert sorted(path.name for path in folder.iterdir()) == [PAGE]
