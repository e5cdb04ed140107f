"""The repository keeps its own rules: help, settings, locks, floors."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values

from bento.settings import Settings, get_settings
from churn_assets_tests.conftest import ROOT

FORBIDDEN = {
    "bento": {"churn_assets", "stream_worker", "dagster", "mlflow", "pandas", "evidently"},
    "stream_worker": {"bento.service", "churn_assets", "dagster", "mlflow", "pandas", "evidently"},
    "churn_assets": {"stream_worker"},
}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {t for line in re.findall(r"^\.PHONY: (.+)$", makefile, re.M) for t in line.split()}
    assert {"install", "up", "down", "status", "logs", "reset", "demo", "test"} <= targets
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = dict(re.findall(r"^  \x1b\[36m(\S+) *\x1b\[0m (.+)$", shown, re.M))
    assert set(listed) == targets


def test_env_example_documents_every_setting_with_its_default() -> None:
    documented = dotenv_values(ROOT / ".env.example", interpolate=False)
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    assert set(fields) - set(documented) == set()
    defaults = {k: v for k, v in documented.items() if k in fields and v and k != "CHURN_HOME"}
    for name, text in defaults.items():
        field = fields[name]
        parsed = getattr(Settings.model_validate({name.lower(): text}), name.lower())
        assert parsed == field.default, f"{name}: {text!r} is not the default {field.default!r}"


@pytest.mark.parametrize("file", [".env.local", ".env.cloud"])
def test_env_files_set_only_documented_variables_and_no_secret(file: str) -> None:
    documented = dotenv_values(ROOT / ".env.example", interpolate=False)
    values = dotenv_values(ROOT / file, interpolate=False)
    assert set(values) <= set(documented)
    assert not values.get("MONGODB_URI")
    secrets = {values.get("AWS_ACCESS_KEY_ID"), values.get("AWS_SECRET_ACCESS_KEY")}
    assert secrets <= {None, "embedded"}


@pytest.mark.parametrize("reader", ["platform", "shell"])
def test_one_port_setting_changes_every_url(reader: str) -> None:
    names = ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "DAGSTER_HOME")
    show = f"import os; print(*map(os.environ.get, {names}))"
    env = {
        "PATH": "/usr/bin:/bin",
        "CHURN_HOME": "/tmp/elsewhere",
        "EMULATOR_PORT": "14000",
        "MLFLOW_PORT": "15000",
    }
    command = {
        "platform": [
            sys.executable,
            "-c",
            f"from bento.settings import get_settings; get_settings(); {show}",
        ],
        "shell": ["sh", "-c", f'set -a; . ./.env.local; exec "{sys.executable}" -c "{show}"'],
    }[reader]
    read = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert read.stdout.split() == [
        "http://127.0.0.1:14000",
        "http://127.0.0.1:15000",
        "/tmp/elsewhere/dagster",
    ]


def test_tests_do_not_read_the_users_settings(tmp_path: Path) -> None:
    assert get_settings().churn_home == tmp_path / "churn"
    assert (
        get_settings().mlflow_tracking_uri != Settings.model_fields["mlflow_tracking_uri"].default
    )


def test_locks_have_hashes_and_no_cuda() -> None:
    locks = [ROOT / "requirements.lock", *(ROOT / "deploy").rglob("*.lock")]
    assert len(locks) >= 4
    for lock in locks:
        text = lock.read_text()
        pins = re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==(\S+).*$", text, re.M)
        assert pins, lock
        assert len(re.findall(r"^[a-z0-9].*\\\n    --hash=sha256:", text, re.M)) == len(pins), lock
        assert not [name for name, _ in pins if re.match(r"nvidia-.*cu\d+", name)], lock
        assert "://" not in text, lock


def test_the_locks_of_servers_are_parts_of_the_whole() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9._-]+==[^\s;]+)", (ROOT / lock).read_text(), re.M))

    whole = pins("requirements.lock")
    for image in ("worker/requirements", "exporter/requirements", "serving"):
        # xgboost-cpu is the release without code for GPUs, of the same version
        held = {pin.replace("xgboost-cpu", "xgboost") for pin in pins(f"deploy/{image}.lock")}
        assert held <= whole, image
        assert not {p for p in held if re.match(r"(dagster|mlflow|pandas|evidently)", p)}, image


def test_no_tracked_file_names_a_package_index() -> None:
    hosts = re.compile(r"(pypi" + r"\.org|python" + r"hosted\.org|index-" + r"url\s*[=:]\s*http)")
    guilty = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.is_file() and hosts.search(path.read_text(errors="ignore"))
    ]
    assert guilty == []


def imports(folder: str) -> Iterator[tuple[str, str]]:
    """(file, imported module) for each import statement under a folder, wherever it stands."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield str(path.relative_to(ROOT)), alias.name
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield str(path.relative_to(ROOT)), node.module
                for alias in node.names:
                    yield str(path.relative_to(ROOT)), f"{node.module}.{alias.name}"


@pytest.mark.parametrize("floor", sorted(FORBIDDEN))
def test_no_floor_imports_a_higher_one(floor: str) -> None:
    found = list(imports(floor))
    assert found
    guilty = [
        f"{file} imports {module}"
        for file, module in found
        for name in FORBIDDEN[floor]
        if module == name or module.startswith(name + ".")
    ]
    assert guilty == []
