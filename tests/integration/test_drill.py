"""The drill on drawn cells: a check that is tried with known faults finds them, and calls them by their names."""

from pathlib import Path

import pandas as pd
import pytest
from handmade import make_artefact
from tiny_project import subtype_in_turn

from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.manifest import COLUMNS, write_manifest
from bloodyspy.errors import MonitoringError
from bloodyspy.evaluation.signatures import of_pictures
from bloodyspy.images.decode import decode
from bloodyspy.images.statistics import STATISTICS
from bloodyspy.images.synthetic import draw_picture
from bloodyspy.model.artifact import REFERENCE, SIGNATURES, seal
from bloodyspy.model.classifier import Classifier
from bloodyspy.settings import Settings
from monitoring.drill import Drill, drill, observed, table

HELD_OUT = 80


@pytest.fixture(scope="module")
def s(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A project whose validation part is drawn cells."""
    settings = Settings(root=tmp_path_factory.mktemp("project"))
    listed = []
    for i in range(HELD_OUT):
        cell = CELL_TYPES[i % 8]
        place = settings.data / str(cell) / f"{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(draw_picture(cell, i, 7)[1])
        words = {"path": f"{cell}/{i}.jpg", "cell_type": str(cell), "subtype": subtype_in_turn(i, cell), "bytes": 1}
        words |= {
            "sha256": f"{i:064x}",
            "phash": f"{i:064x}",
            "format": "JPEG",
            "source": "drawn",
            "part": "validation",
        }
        listed.append({**words, **dict.fromkeys(STATISTICS, 1.0), "width": 360, "height": 360})
    write_manifest(pd.DataFrame(listed)[list(COLUMNS)], settings.manifest)
    return settings


@pytest.fixture(scope="module")
def champion(s: Settings) -> Classifier:
    """A model that answers by mean colours, with a reference and marks of its own kind of pictures."""
    artefact = make_artefact(s.root / "champion")
    others = [draw_picture(CELL_TYPES[i % 8], 1_000 + i, 7)[1] for i in range(160)]
    observed(Classifier.load(artefact.path), others, 1).to_parquet(artefact.path / REFERENCE)
    marks = of_pictures([decode(one).pixels for one in others[:8]])
    (artefact.path / SIGNATURES).write_text(marks.model_dump_json(), encoding="utf-8")
    return Classifier.load(seal(artefact.path).path)


def test_a_drill_keeps_what_it_promises(s: Settings, champion: Classifier, tmp_path: Path) -> None:
    elsewhere = tmp_path / "another-laboratory"
    elsewhere.mkdir()
    for i in range(60):
        (elsewhere / f"{i}.png").write_bytes(draw_picture(CELL_TYPES[i % 8], i, 7)[1])
    done = drill(champion, s, 60, 0.01, windows=8, pictures=60, elsewhere=[elsewhere], severities=(3,))
    faults = [one for one in done.tried if one.severity == 3]
    assert len(faults) == 11
    # One window in a hundred may be called drifted: 5 of 40 come once in ten thousand drills.
    assert done.of("none").drifted.times < 5
    strong = [done.of(fault, 3) for fault in ("blur", "illumination", "contrast", "noise", "deposit")]
    assert all(one.drifted.share == 1 for one in strong), strong
    assert all(one.delay is not None and one.delay < 60 for one in strong), strong
    assert sum(one.named.share for one in strong if one.named) > 4.5, strong
    assert done.of("case mix").optics.share < 0.3
    assert done.of(elsewhere.name).named is None  # nobody can say what is wrong with another laboratory
    assert Drill.model_validate_json(done.model_dump_json()) == done
    assert table(done).row_count == 13


def test_too_few_pictures_for_a_window_are_told(s: Settings, champion: Classifier) -> None:
    with pytest.raises(MonitoringError, match=f"validation part has {HELD_OUT} pictures, fewer than a window of 200"):
        drill(champion, s, 200, 0.01)
