"""What people are shown of the settings."""

import pytest

from bloodyspy.settings import Settings


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://bloody:q7/Zk+9x=@db:5432/audit", "postgresql://bloody:***@db:5432/audit"),
        ("postgresql://bloody:p@ss:w@rd@db/audit", "postgresql://bloody:***@db/audit"),
        ("postgresql://db/audit?user=bloody&password=q7/Zk", "postgresql://db/audit?user=bloody&password=***"),
        ("postgresql://bloody@db/audit", "postgresql://bloody@db/audit"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:///var/mlflow.db", "sqlite:///var/mlflow.db"),
    ],
)
def test_a_password_is_not_shown(uri: str, shown: str) -> None:
    settings = Settings(audit_uri=uri, mlflow_uri=uri, tuning_uri=uri)
    assert (settings.audit_place, settings.mlflow_place, settings.tuning_place) == (shown, shown, shown)
