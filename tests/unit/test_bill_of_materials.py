"""A lock is read whole or refused, and becomes a bill that CycloneDX's own schema takes."""

import json
from datetime import UTC, datetime

import pytest
from cyclonedx.validation.json import JsonStrictValidator

from bloodyspy.adapters.bill_of_materials import SCHEMA, Package, Subject, bill, read_lock
from bloodyspy.errors import DossierError

A, B, C = "a" * 64, "b" * 64, "c" * 64
LOCK = f"""\
# a comment
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:{A}
uvicorn[standard]==0.54.0 \\
    --hash=sha256:{B} \\
    --hash=sha256:{C}
"""
MODEL = Subject(name="bloodyspy", version=3, digest="d" * 64, properties={"run_id": "r" * 32})
DAY = datetime(2026, 11, 23, tzinfo=UTC)


def test_a_lock_is_read() -> None:
    assert read_lock(LOCK) == (
        Package(name="colorama", version="0.4.6", marker="sys_platform == 'win32'", hashes=(A,)),
        Package(name="uvicorn", version="0.54.0", marker=None, hashes=(B, C)),
    )


@pytest.mark.parametrize(
    "line",
    [
        f"numpy>=2 --hash=sha256:{A}",
        "numpy==2.4.6",
        "numpy==2.4.6 --hash=sha256:abc",
        f"numpy @ https://example.org/numpy.whl --hash=sha256:{A}",
        f"-r other.txt --hash=sha256:{A}",
        f"numpy==2.4.6, <3 --hash=sha256:{A}",
    ],
)
def test_a_line_that_pins_nothing_is_refused(line: str) -> None:
    with pytest.raises(DossierError, match="not a pinned package"):
        read_lock(f"{LOCK}{line}\n")


def test_the_bill_is_one_of_cyclonedx() -> None:
    text = bill(MODEL, read_lock(LOCK), DAY)
    assert JsonStrictValidator(SCHEMA).validate_str(text) is None
    told = json.loads(text)
    root = told["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("machine-learning-model", "bloodyspy", "3")
    assert root["hashes"] == [{"alg": "SHA-256", "content": "d" * 64}]
    assert root["properties"] == [{"name": "bloodyspy:run_id", "value": "r" * 32}]
    windows, server = told["components"]
    assert (windows["purl"], windows["scope"]) == ("pkg:pypi/colorama@0.4.6", "optional")
    assert windows["properties"] == [{"name": "bloodyspy:marker", "value": "sys_platform == 'win32'"}]
    assert (server["purl"], server["scope"]) == ("pkg:pypi/uvicorn@0.54.0", "required")
    assert [found["content"] for found in server["hashes"]] == [B, C]
    needed = {entry["ref"]: entry.get("dependsOn") for entry in told["dependencies"]}
    assert needed[root["bom-ref"]] == [windows["purl"], server["purl"]]


def test_the_validator_finds_what_is_wrong() -> None:
    text = bill(MODEL, read_lock(LOCK), DAY)
    for was, becomes in (("SHA-256", "SHA-257"), ('"library"', '"book"'), ('"purl"', '"pearl"')):
        assert was in text
        assert JsonStrictValidator(SCHEMA).validate_str(text.replace(was, becomes)) is not None


def test_the_same_gives_the_same_bytes_and_another_another_serial_number() -> None:
    packages = read_lock(LOCK)
    text = bill(MODEL, packages, DAY)
    assert bill(MODEL, packages, DAY) == text
    other = bill(MODEL, packages[:1], DAY)
    assert json.loads(other)["serialNumber"] != json.loads(text)["serialNumber"]
