"""What a refused picture leaves behind: its error and nothing else."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from handmade import make_artefact
from mutated import flat
from PIL import Image

from bloodyspy.errors import ImageError
from bloodyspy.model.classifier import Classifier

SIZE = (1200, 1300)
TRUNCATED = flat("RGB", *SIZE, "PNG")[:-200]


@pytest.fixture
def _without_collector() -> Iterator[None]:
    """The garbage collector may come late: what it alone would free piles up until then."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_without_collector")
def test_no_pixels_live_on_with_a_refusal(tmp_path: Path) -> None:
    classifier = Classifier(make_artefact(tmp_path / "artefact"))
    outcomes = classifier.observe_all([TRUNCATED] * 3)
    assert all(isinstance(outcome, ImageError) for outcome in outcomes)
    assert not [one for one in gc.get_objects() if isinstance(one, Image.Image) and one.size == SIZE]
