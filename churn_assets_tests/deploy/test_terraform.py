"""What Terraform's files and the code must say alike, beside what `deploy.check` compares."""

import re

import boto3
import pytest

from bento.settings import Settings
from churn_assets.defs.features import quarantine
from churn_assets.defs.monitoring import ground_truth, prediction_log, publishing, reference
from churn_assets.defs.resources.s3 import S3IOManager
from churn_assets_tests.conftest import ROOT
from stream_worker.leases import Leases

MODULE = ROOT / "deploy" / "terraform"
PERMISSIONS = (MODULE / "permissions.tf").read_text()


def test_dagster_may_write_where_it_writes_and_not_to_what_it_learns_from() -> None:
    [listed] = re.findall(r"for folder in \[(.*)\]", PERMISSIONS)
    folders = set(re.findall(r'"(\w+)"', listed))
    prefixes = {
        quarantine.PREFIX,
        ground_truth.QUARANTINE,
        ground_truth.PREFIX,
        prediction_log.PREFIX,
        publishing.REPORTS_PREFIX,
        reference.PREFIX,
        f"{S3IOManager.model_fields['prefix'].default}/",
    }
    written = {prefix.partition("/")[0] for prefix in prefixes}
    # raw files by assets.py, models by MLflow's artifact root, champions by CHAMPION_URI
    assert folders == written | {"raw", "mlflow", "champions"}
    settings = Settings()
    learned_from = (settings.feature_store_prefix, ground_truth.LABELS)
    assert not folders & {prefix.partition("/")[0] for prefix in learned_from}


def test_folders_that_settings_name_are_those_of_the_policies() -> None:
    settings = Settings()
    people = (MODULE / "people.tf").read_text()
    assert f'"${{local.bucket}}/{settings.dead_letter_prefix}*"' in PERMISSIONS
    for prefix in (settings.feature_store_prefix, ground_truth.LABELS, settings.dead_letter_prefix):
        assert f'"${{local.bucket}}/{prefix}*"' in people


def test_names_by_default_are_the_settings_own() -> None:
    settings, text = Settings(), (MODULE / "variables.tf").read_text()
    for name, default in (
        ("stream_in", settings.stream_in),
        ("stream_out", settings.stream_out),
        ("lease_table", settings.stream_lease_table),
    ):
        [found] = re.findall(rf'variable "{name}" {{[^}}]*default     = "(.*)"', text)
        assert found == default


@pytest.mark.usefixtures("emulator")
def test_the_lease_table_is_the_one_that_a_worker_would_make() -> None:
    client = boto3.client("dynamodb")
    Leases(client, "leases-of-a-worker", "predictions", "worker").create_table()
    made = client.describe_table(TableName="leases-of-a-worker")["Table"]
    text = (MODULE / "storage.tf").read_text()
    keys = {key["KeyType"].lower(): key["AttributeName"] for key in made["KeySchema"]}
    assert dict(re.findall(r'(hash|range)_key\s+= "(\w+)"', text)) == keys
    types = {key["AttributeName"]: key["AttributeType"] for key in made["AttributeDefinitions"]}
    assert dict(re.findall(r'attribute {\s+name = "(\w+)"\s+type = "(\w)"', text)) == types
    assert f'billing_mode = "{made["BillingModeSummary"]["BillingMode"]}"' in text
