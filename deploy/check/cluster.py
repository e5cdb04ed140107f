"""What deploy/k8s says, as the checks read it: rendered objects, secrets, metrics, variables."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from bento.settings import Settings
from deploy.check.framework import CheckError, SkipError, run, tool
from deploy.check.manifests import Object, of
from deploy.check.pods import Known

K8S = Path("deploy/k8s")
LIBRARIES = {
    "DAGSTER_INSTANCE",
    "DAGSTER_POSTGRES_URL",
    "DAGSTER_RUN_IMAGE",
    "DAGSTER_RUN_JOB_NAME",
    "CHURN_SETTINGS",
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_S3_ENDPOINT_URL",
    "MLFLOW_SERVER_ALLOWED_HOSTS",
    "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION",
    "POD_NAMESPACE",
}
"""Variables of MLflow's server and of base/dagster/dagster.yaml; .env.example has the others."""


def render(root: Path, overlay: str) -> list[Object]:
    """The objects of an overlay; `CheckError` when kustomize refuses it."""
    if shutil.which("kustomize"):
        command = [tool("kustomize"), "build"]
    else:
        command = [tool("kubectl"), "kustomize"]
        version = run([command[0], "version", "--client"], root)
        if not re.search(r"Kustomize Version: v([4-9]|\d\d)", version):
            raise SkipError("kubectl is older than kustomize 4: install kubectl 1.30 or kustomize")
    text = run([*command, root / K8S / "overlays" / overlay], root)
    return [cast(Object, each) for each in yaml.safe_load_all(text)]


def secrets(root: Path) -> dict[str, set[str]]:
    """Keys by secret, as secrets.example.env documents them."""
    found: dict[str, set[str]] = {}
    for line in (root / K8S / "secrets.example.env").read_text().splitlines():
        if heading := re.match(r"\[(.+?)\]", line):
            found[heading[1]] = keys = set()
        elif key := re.match(r"(\w+)=(.*)", line):
            if key[2]:
                raise CheckError(f"secrets.example.env: {key[1]} has a value")
            keys.add(key[1])
    return found


def served_metrics(root: Path) -> set[str]:
    """What prometheus-adapter serves; `CheckError` when it is made of what no worker has."""
    values = yaml.safe_load((root / K8S / "prometheus-adapter-values.yaml").read_text())
    known = (root / "stream_worker" / "metrics.py").read_text()
    served = set()
    for rule in values["rules"]["external"]:
        series = rule["seriesQuery"].partition("{")[0]
        if f'"{series}"' not in known:
            raise CheckError(f"prometheus-adapter: no worker has {series}")
        served.add(rule["name"]["as"])
    return served


def instance(objects: Sequence[Object]) -> dict[str, Any]:
    """Dagster's instance, out of its ConfigMap."""
    for each in of(objects, "ConfigMap"):
        if "dagster.yaml" in each.get("data", {}):
            return cast("dict[str, Any]", yaml.safe_load(each["data"]["dagster.yaml"]))
    raise CheckError("no ConfigMap holds dagster.yaml")


def known(root: Path, objects: Sequence[Object]) -> Known:
    """What the pods of an overlay may name."""
    documented = re.findall(r"^(\w+)=", (root / ".env.example").read_text(), re.M)
    fields = {name.upper() for name in Settings.model_fields}
    return Known(objects, secrets(root), {*documented, *fields, *LIBRARIES})
