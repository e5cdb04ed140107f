"""Checks of deploy/k8s: rendered by kustomize, valid, every selector and name leads somewhere."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import yaml

from bento.settings import Settings
from deploy.check.cluster import K8S, instance, known, render, served_metrics
from deploy.check.framework import Check, CheckError, Fault, SkipError, run, tool
from deploy.check.manifests import Object, Pod, of, pods, selectors
from deploy.check.pods import OURS, faults, variables

OVERLAYS = ("local", "cloud")
RUN_POD = Path(__file__).with_name("run_pod.py")
DAGSTER = "churn-dagster:latest"
SPOILT_LABELS = "matchLabels:\n      app: workers"
UNKNOWN_VOLUME = "volumeMounts:\n            - name: hme"
UNBOUND = "  - kind: ServiceAccount\n    name: other"


def every_overlay(check: Callable[[Path, list[Object]], int]) -> Callable[[Path], int]:
    """A check of a tree that looks at all overlays."""

    def checked(root: Path) -> int:
        return sum(check(root, render(root, overlay)) for overlay in OVERLAYS)

    return checked


def refuse(found: Iterator[str]) -> None:
    """Raise `CheckError` with all sentences, if there are any."""
    if sentences := sorted(set(found)):
        raise CheckError("\n".join(sentences))


def valid(root: Path, objects: Sequence[Object]) -> int:
    """Every object is one of the API's, with no field that the API does not know."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "objects.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        run([tool("kubernetes-validate"), "--strict", "--quiet", path], root)
    return len(objects)


def linked(root: Path, objects: Sequence[Object]) -> int:
    """Every selector takes what it is meant to; run pods count, though Dagster makes them."""
    launcher = instance(objects)["run_launcher"]["config"]
    labels = launcher["run_k8s_config"]["pod_template_spec_metadata"]["labels"]
    made = [*pods(objects), Pod("run pods", labels, {"containers": []})]
    refuse(selectors(objects, made, served_metrics(root)))
    return len(objects)


def hardened(root: Path, objects: Sequence[Object]) -> int:
    """Every pod keeps to the rules, and its settings are ones that the servers start with."""
    names = known(root, objects)
    refuse(fault for pod in pods(objects) for fault in faults(pod, names))
    for each in of(objects, "ConfigMap"):
        if each["metadata"]["name"].startswith("churn-settings"):
            try:
                Settings.model_validate({k.lower(): v for k, v in each["data"].items()})
            except ValueError as error:
                raise CheckError(str(error)) from error
    return len(pods(objects))


def run_pod(root: Path, objects: Sequence[Object]) -> int:
    """The Job that Dagster's own launcher makes of dagster.yaml, held to the same rules."""
    names = known(root, objects)
    daemon = next(pod for pod in pods(objects) if pod.labels.get("app") == "dagster-daemon")
    asked = {
        "instance": instance(objects),
        "environment": variables(daemon.containers[0], names),
    }
    done = subprocess.run(  # noqa: S603 - our own command
        with_dagster(), input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CheckError(f"Dagster refuses dagster.yaml: {done.stderr.strip()[-1500:]}")
    job = json.loads(done.stdout.splitlines()[-1])
    valid(root, [job])
    refuse(fault for pod in pods([job]) for fault in faults(pod, names))
    return 1


def with_dagster() -> list[str | Path]:
    """The command that runs run_pod.py in the image that runs use."""
    docker = [tool("docker")]
    if not run([*docker, "image", "ls", "--quiet", DAGSTER], RUN_POD.parent):
        raise SkipError(f"there is no image {DAGSTER}: make images")
    program = ["python", "-c", RUN_POD.read_text()]
    return [*docker, "run", "--rm", "--interactive", "--network", "none", DAGSTER, *program]


def prometheus(root: Path) -> int:
    """Have promtool read what Prometheus will: its configuration beside the rules and the key."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "prometheus.yml"
        shutil.copy(root / K8S / "monitoring" / "prometheus.yml", config)
        shutil.copy(root / "deploy" / "prometheus" / "rules.yml", folder)
        config.with_name("scrape-key").touch()
        run([tool("promtool"), "check", "config", config], root)
    return 1


def same_images(root: Path, objects: Sequence[Object]) -> int:
    """Others' servers have the versions that the compose stack has."""
    compose = yaml.safe_load((root / "docker-compose.yaml").read_text())["services"]
    pinned = {each["image"] for each in compose.values() if "$" not in each["image"]}
    found = {c["image"] for pod in pods(objects) for c in pod.containers}
    theirs = {image for image in found if not OURS.match(image)}
    refuse(f"{image} is not in docker-compose.yaml" for image in theirs - pinned)
    return len(theirs)


BASE = f"{K8S}/base"
LOCAL = f"{K8S}/overlays/local"
CHECKS = (
    Check(
        "k8s-objects",
        every_overlay(valid),
        (
            Fault(f"{BASE}/http.yaml", "minReadySeconds: 5", "minReadySeconds: five"),
            Fault(f"{BASE}/worker.yaml", "terminationGracePeriodSeconds", "gracePeriodSeconds"),
            Fault(f"{BASE}/kustomization.yaml", "- http.yaml", "- htpp.yaml"),
            Fault(f"{K8S}/overlays/cloud/roles.yaml", "name: churn-http", "name: http"),
        ),
    ),
    Check(
        "k8s-selectors",
        every_overlay(linked),
        (
            Fault(f"{BASE}/http.yaml", "  selector:\n    app: http", "  selector:\n    app: htpp"),
            Fault(f"{BASE}/http.yaml", "targetPort: http", "targetPort: htpp"),
            Fault(f"{BASE}/worker.yaml", "matchLabels:\n      app: worker", SPOILT_LABELS),
            Fault(f"{BASE}/worker.yaml", "serviceName: worker-pods", "serviceName: workers"),
            Fault(f"{BASE}/worker.yaml", "behind_latest_max", "behind_latest_most"),
            Fault(f"{K8S}/prometheus-adapter-values.yaml", "Query: churn_stream", "Query: stream"),
            Fault(f"{BASE}/network.yaml", "dagster-run]", "dagster-runs]"),
            Fault(f"{BASE}/network.yaml", "- port: grpc", "- port: rpc"),
            Fault(f"{K8S}/monitoring/prometheus.yml", "http-pods]", "http-pod]"),
            Fault(f"{LOCAL}/hosts.yaml", "{name: mlflow, ", "{name: mlfow, "),
            Fault(f"{BASE}/accounts.yaml", "  - kind: ServiceAccount\n    name: churn", UNBOUND),
        ),
    ),
    Check(
        "k8s-pods",
        every_overlay(hardened),
        (
            Fault(f"{BASE}/reports.yaml", "name: reports-nginx", "name: report-nginx"),
            Fault(f"{BASE}/worker.yaml", "name: prediction-store", "name: predictions"),
            Fault(f"{K8S}/monitoring/grafana.yaml", "key: GRAFANA_PASSWORD", "key: PASSWORD"),
            Fault(f"{K8S}/secrets.example.env", "MONGODB_URI=", "MONGODB_URI=mongodb://mongodb"),
            Fault(f"{BASE}/exporter.yaml", "Name: churn-exporter", "Name: exporter"),
            Fault(f"{BASE}/exporter.yaml", "ClassName: churn-batch", "ClassName: batch"),
            Fault(f"{BASE}/exporter.yaml", "port: metrics", "port: metric"),
            Fault(f"{BASE}/exporter.yaml", "            limits:", "            limit:"),
            Fault(f"{BASE}/mlflow.yaml", "enableServiceLinks: false", "enableServiceLinks: true"),
            Fault(f"{BASE}/mlflow.yaml", "readOnlyRootFilesystem: true", "privileged: false"),
            Fault(f"{BASE}/mlflow.yaml", "runAsNonRoot: true", "runAsNonRoot: false"),
            Fault(
                f"{BASE}/dagster.yaml", "ServiceAccountToken: false", "ServiceAccountToken: true"
            ),
            Fault(
                f"{BASE}/dagster.yaml", "volumeMounts:\n            - name: home", UNKNOWN_VOLUME
            ),
            Fault(f"{LOCAL}/kustomization.yaml", "newTag: local", "newTag: latest"),
            Fault(f"{BASE}/settings.env", "LOG_PREDICTIONS", "LOG_PREDICTION"),
            Fault(f"{BASE}/settings.env", "TRAINING_WORKERS=4", "TRAINING_WORKERS=many"),
        ),
    ),
    Check(
        "k8s-images",
        every_overlay(same_images),
        (Fault(f"{LOCAL}/postgres.yaml", "postgres:17", "postgres:16"),),
    ),
    Check(
        "k8s-prometheus",
        prometheus,
        (
            Fault(f"{K8S}/monitoring/prometheus.yml", "type: SRV", "type: SVR"),
            Fault(f"{K8S}/monitoring/prometheus.yml", "credentials_file:", "key_file:"),
        ),
    ),
    Check(
        "k8s-run-pod",
        every_overlay(run_pod),
        (
            Fault(f"{BASE}/dagster/dagster.yaml", "job_image:", "image:"),
            Fault(f"{BASE}/dagster/dagster.yaml", "postgres_url:", "postgres_uri:"),
            Fault(f"{BASE}/dagster/dagster.yaml", "max_concurrent_runs: 4", "max_runs: 4"),
            Fault(f"{BASE}/dagster/dagster.yaml", "S3ComputeLogManager", "S3LogManager"),
            Fault(f"{BASE}/dagster/dagster.yaml", "ttl_seconds_after", "seconds_after"),
            Fault(f"{BASE}/dagster/dagster.yaml", "run_as_non_root: true", "run_as_user: 0"),
            Fault(f"{BASE}/dagster/dagster.yaml", "[dagster-database,", "[database,"),
            Fault(f"{BASE}/dagster/dagster.yaml", "- {env: CHURN_SETTINGS}", "- churn-settings"),
            Fault(f"{BASE}/dagster.yaml", "name: DAGSTER_INSTANCE", "name: INSTANCE"),
        ),
        needs_engine=True,
    ),
)
