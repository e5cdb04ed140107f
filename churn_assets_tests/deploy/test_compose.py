"""The compose stack's passwords: made once, kept, and all that the compose file asks for."""

import re
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from churn_assets_tests.conftest import ROOT
from churn_assets_tests.serving import churn_service, live_champion
from deploy.compose.__main__ import as_composed
from deploy.compose.platform import Platform, PlatformError

SCRIPT = ROOT / "deploy" / "compose" / "secrets.sh"


def secrets(folder: Path) -> dict[str, str | None]:
    subprocess.run([SCRIPT], cwd=folder, check=True)
    return dotenv_values(folder / ".env")


def test_passwords_are_long_different_private_and_stay(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GRAFANA_PASSWORD=mine\n")
    first = secrets(tmp_path)
    assert first["GRAFANA_PASSWORD"] == "mine"
    made = [v for k, v in first.items() if k.endswith("_PASSWORD") and v != "mine"]
    assert len(set(made)) == len(made) == 5
    assert all(re.fullmatch("[0-9a-f]{48}", value or "") for value in made)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert secrets(tmp_path) == first


def test_every_password_that_compose_insists_on_is_made(tmp_path: Path) -> None:
    asked = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yaml").read_text()))
    made = {name for name in secrets(tmp_path) if name.endswith("_PASSWORD")}
    assert asked == made


def test_the_curl_brings_the_key_that_the_service_asks_for(tmp_path: Path) -> None:
    live_champion(tmp_path)
    keys = {"CHURN_API_KEYS": ",".join(["one", "two"])}
    with churn_service(tmp_path, **keys) as service:
        platform = Platform(http=service.url)
        with pytest.raises(PlatformError, match="CHURN_API_KEYS"):
            platform.predict()
        assert 0 < platform._replace(key="two").predict()["churn chance"] < 1


def test_ports_key_and_window_are_those_that_compose_reads() -> None:
    found = as_composed(
        ["docker", "compose"],
        {
            "http": {
                "ports": [{"target": 9696, "published": "9800"}],
                "environment": {"CHURN_API_KEYS": "one, two"},  # pragma: allowlist secret
            },
            "mlflow": {"ports": [{"target": 5051, "published": "5052"}]},
            "dagster-code": {
                "environment": {"REPORT_TIME_WINDOW_MINUTES": "60", "MLFLOW_EXPERIMENT": "trial"}
            },
        },
    )
    assert found == Platform(
        ["docker", "compose"],
        http="http://127.0.0.1:9800",
        mlflow="http://127.0.0.1:5052",
        key="one",
        experiment="trial",
        report_minutes=60,
    )
