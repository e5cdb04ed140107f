"""Checks of every tracked file by its kind: YAML, JSON, TOML, shell scripts, secrets."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from deploy.check.framework import Check, CheckError, Fault, run, tool, tracked

SHEBANG = re.compile(rb"#!\s*(/usr)?/bin/(env\s+)?(ba)?sh\b")
NO_SECRETS = r"^(embedded|test|secret|password|mine|check|checked|secretsmanager:\w+)$"
"""Keys that the AWS emulator accepts, as it does any, passwords of tests, an action of AWS."""
REFERENCE = r"\bsecretName\b"
"""Lines of Kubernetes' that say which secret, not what it is."""
NO_SECRETS_IN = r"^churn_assets_tests/stream_worker/test_scoring\.py$"
"""A record of the predecessor's in base64."""


def yaml_files(root: Path) -> int:
    """Run yamllint on all YAML; templates of Helm are no YAML and have their own check."""
    found = [path for path in tracked(root) if path.suffix in {".yml", ".yaml"}]
    found = [path for path in found if "templates" not in path.parts]
    run([tool("yamllint"), "--strict", "--config-file", root / ".yamllint", *found], root)
    return len(found)


def parsed(suffix: str, parse: Callable[[str], object]) -> Callable[[Path], int]:
    """A check that all files of a kind can be read by `parse`."""

    def check(root: Path) -> int:
        found = [path for path in tracked(root) if path.suffix == suffix]
        for path in found:
            try:
                parse(path.read_text())
            except ValueError as error:
                raise CheckError(f"{path.relative_to(root)}: {error}") from error
        return len(found)

    return check


def shell_scripts(root: Path) -> int:
    """Run shellcheck on what a shell runs; files that a script sources exist where it runs."""
    found = [path for path in tracked(root) if is_shell_script(path)]
    run([tool("shellcheck"), "--exclude", "SC1091", *found], root)
    return len(found)


def is_shell_script(path: Path) -> bool:
    """Whether the file is for a shell, by its ending or its first line."""
    with path.open("rb") as file:
        return path.suffix == ".sh" or SHEBANG.match(file.readline()) is not None


def secrets(root: Path) -> int:
    """Look for secrets; what is none is marked where it stands (`pragma: allowlist secret`).

    Locks are left out: their hashes are all that looks like one.
    """
    found = [path for path in tracked(root) if path.suffix not in {".lock", ".png"}]
    names = [path.relative_to(root) for path in found]
    hook = [tool("detect-secrets-hook"), "--no-verify", "--cores", "1"]
    excluded = {"secrets": NO_SECRETS, "lines": REFERENCE, "files": NO_SECRETS_IN}
    options = [
        part for what, pattern in excluded.items() for part in (f"--exclude-{what}", pattern)
    ]
    run([*hook, *options, "--", *names], root)
    return len(found)


AWS_KEY = "AKIA" + "IOSFODNN7EXAMPLE"
"""Amazon's own example of a key, in two parts: else this file would hold one."""
GUESSABLE = "hunter2"

CHECKS = (
    Check(
        "yaml",
        yaml_files,
        (
            Fault("deploy/prometheus/rules.yml", "  - name: drift", "   - name: drift"),
            Fault("deploy/dagster.yaml", "telemetry:", "telemetry: {}\ntelemetry:"),
        ),
    ),
    Check(
        "json",
        parsed(".json", json.loads),
        (Fault("deploy/grafana/dashboards/churn-drift.json", '"title":', '"title"'),),
    ),
    Check(
        "toml",
        parsed(".toml", tomllib.loads),
        (Fault("pyproject.toml", "[tool.ruff]", "[tool.ruff"),),
    ),
    Check(
        "shell",
        shell_scripts,
        (
            Fault("deploy/lock.sh", '"$scratch/no-gpu"', "$scratch/no-gpu"),
            Fault(".ci/run", 'cd "$(dirname "$0")/.."', "cd $(dirname $0)/.."),
        ),
    ),
    Check(
        "secrets",
        secrets,
        (
            Fault(".env.cloud", "", f"\nAWS_ACCESS_KEY_ID={AWS_KEY}\n"),
            Fault(".env.cloud", "", f"\nMONGODB_URI=mongodb://churn:{GUESSABLE}@db/\n"),
            Fault("bento/settings.py", "", f"\nPASSWORD = '{GUESSABLE}'\n"),
        ),
    ),
)
