"""What Kubernetes does not tell: selectors and references that lead nowhere, in plain objects.

An API server takes a Service whose selector matches no pod, and a pod whose ConfigMap does
not exist; both only fail to work. Every function yields a sentence a fault.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Object = Mapping[str, Any]
WORKLOADS = ("DaemonSet", "Deployment", "Job", "StatefulSet")


class Pod(NamedTuple):
    """A pod that something makes; `spec` as in the API."""

    owner: str
    labels: Mapping[str, str]
    spec: Object

    @property
    def containers(self) -> list[Object]:
        """Init containers first."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ports(self) -> set[str | int]:
        """Names and numbers of the ports that its containers declare."""
        declared = [port for each in self.containers for port in each.get("ports", [])]
        return {port["name"] for port in declared} | {port["containerPort"] for port in declared}


def named(each: Object) -> str:
    """How a person calls an object."""
    return f"{each['kind']}/{each['metadata']['name']}"


def of(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def names(objects: Sequence[Object], *kinds: str) -> set[str]:
    """The names of the objects of these kinds."""
    return {each["metadata"]["name"] for each in of(objects, *kinds)}


def pods(objects: Sequence[Object]) -> list[Pod]:
    """The pods that workloads make, with the volumes that a set claims for each."""
    found = []
    for each in of(objects, *WORKLOADS):
        template = each["spec"]["template"]
        claims = [c["metadata"]["name"] for c in each["spec"].get("volumeClaimTemplates", [])]
        volumes = [*template["spec"].get("volumes", []), *({"name": claim} for claim in claims)]
        spec = {**template["spec"], "volumes": volumes}
        found.append(Pod(named(each), template["metadata"].get("labels", {}), spec))
    return found


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector, in either of the API's two forms, takes a pod."""
    if not selector.keys() <= {"matchLabels", "matchExpressions"}:
        selector = {"matchLabels": selector}
    exact = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in exact.items()) and all(
        (labels.get(each["key"]) in each["values"]) == (each["operator"] == "In")
        for each in selector.get("matchExpressions", [])
    )


def taken(selector: Object, made: Sequence[Pod]) -> list[Pod]:
    """The pods that a selector takes."""
    return [pod for pod in made if matches(selector, pod.labels)]


def unmatched(selector: Object, made: Sequence[Pod]) -> Iterator[str]:
    """What of a selector takes no pod: all of it, or one value of a list."""
    if not taken(selector, made):
        yield f"{dict(selector)} matches no pod"
    for each in selector.get("matchExpressions", []):
        for value in each["values"]:
            if not any(pod.labels.get(each["key"]) == value for pod in made):
                yield f"{each['key']}={value} is no pod's label"


def services(objects: Sequence[Object], made: Sequence[Pod]) -> Iterator[str]:
    """Services take pods that have their ports."""
    for service in of(objects, "Service"):
        found = taken(service["spec"]["selector"], made)
        if not found:
            yield f"{named(service)}: {service['spec']['selector']} matches no pod"
        for pod in found:
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in pod.ports:
                    yield f"{named(service)}: {pod.owner} has no port {port['targetPort']}"


def workloads(objects: Sequence[Object], made: Sequence[Pod]) -> Iterator[str]:
    """Workloads take the pods that they make; so do spread constraints, and a set's Service."""
    for each, pod in zip(of(objects, *WORKLOADS), pods(objects), strict=True):
        spread = [c["labelSelector"] for c in pod.spec.get("topologySpreadConstraints", [])]
        for selector in (each["spec"].get("selector"), *spread):
            if selector and not matches(selector, pod.labels):
                yield f"{named(each)}: {selector} does not match its own pods"
        if each["kind"] == "StatefulSet":
            governing = each["spec"]["serviceName"]
            if governing not in names(objects, "Service"):
                yield f"{named(each)}: there is no Service/{governing}"
    for budget in of(objects, "PodDisruptionBudget"):
        for fault in unmatched(budget["spec"]["selector"], made):
            yield f"{named(budget)}: {fault}"


def network(objects: Sequence[Object], made: Sequence[Pod]) -> Iterator[str]:
    """Network policies take pods, let in pods that there are, and name ports that those have."""
    for policy in of(objects, "NetworkPolicy"):
        spec = policy["spec"]
        faults = list(unmatched(spec["podSelector"], made))
        rules = [*spec.get("ingress", []), *spec.get("egress", [])]
        for peer in (p for rule in rules for p in (*rule.get("from", []), *rule.get("to", []))):
            if "podSelector" in peer and "namespaceSelector" not in peer:
                faults += unmatched(peer["podSelector"], made)
        for rule in spec.get("ingress", []):
            for port in rule.get("ports", []):
                for pod in taken(spec["podSelector"], made):
                    if port["port"] not in pod.ports:
                        faults.append(f"{pod.owner} has no port {port['port']}")
        yield from (f"{named(policy)}: {fault}" for fault in faults)


def autoscalers(objects: Sequence[Object], metrics: set[str]) -> Iterator[str]:
    """Autoscalers have a target, and an outside metric that the adapter serves."""
    for scaler in of(objects, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        if target["name"] not in names(objects, target["kind"]):
            yield f"{named(scaler)}: there is no {target['kind']}/{target['name']}"
        for each in scaler["spec"]["metrics"]:
            if each["type"] == "External" and each["external"]["metric"]["name"] not in metrics:
                yield f"{named(scaler)}: nobody serves {each['external']['metric']['name']}"


def ingresses(objects: Sequence[Object]) -> Iterator[str]:
    """Ingresses lead to Services and to ports of theirs."""
    ports = {
        each["metadata"]["name"]: {port["name"] for port in each["spec"]["ports"]}
        for each in of(objects, "Service")
    }
    for ingress in of(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                if service["port"]["name"] not in ports.get(service["name"], ()):
                    yield f"{named(ingress)}: no {service['name']}:{service['port']['name']}"


def bindings(objects: Sequence[Object]) -> Iterator[str]:
    """Role bindings bind a role to accounts that there are."""
    for binding in of(objects, "RoleBinding"):
        for each in (binding["roleRef"], *binding["subjects"]):
            if each["name"] not in names(objects, each["kind"]):
                yield f"{named(binding)}: there is no {each['kind']}/{each['name']}"


def scraped(objects: Sequence[Object]) -> Iterator[str]:
    """What Prometheus asks DNS for is a Service, by the name or the number of a port of it."""
    ports = {
        f"{each['metadata']['name']}:{port[key]}"
        for each in of(objects, "Service")
        for port in each["spec"]["ports"]
        for key in ("name", "port")
    }
    for each in of(objects, "ConfigMap"):
        config = each.get("data", {}).get("prometheus.yml", "")
        asked = {f"{name}:{port}" for port, name in re.findall(r"_(\w+)\._tcp\.([\w-]+)", config)}
        asked |= set(re.findall(r'\["([a-z][\w-]*:\d+)"\]', config))
        yield from (f"{named(each)}: no {target}" for target in sorted(asked - ports))


def selectors(objects: Sequence[Object], made: Sequence[Pod], metrics: set[str]) -> Iterator[str]:
    """All of these: `made` are the pods, `metrics` what the metrics adapter serves."""
    yield from services(objects, made)
    yield from workloads(objects, made)
    yield from network(objects, made)
    yield from autoscalers(objects, metrics)
    yield from ingresses(objects)
    yield from bindings(objects)
    yield from scraped(objects)
