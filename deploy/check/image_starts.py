"""Starting the images: servers beside the emulator, the function behind Lambda's runtime API."""

import base64
import json
import os
import queue
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from churn_assets_tests.champions import make_champion
from deploy.check.framework import CheckError, run
from deploy.check.lambda_runtime import runtime_api

PATIENCE_S = 45.0
GOLDEN = "deploy/delivery/golden.json"
READ_ONLY = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")  # noqa: S108 - the container's
AWS = {
    "AWS_ENDPOINT_URL": "http://emulator:4566",
    "AWS_ACCESS_KEY_ID": "embedded",
    "AWS_SECRET_ACCESS_KEY": "embedded",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "CHAMPION_FOLDER": "/champion",
}
ASK = """
import sys, urllib.request
request = urllib.request.Request("http://127.0.0.1:9696/predict", sys.argv[1].encode())
request.add_header("Content-Type", "application/json")
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""


def start(root: Path, images: Mapping[str, str]) -> int:
    """Start every server; returns how many answered their health check, and one prediction."""
    servers = {name: image for name, image in images.items() if name != "lambda"}
    network = f"churn-check-{uuid.uuid4().hex[:8]}"
    run(["docker", "network", "create", network], root)
    try:
        with champion() as folder:
            _start(root, servers, network, folder)
    finally:
        _remove(root, network)
    return len(servers) + 1


def _start(root: Path, servers: Mapping[str, str], network: str, folder: Path) -> None:
    for name in sorted(servers, key=lambda name: name != "emulator"):
        settings = {} if name == "emulator" else AWS
        run(
            ["docker", "run", "--detach", "--name", f"{network}-{name}", "--network", network]
            + ["--network-alias", name, *READ_ONLY, "--volume", f"{folder}:/champion:ro"]
            + [f"--env={key}={value}" for key, value in settings.items()]
            + [servers[name]],
            root,
        )
    for name in servers:
        _healthy(root, f"{network}-{name}")
    golden = json.loads((root / GOLDEN).read_text())[0]["customer"]
    http = ["docker", "exec", f"{network}-http", "python", "-c", ASK]
    answer = run([*http, json.dumps(golden)], root)
    if not 0 < json.loads(answer)["churn chance"] < 1:
        raise CheckError(f"http: no chance: {answer}")


def _healthy(root: Path, container: str) -> None:
    """Wait until the image's own health check passes; raises `CheckError` with the last lines."""
    shape = "{{json .Config.Healthcheck.Test}}"
    test = json.loads(run(["docker", "inspect", "--format", shape, container], root))
    if test[0] != "CMD":
        raise CheckError(f"{container}: HEALTHCHECK needs a shell")
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            run(["docker", "exec", container, *test[1:]], root, timeout=30)
        except CheckError as error:
            if time.monotonic() > until or "is not running" in str(error):
                logs = run(["docker", "logs", "--tail", "5", container], root)
                raise CheckError(f"{container} is not healthy: {error}\n{logs}") from error
            time.sleep(1)
        else:
            return


def _remove(root: Path, network: str) -> None:
    names = run(["docker", "ps", "--all", "--quiet", "--filter", f"name={network}-"], root).split()
    if names:
        run(["docker", "rm", "--force", "--volumes", *names], root)
    run(["docker", "network", "rm", network], root)


def invoke(root: Path, image: str) -> int:
    """Invoke the function with a customer of `TEST_RUN`; returns how many answers came."""
    golden = json.loads((root / GOLDEN).read_text())[0]["customer"]
    name = f"churn-check-{uuid.uuid4().hex[:8]}"
    settings = AWS | {"TEST_RUN": "true", "AWS_LAMBDA_FUNCTION_NAME": "churn"}
    with champion() as folder, runtime_api(kinesis_event(golden)) as (address, posted):
        settings["AWS_LAMBDA_RUNTIME_API"] = address
        run(
            ["docker", "run", "--detach", "--name", name, "--network", "host", *READ_ONLY]
            + ["--volume", f"{folder}:/champion:ro"]
            + [f"--env={key}={value}" for key, value in settings.items()]
            + [image],
            root,
        )
        try:
            kind, body = posted.get(timeout=PATIENCE_S)
        except queue.Empty:
            logs = run(["docker", "logs", "--tail", "10", name], root)
            raise CheckError(f"lambda: no answer in {PATIENCE_S:.0f} s\n{logs}") from None
        finally:
            run(["docker", "rm", "--force", name], root)
    if kind != "response" or golden["customer_id"] not in json.dumps(body):
        raise CheckError(f"lambda: {kind} {body}")
    return 1


def kinesis_event(customer: dict[str, Any]) -> dict[str, Any]:
    """What Lambda hands over of a stream with one customer in it."""
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "1",
                    "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
                    "data": base64.b64encode(json.dumps(customer).encode()).decode(),
                    "approximateArrivalTimestamp": 1545084650.987,
                },
                "eventSource": "aws:kinesis",
                "eventID": "shardId-000000000006:49590338271490256608559692538361571095921575989",
                "eventName": "aws:kinesis:record",
                "eventSourceARN": "arn:aws:kinesis:us-east-2:111122223333:stream/predictions",
            }
        ]
    }


@contextmanager
def champion() -> Iterator[Path]:
    """A champion on made-up customers, readable to the containers' users."""
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "champion"
        make_champion(folder)
        for path in (Path(top), folder, *folder.iterdir()):
            os.chmod(path, 0o755)  # noqa: PTH101, S103 - a model is no secret
        yield folder
