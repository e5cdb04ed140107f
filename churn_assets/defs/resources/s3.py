"""S3: the feature store, and where Dagster keeps what assets return.

Endpoint, region and credentials come from boto3's own environment variables
(`AWS_ENDPOINT_URL`, ...), so the same code talks to AWS and to an emulator.
"""

import io
import json
from typing import Any

import dagster as dg
import pandas as pd
from dagster_aws.s3 import S3Resource
from dagster_aws.s3.io_manager import PickledObjectS3IOManager
from upath import UPath

from bento.settings import get_settings

_PARQUET = b"PAR1"


class ObjectS3IOManager(PickledObjectS3IOManager):
    """Data frames as Parquet, everything else as JSON: readable by any tool, unlike pickle."""

    def dump_to_path(
        self,
        context: dg.OutputContext,  # noqa: ARG002 - the base class names the arguments
        obj: Any,
        path: UPath,
    ) -> None:
        """Write one asset's value; raises `TypeError` for what JSON cannot hold."""
        body = (
            obj.to_parquet(index=False)
            if isinstance(obj, pd.DataFrame)
            else json.dumps(obj, indent=2, allow_nan=False).encode()
        )
        self.s3.put_object(Bucket=self.bucket, Key=path.as_posix(), Body=body)

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Any:  # noqa: ARG002
        """Read one asset's value; `FileNotFoundError` when it was never materialized."""
        try:
            response = self.s3.get_object(Bucket=self.bucket, Key=path.as_posix())
        except self.s3.exceptions.NoSuchKey:
            raise FileNotFoundError(f"{self._uri_for_path(path)}: materialize it first") from None
        body = response["Body"].read()
        if body.startswith(_PARQUET):
            return pd.read_parquet(io.BytesIO(body))
        return json.loads(body)


class S3IOManager(dg.ConfigurableIOManager):
    """Keeps assets under `dagster/` in the platform's bucket."""

    s3: dg.ResourceDependency[S3Resource]
    bucket: str
    prefix: str = "dagster"

    def _inner(self) -> ObjectS3IOManager:
        return ObjectS3IOManager(self.bucket, self.s3.get_client(), self.prefix)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store one asset's value."""
        self._inner().handle_output(context, obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """Load one asset's value, or a dictionary of them by partition."""
        return self._inner().load_input(context)


@dg.definitions
def defs() -> dg.Definitions:
    """`s3` and `io_manager`."""
    s3 = S3Resource()
    return dg.Definitions(
        resources={"s3": s3, "io_manager": S3IOManager(s3=s3, bucket=get_settings().churn_bucket)}
    )
