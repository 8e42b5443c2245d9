"""BentoML's stores: a promoted artefact becomes a model and a bento there, and the service is told.

Each step can be killed and run again. What is stored is made in a staging folder and moved into the store in one step,
so that a tag that is there is whole.
"""

import hashlib
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
from bloodyspy.model.artifact import Artefact, sha256
from bloodyspy.model.release import NAME, PACKED, Release, write_release
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

SOURCE = Path(bloodyspy.__file__).resolve().parents[1]
"""The checkout that this code runs from; its bentofile.yaml says what goes into a bento."""

BUILD_SECONDS = 300
"""A build takes a few seconds; one that takes longer than this hangs."""

_LABEL_LENGTH = 40  # BentoML takes 63 characters in a label, a digest has 64


def tag_of(version: int) -> str:
    """Of the model and of the bento of a version, in BentoML's stores."""
    return f"{NAME}:v{version}"


def store(artefact: Path, version: int, settings: Settings) -> str:
    """Copy an artefact, unchanged, into BentoML's model store. Does nothing where it is there already.

    Returns:
        The model's tag, ``bloodyspy:v<version>``.

    Raises:
        ArtefactInvalid, PreprocessMismatch: the artefact is not usable.
        ServiceError: another artefact is stored under this version, or the store cannot be written.
    """
    given = Artefact.open(artefact)
    tag, home = tag_of(version), _home(settings)
    with _staging(home) as staging:
        place = _place(home, "models", version)
        if (there := _intact(place)) is None:
            shutil.rmtree(place, ignore_errors=True)
        else:
            if there.digest != given.digest:
                raise ServiceError(
                    f"BentoML's store {home} has another model as {tag} (digest {there.digest[:12]}, not "
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
    tag, home = tag_of(version), _home(settings)
    digest = stored(version, settings).digest[:_LABEL_LENGTH]
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
    write_release(settings.release, release_of(version, settings))
    logger.info("Released %s", tag_of(version))


def tell_shadow(version: int | None, settings: Settings) -> None:
    """Tell the service which stored version to ask beside the released one, unheard; None for no other.

    Raises:
        ServiceError: the model is not stored, or the file cannot be written.
    """
    if version is None:
        settings.shadow.unlink(missing_ok=True)
        return
    write_release(settings.shadow, release_of(version, settings))
    logger.info("%s answers in the shadow", tag_of(version))


def is_built(version: int, settings: Settings) -> bool:
    """Whether there is a bento of a version."""
    return _place(_home(settings), "bentos", version).is_dir()


def files(version: int, settings: Settings) -> dict[str, str]:
    """SHA-256 of every file of a packed model and its bento, by path in BentoML's home.

    What Python compiles while a bento serves (``__pycache__``) is left out.

    Raises:
        ServiceError: the model or its bento is not stored, or a file cannot be read.
    """
    home = _home(settings)
    found: dict[str, str] = {}
    try:
        for kind in ("models", "bentos"):
            place = _place(home, kind, version)
            if not place.is_dir():
                raise ServiceError(f"{tag_of(version)} is not in BentoML's store {place.parent}. Promote it again.")
            for path in sorted(place.rglob("*")):
                if "__pycache__" in path.parts:
                    continue
                if path.is_symlink():  # to a file or a folder elsewhere: what counts is that it is there, and whereto
                    found[path.relative_to(home).as_posix()] = hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
                elif path.is_file():
                    found[path.relative_to(home).as_posix()] = sha256(path)
    except OSError as exc:
        raise ServiceError(f"BentoML's store {home} cannot be read: {exc}.") from exc
    return found


def stored(version: int, settings: Settings) -> Artefact:
    """The artefact of a version in BentoML's model store, which is what the service loads; checked.

    Raises:
        ServiceError: the model is not stored.
        ArtefactInvalid, PreprocessMismatch: it is not usable.
    """
    place = _place(_home(settings), "models", version)
    if not place.is_dir():
        raise ServiceError(f"{tag_of(version)} is not in BentoML's store {settings.bentoml_home}. Store it first.")
    return Artefact.open(place)


def release_of(version: int, settings: Settings) -> Release:
    """What the service is to be told of a stored version.

    Raises:
        ServiceError: the model is not stored.
        ArtefactInvalid, PreprocessMismatch: it is not usable.
    """
    model = stored(version, settings)
    return Release(
        version=version,
        model=tag_of(version),
        path=str(model.path.relative_to(_home(settings))),
        run_id=model.spec.run_id,
        digest=model.digest,
    )


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
