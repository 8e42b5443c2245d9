"""The registered model in MLflow: versions, the aliases ``champion`` and ``challenger``, and the artefact of a version.

Every function may be repeated: after a kill the same call goes on to the same end.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlparse
from urllib.request import url2pathname

import mlflow.artifacts
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

from bloodyspy.errors import BloodySpyError, RegistryError
from bloodyspy.model.artifact import Artefact
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

CHAMPION, CHALLENGER = "champion", "challenger"
DIGEST = "artefact_digest"
"""Tag of a logged model and of a version: the identity of the artefact inside."""

_READY_WITHIN = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the registered model."""

    number: int
    run_id: str
    location: str
    """Address of the logged model that holds the artefact."""
    artefact_digest: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    description: str
    created: datetime


def register(artefact: Artefact, s: Settings) -> int:
    """Number of the version that holds this artefact; it is made where there is none.

    A version has the artefact's digest from its first moment, so a killed call leaves nothing that a second one would
    not find.

    Raises:
        RegistryError: the artefact was not logged on its run in this store.
    """
    with translated("The model could not be registered", s):
        client = connect(s)
        found = [version for version in versions(s) if version.artefact_digest == artefact.digest]
        if found:
            number = min(version.number for version in found)
            logger.info("%s is version %d already", artefact.spec.candidate, number)
            return number
        model = logged_model(client, artefact, s)
        if model is None:
            raise RegistryError(
                f"The model {artefact.path} is not logged on its run {artefact.spec.run_id} in {s.mlflow_place}. "
                f"Log it with `bloodyspy evaluate {artefact.spec.candidate}`."
            )
        _ensure_registered_model(client, s)
        made = client.create_model_version(
            name=s.registered_model,
            # not models:/<id>, which MLflow would look up in whatever store this process has set globally
            source=model.artifact_location,
            run_id=artefact.spec.run_id,
            model_id=model.model_id,
            tags={
                DIGEST: artefact.digest,
                "candidate": artefact.spec.candidate,
                "data_version": artefact.spec.data_version,
                "synthetic": str(artefact.spec.synthetic).lower(),
            },
            await_creation_for=0,
        )
        return _when_ready(client, made, s)


def versions(s: Settings) -> list[Version]:
    """Every version, newest first; none where nothing was registered yet."""
    with translated("The versions could not be listed", s):
        client = connect(s)
        found: list[Version] = []
        token: str | None = None
        while True:
            page = client.search_model_versions(f"name = '{s.registered_model}'", page_token=token)
            # search leaves out the aliases
            found += [_version(client.get_model_version(s.registered_model, entry.version)) for entry in page]
            token = page.token
            if not token:
                return sorted(found, key=lambda version: -version.number)


def version(s: Settings, number: int) -> Version:
    """One version.

    Raises:
        RegistryError: there is none of that number; the message lists those there are.
    """
    with translated(f"Version {number} could not be read", s):
        try:
            return _version(connect(s).get_model_version(s.registered_model, str(number)))
        except MlflowException as exc:
            if not _is(exc, RESOURCE_DOES_NOT_EXIST):
                raise
            known = ", ".join(str(entry.number) for entry in versions(s)) or "none"
            raise RegistryError(f"There is no version {number} of {s.registered_model}. Known: {known}.") from exc


def champion(s: Settings) -> Version | None:
    """The version that the service is to answer with."""
    return _holder(CHAMPION, s)


def challenger(s: Settings) -> Version | None:
    """The version that is being compared with the champion."""
    return _holder(CHALLENGER, s)


def set_champion(number: int, s: Settings) -> None:
    """Move the alias ``champion``; where that version was the challenger, it no longer is.

    Raises:
        RegistryError: no such version.
    """
    _set(CHAMPION, number, s)
    now = challenger(s)
    if now is not None and now.number == number:
        clear_challenger(s)


def set_challenger(number: int, s: Settings) -> None:
    """Move the alias ``challenger``.

    Raises:
        RegistryError: no such version.
    """
    _set(CHALLENGER, number, s)


def clear_challenger(s: Settings) -> None:
    """Take the alias ``challenger`` from whoever has it."""
    _clear(CHALLENGER, s)


def clear_champion(s: Settings) -> None:
    """Take the alias ``champion`` from whoever has it."""
    _clear(CHAMPION, s)


def annotate(number: int, s: Settings, *, tags: Mapping[str, str], description: str | None = None) -> None:
    """Write tags, and a description where given, on a version: what was decided about it and why.

    Raises:
        RegistryError: no such version.
    """
    version(s, number)
    with translated(f"Version {number} could not be annotated", s):
        client = connect(s)
        for key, value in tags.items():
            client.set_model_version_tag(s.registered_model, str(number), key, value)
        if description is not None:
            client.update_model_version(s.registered_model, str(number), description)


def artefact_of(number: int, s: Settings) -> Path:
    """Directory of a version's artefact, checked: where it lies when the store is a folder, else a downloaded copy.

    Raises:
        RegistryError: no such version, or its artefact is not the one that was registered.
        ArtefactInvalid: its files are missing or altered.
    """
    wanted = version(s, number)
    with translated(f"The artefact of version {number} could not be fetched", s):
        address = urlparse(wanted.location)
        if address.scheme in ("", "file"):
            place = _inside(Path(url2pathname(address.path)))
        else:
            place = s.state / "models" / f"{s.registered_model}-{number}-{wanted.artefact_digest[:12]}"
            if not place.is_dir():
                _download(wanted.location, place, s)
    if (found := Artefact.open(place).digest) != wanted.artefact_digest:
        raise RegistryError(
            f"{place} holds the artefact {found[:12]}, but {wanted.artefact_digest[:12]} was registered as version "
            f"{number}. Someone changed the store: register the model again."
        )
    return place


def connect(s: Settings) -> MlflowClient:
    """A client of the tracking store and registry of the settings.

    MLflow lays out a file of SQLite that is new: two processes that do it at once break each other's tables. A server
    has done it before anybody asks.
    """
    is_file = str(s.mlflow_uri).startswith("sqlite:")
    if is_file:
        s.state.mkdir(parents=True, exist_ok=True)
    with FileLock(s.state / "mlflow.lock") if is_file else nullcontext():
        return MlflowClient(tracking_uri=s.mlflow_uri, registry_uri=s.mlflow_uri)


def has_run(run_id: str, s: Settings) -> bool:
    """Whether the tracking store knows a run."""
    with translated(f"The run {run_id} could not be read", s):
        try:
            connect(s).get_run(run_id)
        except MlflowException as exc:
            if not _is(exc, RESOURCE_DOES_NOT_EXIST):
                raise
            return False
        return True


def logged_model(client: MlflowClient, artefact: Artefact, s: Settings) -> LoggedModel | None:
    """The finished logged model of the run that holds this artefact, if there is one.

    Raises:
        RegistryError: the store does not know the run.
    """
    run_id = artefact.spec.run_id
    try:
        run = client.get_run(run_id)
    except MlflowException as exc:
        if not _is(exc, RESOURCE_DOES_NOT_EXIST):
            raise
        raise RegistryError(
            f"{s.mlflow_place} does not know the run {run_id} that trained {artefact.path}: it was tracked elsewhere. "
            "Set BLOODYSPY_MLFLOW_URI to the server that has it, or train here with "
            f"`dvc repro --force train@{artefact.spec.candidate}`."
        ) from exc
    found = client.search_logged_models(
        [run.info.experiment_id], filter_string=f"source_run_id = '{run_id}' AND tags.{DIGEST} = '{artefact.digest}'"
    )
    for model in found:
        if model.status == LoggedModelStatus.READY:
            return model
        client.delete_logged_model(model.model_id)  # left by a killed call
    return None


@contextmanager
def translated(failure: str, s: Settings) -> Iterator[None]:
    """MLflow's errors as one of ours, with what to look at."""
    try:
        yield
    except BloodySpyError:
        raise
    except MlflowException as exc:
        raise RegistryError(f"{failure}: {exc.message} Check that MLflow answers at {s.mlflow_place}.") from exc


def _holder(alias: str, s: Settings) -> Version | None:
    with translated(f"The alias {alias} could not be read", s):
        client = connect(s)
        found = client.search_registered_models(f"name = '{s.registered_model}'")
        if not found or alias not in found[0].aliases:
            return None
        return _version(client.get_model_version(s.registered_model, str(found[0].aliases[alias])))


def _set(alias: str, number: int, s: Settings) -> None:
    version(s, number)
    with translated(f"The alias {alias} could not be set", s):
        connect(s).set_registered_model_alias(s.registered_model, alias, str(number))


def _clear(alias: str, s: Settings) -> None:
    with translated(f"The alias {alias} could not be taken away", s):
        if _holder(alias, s) is not None:
            connect(s).delete_registered_model_alias(s.registered_model, alias)


def _ensure_registered_model(client: MlflowClient, s: Settings) -> None:
    try:
        client.create_registered_model(
            s.registered_model,
            description="Names the type of a blood cell. `champion` is what the service answers with.",
        )
    except MlflowException as exc:
        if not _is(exc, RESOURCE_ALREADY_EXISTS):
            raise


def _when_ready(client: MlflowClient, made: ModelVersion, s: Settings) -> int:
    give_up = time.monotonic() + _READY_WITHIN
    while made.status != "READY":
        if made.status == "FAILED_REGISTRATION" or time.monotonic() > give_up:
            raise RegistryError(
                f"Version {made.version} of {s.registered_model} is {made.status} ({made.status_message}). "
                "Look at it in the MLflow UI, delete it and register again."
            )
        time.sleep(0.2)
        made = client.get_model_version(s.registered_model, made.version)
    return int(made.version)


def _version(entry: ModelVersion) -> Version:
    return Version(
        number=int(entry.version),
        run_id=entry.run_id,
        location=entry.source,
        artefact_digest=entry.tags.get(DIGEST, ""),
        aliases=tuple(entry.aliases),
        tags=dict(entry.tags),
        description=entry.description or "",
        created=datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC),
    )


def _inside(logged: Path) -> Path:
    """The artefact inside a logged pyfunc: MLflow keeps ``data_path`` under the name it had."""
    return logged / str(Model.load(logged).flavors["python_function"]["data"])


def _download(location: str, place: Path, s: Settings) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".fetching-", dir=place.parent) as folder:
        fetched = mlflow.artifacts.download_artifacts(location, dst_path=folder, tracking_uri=s.mlflow_uri)
        Artefact.open(_inside(Path(fetched))).path.rename(place)


def _is(exc: MlflowException, code: int) -> bool:
    return bool(exc.error_code == ErrorCode.Name(code))
