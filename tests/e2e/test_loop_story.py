"""The story of the loop at a small size: every step a command of the platform, in a clone with its own params.yaml."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.laboratory import cloned
from benchmarks.story import SMALL, WINDOW, Story
from bloodyspy.images.synthetic import draw_dataset
from bloodyspy.promotion import trail
from bloodyspy.promotion.events import Cause, Released
from bloodyspy.promotion.history import standing

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real ones where they are, else drawn ones."""
    real = Path(os.environ.get("BLOODYSPY_TEST_DATA", ROOT.parent / "shared" / "data")) / "pbc"
    if real.is_dir():
        return real
    drawn = tmp_path_factory.mktemp("drawn") / "cells"
    draw_dataset(drawn, per_class=DRAWN_PER_CLASS, seed=7)
    return drawn


def test_the_story_of_the_loop(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BLOODYSPY_")]:
        monkeypatch.delenv(name)
    story = Story(cloned(tmp_path / "loop", ROOT), images, SMALL)
    story.play()
