"""The model in use, and the thread that exchanges it when another version is named."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bentoml

from bloodyspy.errors import ArtefactInvalid, BloodySpyError, GoldenMismatch, ModelUnavailable
from bloodyspy.model import golden
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.release import PACKED, Release, read_release
from bloodyspy.serving.metrics import process_metrics
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


def wanted_shadow(settings: Settings) -> Release | None:
    """The version that is to answer unheard; None where none is named.

    Raises:
        ServiceError: from :func:`~bloodyspy.model.release.read_release`.
    """
    try:
        return read_release(settings.shadow)
    except ModelUnavailable:
        return None


class ServedModel:
    """Holds a version and follows what names it. The exchange is one assignment: no request waits for it."""

    def __init__(self, role: str, wanted: Callable[[], Release | None], home: Path, threads: int) -> None:
        """Nothing is loaded yet.

        Args:
            role: "release" or "shadow", for the log.
            wanted: what to hold now; None for nothing.
            home: where a release's relative path starts.
            threads: of one inference session.
        """
        self._role, self._wanted, self._home, self._threads = role, wanted, home, threads
        self._served: Served | None = None
        self._refused: Release | None = None
        self._fault = ""
        self._stopped = threading.Event()

    def start(self) -> None:
        """Load what is named now, then look again every second until :meth:`stop`."""
        self.refresh()
        threading.Thread(target=self._follow, name=self._role, daemon=True).start()

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

    def refresh(self) -> bool:
        """Load what is wanted if it is not held yet; what cannot be loaded is logged and the old one goes on.

        Returns:
            Whether what is wanted is what is held.
        """
        before = self._served
        held = self._take_up()
        if (now := self._served) is not before:
            process_metrics().serves(self._role, before.release if before else None, now.release if now else None)
        process_metrics().refused(self._role, not held)
        return held

    def _take_up(self) -> bool:
        try:
            release = self._wanted()
            if release is None:
                self._served = None
            elif release == self._refused:
                return False
            elif self._served is None or self._served.release != release:
                self._served = self._load(release)
                logger.info("The %s is %s (run %s)", self._role, release.model, release.run_id)
            self._fault = ""
            return True
        except (BloodySpyError, OSError) as exc:
            if str(exc) != self._fault:
                goes_on = f"{self._served.release.model} goes on" if self._served else "there is none"
                logger.error("The %s cannot be taken up, %s: %s", self._role, goes_on, exc)
            self._fault = str(exc)
            return False

    def _load(self, release: Release) -> Served:
        path = self._home / release.path
        classifier = Classifier.load(path, self._threads)
        if classifier.artefact.digest != release.digest:
            raise ArtefactInvalid(path, f"it is not the artefact that was released as {release.model}")
        # The first run of a session is its slowest, too: this makes it before anybody waits for it.
        try:
            golden.check(classifier)
        except GoldenMismatch:
            process_metrics().golden_mismatch(self._role)
            self._refused = release  # it would come out the same at every look, and each costs a second
            raise
        return Served(release, classifier)

    def _follow(self) -> None:
        while not self._stopped.wait(LOOK_EVERY):
            try:
                self.refresh()
            except Exception:  # the thread has to outlive what nobody foresaw, or no later release is ever taken up
                logger.exception("Looking at the %s failed; the next look is in %s s", self._role, LOOK_EVERY)
