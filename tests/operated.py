"""A service to operate: told a model made by hand, with users, and how its metrics and its access log are read."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import httpx
from handmade import make_artefact
from prometheus_client.parser import text_string_to_metric_families
from running import NAME, PASSWORD, Service

from bloodyspy.adapters import packaging
from bloodyspy.model.artifact import Artefact
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.roles import Role
from bloodyspy.settings import Settings

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Prepared:
    """Everything that ``bentoml serve`` needs."""

    settings: Settings
    environment: dict[str, str]


def prepared(place: Path, artefact: Artefact | None = None, role: Role = Role.CLASSIFY, **more: str) -> Prepared:
    """A released model, a user with a role, and the environment; ``more`` are variables."""
    settings = Settings(root=place, state=place / "var", users_file=place / "users.json")
    add_user(place / "users.json", NAME, PASSWORD, role)
    release(settings, artefact or make_artefact(place / "artefact"), 1)
    environment = {
        "BLOODYSPY_ROOT": str(place),
        "BLOODYSPY_STATE": str(settings.state),
        "BLOODYSPY_USERS_FILE": str(settings.users_file),
        "BENTOML_HOME": str(settings.bentoml_home),
        **more,
    }
    return Prepared(settings, environment)


def release(settings: Settings, artefact: Artefact, version: int) -> None:
    """Tell the service."""
    packaging.store(artefact.path, version, settings)
    packaging.tell(version, settings)


def samples(url: str) -> dict[str, dict[Labels, float]]:
    """The metrics now: name of the sample, labels, value."""
    answer = httpx.get(f"{url}/metrics", timeout=30, trust_env=False)
    assert answer.status_code == 200
    found: dict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name][frozenset(sample.labels.items())] = sample.value
    return found


def total(url: str, name: str, **labels: str) -> float:
    """Sum of a metric's samples that have these labels."""
    return sum(value for found, value in samples(url)[name].items() if set(labels.items()) <= found)


def access_log(service: Service) -> list[dict[str, str | int | float | None]]:
    """The lines of JSON among what the service wrote."""
    return [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
