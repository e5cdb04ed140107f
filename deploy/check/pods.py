"""What a pod of ours must be: what it names exists, and it may do no more than it needs."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from deploy.check.manifests import Object, Pod, matches, names, of

OURS = re.compile(r"(.*/)?churn-[a-z]+:")
"""Images of ours: their environment is the settings'."""
API_PORT = 6443
PINNED = re.compile(r".+:(?!latest$)[\w.-]+")
REFERENCES = {
    "configMap": ("ConfigMap", "name"),
    "configMapRef": ("ConfigMap", "name"),
    "configMapKeyRef": ("ConfigMap", "name"),
    "secret": ("Secret", "secretName"),
    "secretRef": ("Secret", "name"),
    "secretKeyRef": ("Secret", "name"),
    "persistentVolumeClaim": ("PersistentVolumeClaim", "claimName"),
}


class Known(NamedTuple):
    """What pods may name."""

    objects: Sequence[Object]
    secrets: Mapping[str, set[str]]
    """Keys by secret."""
    variables: set[str]
    """Environment variables that something of ours reads."""


def faults(pod: Pod, known: Known) -> Iterator[str]:
    """Everything wrong with a pod, a sentence each."""
    for fault in (*_pod(pod, known), *_volumes(pod)):
        yield f"{pod.owner}: {fault}"
    for container in pod.containers:
        for fault in (
            *_container(container, pod),
            *_references(container, known),
            *_variables(container, known),
        ):
            yield f"{pod.owner}, container {container['name']}: {fault}"


def _pod(pod: Pod, known: Known) -> Iterator[str]:
    spec = pod.spec
    security = spec.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if spec.get("enableServiceLinks") is not False:
        yield "gets Services as variables: HTTP_PORT would be tcp://..."
    account = spec.get("serviceAccountName")
    if account and account not in names(known.objects, "ServiceAccount"):
        yield f"there is no ServiceAccount/{account}"
    if (spec.get("automountServiceAccountToken") is not False) != _calls_kubernetes(pod, known):
        yield "has a token for the cluster's API and no way there, or the reverse"
    priority = spec.get("priorityClassName")
    if priority not in names(known.objects, "PriorityClass"):
        yield f"there is no PriorityClass/{priority}"
    yield from _references({"volumes": spec.get("volumes", [])}, known)


def _calls_kubernetes(pod: Pod, known: Known) -> bool:
    """Whether a network policy lets the pod out to the cluster's API."""
    return any(
        port["port"] == API_PORT and matches(policy["spec"]["podSelector"], pod.labels)
        for policy in of(known.objects, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        for port in rule.get("ports", [])
    )


def _volumes(pod: Pod) -> Iterator[str]:
    given = {volume["name"] for volume in pod.spec.get("volumes", [])}
    mounted = {m["name"] for c in pod.containers for m in c.get("volumeMounts", [])}
    for name in mounted - given:
        yield f"there is no volume {name}"
    for name in given - mounted:
        yield f"nothing mounts the volume {name}"


def _container(container: Object, pod: Pod) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if not security.get("readOnlyRootFilesystem"):
        yield "may write to its image"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield "keeps capabilities"
    resources = container.get("resources", {})
    for kind in ("requests", "limits"):
        if missing := {"cpu", "memory"} - resources.get(kind, {}).keys():
            yield f"has no {kind} of {', '.join(sorted(missing))}"
    if not PINNED.fullmatch(container["image"]):
        yield f"{container['image']} is not pinned"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        how = container.get(probe, {})
        port = how.get("httpGet", how.get("tcpSocket", {})).get("port")
        if port is not None and port not in pod.ports:
            yield f"{probe}: there is no port {port}"


def _references(part: object, known: Known) -> Iterator[str]:
    """Whatever a part of a pod refers to by name."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key in REFERENCES and isinstance(value, Mapping):
                yield from _reference(key, value, known)
            else:
                yield from _references(value, known)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each, known)


def _reference(key: str, value: Object, known: Known) -> Iterator[str]:
    kind, field = REFERENCES[key]
    name = value.get(field) or value["name"]  # a projected secret has `name`
    if kind == "Secret":
        if name not in known.secrets:
            yield f"no Secret/{name} is documented"
            return
        held = known.secrets[name]
    else:
        found = [each for each in of(known.objects, kind) if each["metadata"]["name"] == name]
        if not found:
            yield f"there is no {kind}/{name}"
            return
        held = set(found[0].get("data", {}))
    wanted = {item["key"] for item in value.get("items", [])} | {value.get("key")} - {None}
    for missing in wanted - held:
        yield f"{kind}/{name} has no key {missing}"


def variables(container: Object, known: Known) -> dict[str, str]:
    """The environment that Kubernetes gives a container; what it cannot know yet is `unknown`."""
    given: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "secretRef" in source:
            keys = known.secrets.get(source["secretRef"]["name"], set())
            given |= dict.fromkeys(keys, "unknown")
            continue
        for each in of(known.objects, "ConfigMap"):
            if each["metadata"]["name"] == source["configMapRef"]["name"]:
                given |= each["data"]
    given |= {each["name"]: each.get("value", "unknown") for each in container.get("env", [])}
    return given


def _variables(container: Object, known: Known) -> Iterator[str]:
    """Every variable of our own containers is one that something reads."""
    if OURS.match(container["image"]):
        for name in sorted(variables(container, known).keys() - known.variables):
            yield f"nothing reads {name}"
