"""deploy/k8s: what the selector test finds, and what must hold of the rendered objects."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bento.settings import Settings
from churn_assets_tests.conftest import ROOT
from deploy.check.cluster import render
from deploy.check.framework import SkipError
from deploy.check.manifests import Object, matches, network, of, pods, scraped, services

SECRETS = ROOT / "deploy" / "k8s" / "secrets.sh"


def workload(app: str, *ports: dict[str, Any]) -> Object:
    return {
        "kind": "Deployment",
        "metadata": {"name": app},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "template": {
                "metadata": {"labels": {"app": app}},
                "spec": {"containers": [{"name": app, "ports": list(ports)}]},
            },
        },
    }


WEB = workload("web", {"name": "http", "containerPort": 80})
JOB = workload("job")


def service(selector: dict[str, str], target: str | int) -> Object:
    spec = {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": target}]}
    return {"kind": "Service", "metadata": {"name": "web"}, "spec": spec}


@pytest.mark.parametrize(
    ("selector", "taken"),
    [
        ({"app": "web"}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "x"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({}, True),
    ],
)
def test_a_selector_takes_what_the_api_would(selector: Object, taken: bool) -> None:
    assert matches(selector, {"app": "web"}) is taken


@pytest.mark.parametrize(
    ("selector", "target", "fault"),
    [
        ({"app": "web"}, "http", None),
        ({"app": "web"}, 80, None),
        ({"app": "wbe"}, "http", "Service/web: {'app': 'wbe'} matches no pod"),
        ({"app": "web"}, "https", "Service/web: Deployment/web has no port https"),
        ({"app": "job"}, 80, "Service/web: Deployment/job has no port 80"),
    ],
)
def test_a_service_needs_a_pod_with_its_port(
    selector: dict[str, str], target: str | int, fault: str | None
) -> None:
    objects = [WEB, JOB, service(selector, target)]
    assert list(services(objects, pods(objects))) == ([fault] if fault else [])


def test_one_mistyped_pod_of_a_list_is_found_though_the_others_match() -> None:
    peers = [{"key": "app", "operator": "In", "values": ["job", "jbo"]}]
    policy = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "web"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [
                {
                    "from": [{"podSelector": {"matchExpressions": peers}}],
                    "ports": [{"port": "htpp"}],
                }
            ],
        },
    }
    objects = [WEB, JOB, policy]
    assert list(network(objects, pods(objects))) == [
        "NetworkPolicy/web: app=jbo is no pod's label",
        "NetworkPolicy/web: Deployment/web has no port htpp",
    ]


def test_prometheus_asks_dns_only_for_services_that_there_are() -> None:
    config = 'names: [_http._tcp.web]\nnames: [_metrics._tcp.web]\ntargets: ["web:80", "wbe:80"]'
    config = config.replace('"web:80", "wbe:80"', '"wbe:80"')
    held = {"kind": "ConfigMap", "metadata": {"name": "p"}, "data": {"prometheus.yml": config}}
    objects = [WEB, service({"app": "web"}, 80), held]
    assert list(scraped(objects)) == ["ConfigMap/p: no wbe:80", "ConfigMap/p: no web:metrics"]


@pytest.fixture(params=["local", "cloud"])
def overlay(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(ROOT, request.param)


def rendered(root: Path, name: str) -> list[Object]:
    try:
        return render(root, name)
    except SkipError as reason:
        pytest.skip(str(reason))


def named(objects: list[Object], kind: str, name: str) -> Any:
    return next(each for each in of(objects, kind) if each["metadata"]["name"] == name)


def container(objects: list[Object], app: str) -> Any:
    return next(p for p in pods(objects) if p.labels.get("app") == app).containers[0]


def test_predictions_that_wait_outlive_pods_scaling_and_deletion(overlay: list[Object]) -> None:
    for name in ("http", "worker"):
        spec = named(overlay, "StatefulSet", name)["spec"]
        assert spec["persistentVolumeClaimRetentionPolicy"] == {
            "whenScaled": "Retain",
            "whenDeleted": "Retain",
        }
        (claim,) = spec["volumeClaimTemplates"]
        mounts = {m["name"]: m["mountPath"] for m in container(overlay, name)["volumeMounts"]}
        assert mounts[claim["metadata"]["name"]] == "/var/lib/churn"
        size = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) * 2**30
        assert size >= 2 * Settings.model_fields["outbox_max_bytes"].default


def test_autoscalers_are_not_fought_by_a_fixed_number(overlay: list[Object]) -> None:
    for scaler in of(overlay, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert "replicas" not in named(overlay, target["kind"], target["name"])["spec"]


def test_run_pods_have_the_image_and_the_settings_of_the_daemon(overlay: list[Object]) -> None:
    daemon = container(overlay, "dagster-daemon")
    given = {each["name"]: each.get("value") for each in daemon["env"]}
    assert given["DAGSTER_RUN_IMAGE"] == daemon["image"]
    assert given["CHURN_SETTINGS"] == daemon["envFrom"][0]["configMapRef"]["name"]
    assert named(overlay, "ConfigMap", given["DAGSTER_INSTANCE"])["data"].keys() == {
        "dagster.yaml",
        "workspace.yaml",
    }


def test_another_run_id_rolls_the_servers_and_no_database(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("*.lock"))
    before = {pod.owner: pod.spec for pod in pods(rendered(tmp_path, "local"))}
    settings = tmp_path / "deploy" / "k8s" / "base" / "settings.env"
    settings.write_text(settings.read_text().replace("RUN_ID=\n", "RUN_ID=0123abcd\n"))
    after = {pod.owner: pod.spec for pod in pods(rendered(tmp_path, "local"))}
    rolled = {owner for owner, spec in after.items() if spec != before[owner]}
    assert {"StatefulSet/http", "StatefulSet/worker"} <= rolled
    assert not rolled & {f"StatefulSet/{name}" for name in ("postgres", "mongodb", "emulator")}


def test_secrets_come_through_the_shell_as_they_are(tmp_path: Path) -> None:
    value = r"""p"a\ss'w=o$HOME#rd: {x}"""
    file = tmp_path / "secrets.env"
    file.write_text(f"# why\n[one] [local]\n# MORE=1\nURL={value}\n\n[two]\nkey=\n")
    printed = subprocess.run([SECRETS, file], capture_output=True, text=True, check=True).stdout
    found = {each["metadata"]["name"]: each for each in yaml.safe_load_all(printed)}
    assert found["one"]["stringData"] == {"URL": value}
    assert found["two"]["stringData"] == {"key": ""}
    assert {each["kind"] for each in found.values()} == {"Secret"}
