"""CycloneDX: what a model version is served with, as a software bill of materials (SBOM) that scanners read."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import NAMESPACE_OID, uuid5

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.errors import DossierError

SCHEMA = SchemaVersion.V1_6

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(\[[^\]]*\])?==(?P<version>[^\s;]+)\s*(;\s*(?P<marker>.+?))?\s*$")
_HASH = re.compile(r"\s--hash=sha256:([0-9a-f]{64})\b")


class Package(BaseModel):
    """One line of a lock."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    marker: str | None
    """Where it is installed, as ``sys_platform == 'win32'``; None where that is everywhere."""
    hashes: tuple[str, ...] = Field(min_length=1)
    """SHA-256 of each file that may be installed for it: wheels of several platforms and the source."""


class Subject(BaseModel):
    """The model version that a bill is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    digest: str
    """SHA-256, the artefact's identity."""
    properties: Mapping[str, str]
    """More of it, by names without a prefix."""


def read_lock(lock: str) -> tuple[Package, ...]:
    """The packages of a lock, in its order.

    Raises:
        DossierError: a line pins no version, or has no hash.
    """
    found: list[Package] = []
    for line in lock.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pinned = _PINNED.match(_HASH.sub("", line))
        hashes = tuple(_HASH.findall(line))
        if pinned is None or not hashes:
            raise DossierError(
                f"The lock has the line {' '.join(line.split())[:80]!r}, which is not a pinned package with SHA-256 "
                "hashes. Compile it again with `make lock`."
            )
        found.append(
            Package(name=pinned["name"], version=pinned["version"], marker=pinned["marker"], hashes=tuple(hashes))
        )
    return tuple(found)


def bill(subject: Subject, packages: Sequence[Package], made: datetime) -> str:
    """The bill as CycloneDX JSON.

    The same subject and packages give the same bytes but for the time; the serial number says so too.
    """
    root = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=subject.name,
        version=str(subject.version),
        bom_ref=f"{subject.name}@{subject.version}",
        hashes=[_sha256(subject.digest)],
        properties=[Property(name=f"bloodyspy:{name}", value=value) for name, value in subject.properties.items()],
    )
    components = [_component(package) for package in packages]
    content = "\n".join((subject.model_dump_json(), *(package.model_dump_json() for package in packages)))
    made_of = Bom(
        serial_number=uuid5(NAMESPACE_OID, content),
        metadata=BomMetaData(component=root, timestamp=made),
        components=components,
    )
    # A lock is flat: it does not say which package needs which, so all stand directly below the model.
    made_of.register_dependency(root, components)
    return make_outputter(made_of, OutputFormat.JSON, SCHEMA).output_as_string(indent=2) + "\n"


def _component(package: Package) -> Component:
    url = PackageURL("pypi", name=package.name, version=package.version)
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=url,
        bom_ref=url.to_string(),
        hashes=[_sha256(digest) for digest in package.hashes],
        # in CycloneDX's words: may not be installed
        scope=ComponentScope.OPTIONAL if package.marker else ComponentScope.REQUIRED,
        properties=[Property(name="bloodyspy:marker", value=package.marker)] if package.marker else [],
    )


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)
