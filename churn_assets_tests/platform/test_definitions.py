"""What Dagster loads is complete, described and free of warnings."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from churn_assets.definitions import defs
from churn_assets_tests.conftest import ROOT

GROUPS = {"ingest", "features", "training", "release", "monitoring"}
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def loaded() -> dg.Definitions:
    return defs()


def test_definitions_load(loaded: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(loaded)


def test_every_asset_is_described_grouped_and_owned(loaded: dg.Definitions) -> None:
    specs = loaded.resolve_all_asset_specs()
    assert {"raw_s3_data", "cleaned_features"} <= {spec.key.to_user_string() for spec in specs}
    faults = [
        f"{spec.key.to_user_string()}: {fault}"
        for spec in specs
        for fault, present in {
            "no description": spec.description,
            "no kinds": spec.kinds,
            "not in a known group": spec.group_name in GROUPS,
            "not owned by team:data-science": list(spec.owners) == ["team:data-science"],
        }.items()
        if not present
    ]
    assert faults == []


@pytest.mark.parametrize(
    "command",
    [["dagster", "definitions", "validate", "-w", "workspace.yaml"], ["dg", "check", "defs"]],
    ids=["dagster", "dg"],
)
def test_validation_passes_without_a_warning_of_ours(command: list[str]) -> None:
    name, *rest = command
    checked = subprocess.run(
        [str(BIN / name), *rest],
        cwd=ROOT,
        env={**os.environ, "VIRTUAL_ENV": str(BIN.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=170,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    superseded = ("Superseded", "SupersessionWarning")
    warned = [
        line
        for line in checked.stdout.splitlines()
        if "warning" in line.lower() and not any(word in line for word in superseded)
    ]
    assert warned == [], checked.stdout


def test_the_instance_runs_one_search_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "deploy" / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.default_pool_limit == 1
        assert not instance.telemetry_enabled
