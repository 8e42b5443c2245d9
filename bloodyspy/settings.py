"""Places and secrets, read from the environment as ``BLOODYSPY_*``; decisions live in params.yaml."""

import getpass
import os
import re
import socket
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from bloodyspy.errors import SettingsError


class Keep(StrEnum):
    """Which of the pictures that the service has answered it keeps."""

    NONE = "none"
    REVIEW = "review"
    """Those that the policy sends to a person, and those of the random audit."""
    ALL = "all"


class Settings(BaseSettings):
    """Where things are. Relative paths are taken from ``root``, the project's folder."""

    model_config = SettingsConfigDict(env_prefix="BLOODYSPY_", frozen=True, extra="ignore")

    root: Path = Field(default_factory=Path.cwd, description="the project's folder: params.yaml, dvc.yaml, data/")
    state: Path = Field(
        default=Path("var"), description="what running leaves behind: checkpoints, reports, logs, stores"
    )
    mlflow_uri: str | None = Field(default=None, description="MLflow tracking and registry; default sqlite in state")
    mlflow_artifacts: str | None = Field(
        default=None, description="artefact root of a new experiment; default in state"
    )
    tuning_uri: str | None = Field(default=None, description="Optuna's storage; default sqlite in state")
    audit_uri: str | None = Field(default=None, description="PostgreSQL of the audit log; default a file in state")
    actor: str | None = Field(default=None, description="who acts, for the audit log; default this account and machine")
    experiment: str = "bloodyspy"
    registered_model: str = "bloodyspy"
    bentoml_home: Path | None = Field(default=None, description="BentoML's store; default in state")
    users_file: Path | None = Field(default=None, description="users of the service and their password hashes")
    proxies: str = Field(
        default="",
        description="addresses or networks of reverse proxies, by commas: their X-Forwarded-For is believed",
    )
    requests_per_user: int = Field(default=60_000, ge=0, description="a minute and worker process; 0 for no limit")
    requests_per_address: int = Field(default=60_000, ge=0, description="a minute and worker process; 0 for no limit")
    observations: Path | None = Field(default=None, description="folder of observation logs; default in state")
    observation_store: str | None = Field(
        default=None,
        description="where these logs are gathered: a folder, or an address as s3://bucket/folder; default in state",
    )
    keep_images: Keep = Field(default=Keep.NONE, description="which answered pictures the service keeps")
    kept_images: Path = Field(default=Path("kept"), description="their folder, in state")
    keep_days: int = Field(default=30, ge=1, description="until a kept image is removed")
    keeping_key_file: Path | None = Field(default=None, description="32 bytes in base64 that encipher kept images")
    weights: Path | None = Field(default=None, description="folder of pretrained weight files, for machines offline")
    notify: SecretStr | None = Field(
        default=None, description="whom the drift check tells of alarms: addresses of Apprise, by commas"
    )
    threads: int = Field(default=1, ge=1, le=256, description="threads of one inference session")
    workers: int = Field(default=1, ge=1, le=256, description="processes of the service")
    requests: int = Field(
        default=32, ge=1, le=4096, description="requests that wait for an answer in one process; the next gets a 429"
    )
    pseudonym_key_file: Path | None = Field(
        default=None, description="secret from which the access log makes users' pseudonyms; default random per start"
    )
    stall_seconds: float = Field(
        default=60.0, ge=1, le=3600, description="without a picture finished, after which a working process ends itself"
    )

    def model_post_init(self, _context: Any) -> None:
        """Make every place absolute, so that no later change of directory moves it."""
        root = self.root.expanduser().resolve()
        places: dict[str, Path] = {"root": root, "state": root / self.state}
        for name, default in (("bentoml_home", "bentoml"), ("observations", "observations")):
            places[name] = root / (getattr(self, name) or places["state"] / default)
        places["kept_images"] = places["state"] / self.kept_images.expanduser()
        for name in ("users_file", "weights", "keeping_key_file", "pseudonym_key_file"):
            if getattr(self, name) is not None:
                places[name] = root / getattr(self, name).expanduser()
        for name, place in places.items():
            object.__setattr__(self, name, place)
        if self.observation_store is None or "://" not in self.observation_store:
            store = root / Path(self.observation_store or places["state"] / "observation-store").expanduser()
            object.__setattr__(self, "observation_store", str(store))
        else:
            object.__setattr__(self, "observation_store", self.observation_store.rstrip("/"))
        if self.mlflow_uri is None:
            object.__setattr__(self, "mlflow_uri", f"sqlite:///{self.state / 'mlflow.db'}")
        if self.tuning_uri is None:
            object.__setattr__(self, "tuning_uri", f"sqlite:///{self.state / 'tuning.db'}")
        if self.mlflow_artifacts is None:
            object.__setattr__(self, "mlflow_artifacts", (self.state / "mlartifacts").as_uri())

    @property
    def mlflow_place(self) -> str:
        """``mlflow_uri`` for people to read: a password in it is hidden."""
        return _without_password(str(self.mlflow_uri))

    @property
    def tuning_place(self) -> str:
        """``tuning_uri`` for people to read: a password in it is hidden."""
        return _without_password(str(self.tuning_uri))

    @property
    def audit_place(self) -> str:
        """``audit_uri`` for people to read: a password in it is hidden."""
        return _without_password(str(self.audit_uri))

    @property
    def smears(self) -> Path:
        """Smears in work and done, for a day."""
        return self.state / "smears"

    @property
    def audit_log(self) -> Path:
        """The audit log where it is a file."""
        return self.state / "audit.jsonl"

    @property
    def actor_name(self) -> str:
        """Who acts: what BLOODYSPY_ACTOR claims, or account and machine."""
        if self.actor:
            return self.actor
        try:
            account = getpass.getuser()
        except (KeyError, OSError):  # a container's user has no name
            account = f"uid {os.getuid()}"
        return f"{account}@{socket.gethostname()}"

    @property
    def tuning(self) -> Path:
        """Where unfinished trials are kept."""
        return self.state / "tuning"

    @property
    def data(self) -> Path:
        """The data set that data.dvc tracks."""
        return self.root / "data"

    @property
    def build(self) -> Path:
        """Outputs of the DVC stages."""
        return self.root / "build"

    @property
    def manifest(self) -> Path:
        """The manifest that ``validate`` writes."""
        return self.build / "manifest.parquet"

    def prepared(self, input_name: str) -> Path:
        """Folder of the arrays that ``prepare`` writes for one input."""
        return self.build / "prepared" / input_name

    def fit(self, candidate: str) -> Path:
        """What ``train`` leaves: network, learning curve, run id."""
        return self.build / "fits" / candidate

    def artefact(self, candidate: str) -> Path:
        """What ``evaluate`` assembles: the model as a directory."""
        return self.build / "models" / candidate

    @property
    def comparison(self) -> Path:
        """What ``compare`` writes."""
        return self.build / "comparison.json"

    @property
    def release(self) -> Path:
        """The file that tells the service which model version to serve; replaced atomically."""
        return self.state / "release.json"

    @property
    def shadow(self) -> Path:
        """The file that tells the service which version answers unheard beside the released one; absent where none."""
        return self.state / "shadow.json"

    @property
    def shadow_observations(self) -> Path:
        """Folder of the shadow's observation logs."""
        assert self.observations is not None  # filled in above
        return self.observations / "shadow"

    @property
    def labels(self) -> Path:
        """Folder of what people said that answered pictures show."""
        return self.state / "labels"

    @property
    def thresholds(self) -> Path:
        """Folder of the drift check's thresholds: made anew where they are missing."""
        return self.state / "thresholds"

    @property
    def labelling(self) -> Path:
        """Folder of what labelling leaves behind: the audit's draw, the queue, what is being taken into data/."""
        return self.state / "labelling"

    @property
    def audit(self) -> Path:
        """The file that says which answers are in the random audit; replaced atomically."""
        return self.labelling / "audit.json"

    @property
    def queue(self) -> Path:
        """The file that tells the service which pictures are worth a person's look; replaced atomically."""
        return self.labelling / "queue.json"

    @property
    def ran(self) -> Path:
        """Folder with an empty file for each scheduled flow, as old as its last run that came to its end."""
        return self.state / "ran"

    @property
    def drift_history(self) -> Path:
        """Folder of drift checks, one sub-folder a window."""
        return self.state / "drift"

    @property
    def evidently(self) -> Path:
        """Workspace of Evidently's UI, to which each drift check adds its run."""
        return self.state / "evidently"


def _without_password(uri: str) -> str:
    # to the last @: a password may hold a slash, or an @ that should have been escaped
    hidden = re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", uri)
    return re.sub(r"(?<=[?&]password=)[^&]*", "***", hidden)


def load_settings() -> Settings:
    """Settings of this process.

    Raises:
        SettingsError: a variable has a value that its place cannot have; the message names it.
    """
    try:
        return Settings()
    except ValidationError as exc:
        faults = "; ".join(f"BLOODYSPY_{str(e['loc'][0]).upper()}: {e['msg']}" for e in exc.errors())
        raise SettingsError(f"The environment is wrong: {faults}.") from exc
