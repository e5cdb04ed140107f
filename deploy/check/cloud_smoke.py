"""What the platform does in a cloud that Terraform has made, and that nothing outlives it.

With nothing but the settings that `terraform output -raw env` printed, a worker follows a
champion, answers a customer, keeps a dead letter and logs to the MongoDB of the secret.
With `--gone`: whether anything is left.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import boto3
import msgspec

from bento.champion import LivePointer
from bento.depot import Depot
from bento.settings import Settings
from bento.store import open_store
from churn_assets_tests.champions import make_champion, random_customers
from churn_assets_tests.conftest import free_port
from churn_assets_tests.serving import mongo_server
from churn_assets_tests.streaming import read_stream, stream_worker
from deploy.check.cloud import STATE_BUCKET, wait_for
from stream_worker.aws import Clients


def work(folder: Path) -> None:
    """One customer and one record that is none, from stream to stream."""
    settings, kinesis = Settings(), Clients().kinesis
    released = folder / "released" / "seed-0"
    champion = make_champion(released)
    depot = Depot(str(settings.champion_uri), folder / "released" / "live.json")
    depot.take_over()
    live = LivePointer("seed-0", "best_model-churn:1", champion.model_run_id)
    depot.add(released, live)
    depot.release(live, b"")

    port = free_port()
    secret: Any = boto3.client("secretsmanager")
    uri = f"mongodb://127.0.0.1:{port}"
    secret.put_secret_value(SecretId=os.environ["MONGODB_URI"], SecretString=uri)
    customer = msgspec.structs.replace(random_customers(1, 0)[0], customer_id=123)
    with mongo_server(folder / "mongo", port), stream_worker(folder / "churn", "worker"):
        for data in (b"no customer", msgspec.json.encode(customer)):
            kinesis.put_record(StreamName=settings.stream_in, PartitionKey="1", Data=data)
        answers: list[Any] = []

        def answered() -> bool:
            records = read_stream(kinesis, settings.stream_out).values()
            answers[:] = [msgspec.json.decode(record.data) for shard in records for record in shard]
            return bool(answers)

        wait_for(answered, "answer")
        wait_for(lambda: open_store(settings).count() == 1, "log row in the secret's MongoDB")
    [answer] = answers
    if (answer["customer_id"], answer["model_run_id"]) != (123, champion.model_run_id):
        raise SystemExit(f"not the champion's answer: {answer}")
    letters = boto3.client("s3").list_objects_v2(
        Bucket=settings.churn_bucket, Prefix=settings.dead_letter_prefix
    )
    if letters["KeyCount"] != 1:
        raise SystemExit(f"{letters['KeyCount']} dead letters instead of 1")


def left() -> list[str]:
    """What is there, beside the bucket of Terraform's state."""
    questions: tuple[tuple[str, str, dict[str, str], str], ...] = (
        ("s3", "list_buckets", {}, "Buckets"),
        ("kinesis", "list_streams", {}, "StreamNames"),
        ("dynamodb", "list_tables", {}, "TableNames"),
        ("ecr", "describe_repositories", {}, "repositories"),
        ("iam", "list_roles", {}, "Roles"),
        ("iam", "list_policies", {"Scope": "Local"}, "Policies"),
        ("iam", "list_instance_profiles", {}, "InstanceProfiles"),
        ("iam", "list_open_id_connect_providers", {}, "OpenIDConnectProviderList"),
        ("lambda", "list_functions", {}, "Functions"),
        ("lambda", "list_event_source_mappings", {}, "EventSourceMappings"),
        ("sqs", "list_queues", {}, "QueueUrls"),
        ("secretsmanager", "list_secrets", {}, "SecretList"),
        ("logs", "describe_log_groups", {}, "logGroups"),
        ("cloudwatch", "describe_alarms", {}, "MetricAlarms"),
    )
    found = []
    for service, method, arguments, key in questions:
        client: Any = boto3.client(service)  # type: ignore[call-overload]
        items = getattr(client, method)(**arguments).get(key, [])
        found += [f"{service}: {item}" for item in items if STATE_BUCKET not in str(item)]
    return found


def main() -> None:
    """Work, or look for what is left."""
    parser = argparse.ArgumentParser(prog="python -m deploy.check.cloud_smoke", description=__doc__)
    parser.add_argument("--gone", action="store_true", help="only look for what is left")
    if parser.parse_args().gone:
        if found := left():
            raise SystemExit("\n".join(["left behind:", *found]))
        return
    with tempfile.TemporaryDirectory(prefix="churn-smoke-") as folder:
        os.environ["CHURN_HOME"] = f"{folder}/churn"
        work(Path(folder))


if __name__ == "__main__":
    main()
