"""BentoML's stores: a promoted artefact becomes a model and a bento there, and the service is told.

Each step can be killed and run again. What is stored is made in a staging folder and moved into the store in one step,
so that a tag that is there is whole.
"""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import bentoml
import yaml
from bentoml._internal.models import ModelStore
from filelock import FileLock

import bloodyspy
from bloodyspy.errors import ArtefactInvalid, ServiceError
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.release import NAME, PACKED, Release, write_release
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

SOURCE = Path(bloodyspy.__file__).resolve().parents[1]
"""The checkout that this code runs from; its bentofile.yaml says what goes into a bento."""

BUILD_SECONDS = 300
"""A build takes a few seconds; one that takes longer than this hangs."""

_LABEL_LENGTH = 40  # BentoML takes 63 characters in a label, a digest has 64


def store(artefact: Path, version: int, settings: Settings) -> str:
    """Copy an artefact, unchanged, into BentoML's model store. Does nothing where it is there already.

    Returns:
        The model's tag, ``bloodyspy:v<version>``.

    Raises:
        ArtefactInvalid, PreprocessMismatch: the artefact is not usable.
        ServiceError: another artefact is stored under this version, or the store cannot be written.
    """
    given = Artefact.open(artefact)
    tag, home = f"{NAME}:v{version}", _home(settings)
    with _staging(home) as staging:
        place = _place(home, "models", version)
        if (stored := _intact(place)) is None:
            shutil.rmtree(place, ignore_errors=True)
        else:
            if stored.digest != given.digest:
                raise ServiceError(
                    f"BentoML's store {home} has another model as {tag} (digest {stored.digest[:12]}, not "
                    f"{given.digest[:12]}). Versions are never overwritten: if that one came from another registry, "
                    f"remove it with `BENTOML_HOME={home} bentoml models delete {tag}` and run this again."
                )
            return tag
        try:
            with bentoml.models.create(
                tag,
                labels={"run": given.spec.run_id, "digest": given.digest[:_LABEL_LENGTH]},
                metadata={"version": version, "run_id": given.spec.run_id, "digest": given.digest},
                _model_store=ModelStore(staging / "models"),
            ) as model:
                for name in given.files:
                    shutil.copy2(given.path / name, model.path_of(name))
            _move_in(_place(staging, "models", version), place)
        except (OSError, bentoml.exceptions.BentoMLException) as exc:
            raise ServiceError(f"{tag} cannot be stored in {home}: {exc}.") from exc
    logger.info("Stored %s in %s", tag, home)
    return tag


def build(version: int, settings: Settings) -> str:
    """Build the bento of a stored model with the options of ``bentofile.yaml``. Does nothing where it is there already.

    BentoML reads its home when it is imported and imports the service to build it, so this happens in a process of
    its own.

    Returns:
        The bento's tag, ``bloodyspy:v<version>``.

    Raises:
        ServiceError: the model is not stored, or BentoML cannot build; the message ends with BentoML's own words.
    """
    tag, home = f"{NAME}:v{version}", _home(settings)
    digest = _stored(version, settings).digest[:_LABEL_LENGTH]
    with _staging(home) as staging:
        place = _place(home, "bentos", version)
        if place.is_dir():
            if _label(place) == digest:
                return tag
            shutil.rmtree(place)  # the bento of a model that was deleted from the store since
        (staging / "models").rmdir()
        (staging / "models").symlink_to(home / "models", target_is_directory=True)
        with NamedTemporaryFile("w", suffix=".yaml", dir=staging, encoding="utf-8") as bentofile:
            yaml.safe_dump(_options(tag), bentofile)
            bentofile.flush()
            command = [sys.executable, "-m", "bentoml", "build", str(SOURCE), "--bentofile", bentofile.name]
            command += ["--version", f"v{version}", "--label", f"digest={digest}", "--output", "tag"]
            try:
                subprocess.run(
                    command,
                    cwd=SOURCE,
                    env={**os.environ, "BENTOML_HOME": str(staging)},
                    check=True,
                    capture_output=True,
                    text=True,
                    timeout=BUILD_SECONDS,
                )
                _move_in(_place(staging, "bentos", version), place)
            except subprocess.CalledProcessError as exc:
                raise ServiceError(
                    f"BentoML cannot build {tag}:\n{(exc.stderr or exc.stdout)[-2000:].strip()}"
                ) from exc
            except (OSError, subprocess.TimeoutExpired) as exc:
                raise ServiceError(f"{tag} cannot be built in {home}: {exc}.") from exc
    logger.info("Built %s in %s", tag, home)
    return tag


def tell(version: int, settings: Settings) -> None:
    """Tell the service to serve a stored version: running workers exchange their model within seconds.

    Raises:
        ServiceError: the model is not stored, or the release cannot be written.
    """
    stored = _stored(version, settings)
    write_release(
        settings.release,
        Release(
            version=version,
            model=f"{NAME}:v{version}",
            path=str(stored.path.relative_to(_home(settings))),
            run_id=stored.spec.run_id,
            digest=stored.digest,
        ),
    )
    logger.info("Released %s:v%d", NAME, version)


def _stored(version: int, settings: Settings) -> Artefact:
    place = _place(_home(settings), "models", version)
    if not place.is_dir():
        raise ServiceError(f"{NAME}:v{version} is not in BentoML's store {settings.bentoml_home}. Store it first.")
    return Artefact.open(place)


def _intact(place: Path) -> Artefact | None:
    """What is stored there; None where there is nothing, or something that was damaged since."""
    if not place.is_dir():
        return None
    try:
        return Artefact.open(place)
    except ArtefactInvalid as exc:
        logger.warning("It is stored again: %s", exc)
        return None


def _options(tag: str) -> dict[str, object]:
    """bentofile.yaml, with this model."""
    try:
        options = yaml.safe_load((SOURCE / "bentofile.yaml").read_text(encoding="utf-8"))
    except OSError as exc:
        raise ServiceError(f"A bento is built from a checkout of BloodySpy: {exc}.") from exc
    return {**options, "models": [{"tag": tag, "alias": PACKED}]}


def _home(settings: Settings) -> Path:
    assert settings.bentoml_home is not None  # Settings fills it in
    return settings.bentoml_home


def _place(home: Path, kind: str, version: int) -> Path:
    return home / kind / NAME / f"v{version}"


def _label(bento: Path) -> str | None:
    try:
        labels = yaml.safe_load((bento / "bento.yaml").read_text(encoding="utf-8")).get("labels") or {}
    except (OSError, yaml.YAMLError):
        return None
    return str(labels.get("digest"))


@contextmanager
def _staging(home: Path) -> Iterator[Path]:
    """An empty store beside the real one, on the same file system, for one writer at a time."""
    staging = home / "staging"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / "packaging.lock", timeout=2 * BUILD_SECONDS):
            shutil.rmtree(staging, ignore_errors=True)  # what a killed run left
            for kind in ("models", "bentos"):
                (home / kind).mkdir(exist_ok=True)
                (staging / kind).mkdir(parents=True)
            yield staging
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as exc:
        raise ServiceError(f"BentoML's store {home} cannot be used: {exc}.") from exc


def _move_in(made: Path, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    made.rename(place)
    # BentoML finds the newest again by itself; what this file said may be an older one.
    (place.parent / "latest").unlink(missing_ok=True)
