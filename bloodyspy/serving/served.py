"""The model in use, and the thread that exchanges it when another version is released."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bentoml

from bloodyspy.errors import ArtefactInvalid, BloodySpyError, ModelUnavailable
from bloodyspy.images.preprocess import golden_picture, to_array
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.release import PACKED, Release, read_release
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks at the release."""


@dataclass(frozen=True, slots=True)
class Served:
    """A loaded version. Whoever answers takes it once, so that one request is answered by one model."""

    release: Release
    classifier: Classifier


def wanted_release(settings: Settings) -> Release:
    """The release of this process: the one packed in where it runs from a bento, else the one told last.

    Raises:
        ModelUnavailable, ServiceError: from :func:`~bloodyspy.model.release.read_release`.
    """
    if not bentoml.server_context.bento_version or bentoml.server_context.bento_version == "not available":
        return read_release(settings.release)
    try:
        packed = bentoml.models.get(PACKED)
        return Release.model_validate({**packed.info.metadata, "model": str(packed.tag), "path": packed.path})
    except (bentoml.exceptions.BentoMLException, ValueError) as exc:
        raise ModelUnavailable(
            f"The model of this bento is not in BentoML's model store ({exc}). "
            "Set BENTOML_HOME to the store it was built in, or import the exported bento."
        ) from exc


class ServedModel:
    """Holds the served version and follows the release. The exchange is one assignment: no request waits for it."""

    def __init__(self, wanted: Callable[[], Release], home: Path, threads: int) -> None:
        """``home`` is where a release's relative path starts; ``threads`` go to one inference session."""
        self._wanted, self._home, self._threads = wanted, home, threads
        self._served: Served | None = None
        self._fault = ""
        self._stopped = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="release", daemon=True)

    def start(self) -> None:
        """Load what is released now, then look again every second until :meth:`stop`."""
        self.refresh()
        self._follower.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

    @property
    def ready(self) -> bool:
        """Whether there is a model to answer with."""
        return self._served is not None

    def current(self) -> Served:
        """The model to answer one request with.

        Raises:
            ModelUnavailable: there is none; the message says why and what to do.
        """
        if (served := self._served) is None:
            raise ModelUnavailable(self._fault or "The model is being loaded. Try again in a moment.")
        return served

    def refresh(self) -> None:
        """Load the wanted release if it is not served yet; what cannot be loaded is logged and the old one goes on."""
        try:
            release = self._wanted()
            if self._served is None or self._served.release != release:
                self._served = self._load(release)
                logger.info("Serving %s (run %s)", release.model, release.run_id)
            self._fault = ""
        except (BloodySpyError, OSError) as exc:
            if str(exc) != self._fault:
                goes_on = f"{self._served.release.model} goes on" if self._served else "nothing is served"
                logger.error("The released model cannot be served, %s: %s", goes_on, exc)
            self._fault = str(exc)

    def _load(self, release: Release) -> Served:
        path = self._home / release.path
        classifier = Classifier.load(path, self._threads)
        if classifier.artefact.digest != release.digest:
            raise ArtefactInvalid(path, f"it is not the artefact that was released as {release.model}")
        # The first run of a session is its slowest: make it before anybody waits for it.
        classifier.probabilities(to_array(golden_picture(), classifier.spec.input)[None])
        return Served(release, classifier)

    def _follow(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            try:
                self.refresh()
            except Exception:  # the thread has to outlive what nobody foresaw, or no later release is ever taken up
                logger.exception("Looking at the release failed; the next look is in %s s", LOOK_EVERY)
