from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import boto3
import pytest

from churn_assets.defs.features.cleaning import clean
from churn_assets.defs.monitoring.labels import read_labels
from churn_assets.simulator import truth as module
from churn_assets.simulator.source import BATCH
from churn_assets.simulator.source import synthetic as without_fate
from churn_assets.simulator.truth import Truth, synthetic
from churn_assets.synthetic import customers
from churn_assets.synthetic.generator import NONE


def test_simulated_outcomes_arrive_as_labels(
    emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_ROWS", 40)
    truth = Truth(delay_s=0.0)
    asked = list(truth.customers(islice(synthetic(NONE, seed=3), 100)))
    assert truth.told == 80  # two files in passing
    truth.tell_the_rest()
    assert truth.told == 100

    s3 = boto3.client("s3")
    found: dict[str, int] = {}
    landed = datetime.now(UTC) + timedelta(seconds=1)
    for item in s3.list_objects_v2(Bucket="capstone", Prefix="labels/simulated-")["Contents"]:
        path = tmp_path / Path(item["Key"]).name
        s3.download_file("capstone", item["Key"], str(path))
        s3.delete_object(Bucket="capstone", Key=item["Key"])
        file = read_labels(path, landed)
        assert file.rejected.empty
        found |= dict(zip(file.labels["customer_id"], file.labels["churned"], strict=True))
    generated = clean(customers(BATCH, 3)).customers["churned"][:100]
    assert [found[str(customer.customer_id)] for customer in asked] == generated.tolist()
    assert 0 < sum(found.values()) < 100


def test_nobody_is_told_before_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = Truth(delay_s=3600.0)
    assert len(list(truth.customers(islice(synthetic(NONE, seed=3), 600)))) == 600
    assert truth.told == 0


def test_customers_are_those_of_the_plain_simulation_but_for_their_ids() -> None:
    plain = islice(without_fate(NONE, seed=4), 20)
    told = Truth(delay_s=3600.0).customers(islice(synthetic(NONE, seed=4), 20))
    for one, other in zip(plain, told, strict=True):
        assert one.credit_limit == other.credit_limit
        assert str(other.customer_id).startswith("simulated-")
