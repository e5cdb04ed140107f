"""What a model has learned from, as the yardstick for what it is asked: one Parquet file a model.

Inputs are compared with all customers the model was made from, scores only with those of
the test set: a model is surer of customers it was fitted on than of anybody else, and
that difference is not drift.
"""

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from bento.champion import Champion
from bento.customer import FEATURES
from bento.runner import ChurnRunner
from churn_assets.defs.monitoring.drift import SCORE, Values, compared_columns

if TYPE_CHECKING:
    import pandas as pd
    from mypy_boto3_s3 import S3Client

PREFIX = "reference/"
MOST_ROWS = 20_000
"""Most customers kept; chosen by a hash of their id."""


def build(customers: "pd.DataFrame", runner: ChurnRunner, most: int = MOST_ROWS) -> pa.Table:
    """Encoded features and the model's scores of a sample of `cleaned_features`.

    Columns: the 19 features (float32, unknown NaN), `full` and `core`: P(leave) of the
    customer as each tier sees it, null for customers the model was fitted on; `churned`.
    """
    from churn_assets.defs.training import dataset

    everybody = dataset.build(customers)
    _, unseen = dataset.split(everybody)
    data = dataset.sample(everybody, most)
    fitted = ~np.isin(data.ids, unseen.ids)
    columns = dict(zip(FEATURES, data.features.T, strict=True))
    scores = {
        tier: pa.array(runner.score_matrix(features), mask=fitted)
        for tier, features in dataset.tiers(data.features).items()
    }
    return pa.table({**columns, **scores, "churned": data.churned})


def made_from(champion: Champion, customers: "pd.DataFrame") -> bool:
    """Whether rows of `cleaned_features` are what a champion was made from."""
    from churn_assets.defs.training import dataset

    return dataset.fingerprint(dataset.build(customers)) == champion.data_sha256


def columns(reference: pa.Table, tier: str) -> dict[str, Values]:
    """The reference of one tier's compared columns."""
    found = {SCORE: reference[tier].drop_null()} | {name: reference[name] for name in FEATURES}
    return {name: found[name].to_numpy().astype(np.float64) for name in compared_columns(tier)}


def key_of(model_run_id: str) -> str:
    """The object that holds a model's reference."""
    return f"{PREFIX}{model_run_id}.parquet"


def save(s3: "S3Client", bucket: str, model_run_id: str, reference: pa.Table) -> None:
    """Keep the reference of a model."""
    body = io.BytesIO()
    pq.write_table(reference, body, compression="zstd")
    s3.put_object(Bucket=bucket, Key=key_of(model_run_id), Body=body.getvalue())


def load(s3: "S3Client", bucket: str, model_run_id: str) -> pa.Table | None:
    """The reference of a model, None when nobody has kept one."""
    try:
        response = s3.get_object(Bucket=bucket, Key=key_of(model_run_id))
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
            return None
        raise
    return pq.read_table(io.BytesIO(response["Body"].read()))
