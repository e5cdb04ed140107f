"""Every setting of the platform, typed, from the environment.

`.env.<CHURN_ENV>` (`local` unless said otherwise) in the working directory or
above is read into the environment first; what is already set there wins. boto3,
MLflow, Dagster and BentoML read their own variables from the same place, so one
file configures them all. `.env.example` documents each variable.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from dotenv import find_dotenv, load_dotenv
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings by the name of their environment variable, lower-cased."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    churn_home: Path = Field(Path(".churn"), description="Folder that holds all local state.")

    churn_raw_data: str | None = Field(
        None, description="File, folder or s3:// URI with customers; unset: synthetic ones."
    )
    churn_bucket: str = Field(
        "capstone", description="Bucket of the feature store and of all artifacts."
    )
    feature_store_prefix: str = Field(
        "ID1/", description="Where new customer files land in the bucket."
    )

    max_quarantined_share: float = Field(
        0.01, ge=0, le=1, description="Share of quarantined rows above which training is blocked."
    )
    training_cron: str = Field("0 */4 * * *", description="When the schedule trains, in UTC.")
    training_automation: Literal["running", "stopped"] = Field(
        "stopped", description="Whether training schedule and sensor start switched on."
    )

    mlflow_tracking_uri: str = Field("http://127.0.0.1:5051", description="MLflow server.")
    mlflow_experiment: str = Field(
        "churn", description="MLflow experiment; its models register as best_model-<experiment>."
    )
    mlflow_public_url: str | None = Field(
        None, description="MLflow as browsers reach it, for links; unset: mlflow_tracking_uri."
    )
    run_id: str | None = Field(
        None, description="MLflow run to serve; unset: the registry's champion."
    )

    champion_folder: Path | None = Field(
        None, description="Champion to serve while no pointer exists, as inside a container."
    )
    champion_poll_seconds: float = Field(
        1.0, gt=0, description="Seconds between looks at the pointer to the live champion."
    )

    champion_uri: str | None = Field(
        None,
        pattern="^s3://[^/]+(/.*)?$",
        description="Where champions are released to and followed from by hosts that share no"
        " disk, as s3://capstone/champions; unset: the folder under churn_home alone.",
    )
    champion_mirror_seconds: float = Field(
        5.0, gt=0, description="Seconds between looks at champion_uri."
    )

    mongodb_uri: SecretStr | None = Field(
        None,
        description="MongoDB that keeps the predictions, or the ARN of an AWS secret with its URI;"
        " unset: SQLite under churn_home.",
    )

    report_time_window_minutes: int = Field(
        180, ge=1, le=1440, description="Minutes in a window of the prediction log and its reports."
    )
    prediction_retention_days: int = Field(
        30, ge=2, description="Days that a prediction stays in the store once it is exported to S3."
    )
    label_horizon_days: int = Field(
        90, ge=1, description="Days before it is observed that an outcome counts for predictions."
    )

    drift_false_alarm_rate: float = Field(
        0.01, gt=0, lt=1, description="Chance of any false drift alarm in a window of predictions."
    )
    drift_psi: float = Field(
        0.1, ge=0, description="Least population stability index that counts as drift."
    )
    drift_min_rows: int = Field(
        200, ge=50, description="Fewest predictions of a model and tier worth a drift test."
    )
    retrain_cooldown_minutes: int = Field(
        720, ge=0, description="Minutes between trainings that drift alarms start."
    )
    retrain_daily_limit: int = Field(
        2, ge=1, description="Most trainings that drift alarms start in 24 hours."
    )
    live_window_rows: int = Field(
        1_000, ge=50, description="Most predictions in the exporter's sliding window."
    )
    live_window_minutes: float = Field(
        15.0, gt=0, description="Minutes after which a prediction leaves the sliding window."
    )

    outbox_sync: Literal["normal", "full"] = Field(
        "normal",
        description="Predictions survive a killed process (normal) or also a power cut (full).",
    )
    outbox_max_bytes: int = Field(
        2**30, gt=0, description="Most bytes of predictions that wait for the store, per process."
    )
    outbox_ship_seconds: float = Field(
        0.2, gt=0, description="Seconds between shipments of predictions to the store."
    )

    stream_in: str = Field("predictions", description="Kinesis stream of customers to score.")
    stream_out: str = Field("results", description="Kinesis stream of their answers.")
    stream_lease_table: str = Field(
        "churn-stream-leases", description="DynamoDB table of shard leases and checkpoints."
    )
    stream_lease_seconds: float = Field(
        10.0, gt=0, description="Seconds after which a silent worker's shards are taken over."
    )
    stream_batch: int = Field(
        2_000, ge=1, le=10_000, description="Most records that one read of a shard asks for."
    )
    stream_poll_seconds: float = Field(
        0.2, ge=0.2, description="Seconds between reads of a shard; AWS allows five a second."
    )
    stream_metrics_port: int = Field(
        9697, description="Port of a stream worker's /metrics, /livez and /readyz."
    )
    dead_letter_prefix: str = Field(
        "dead-letters/", description="Where records that are no customer are kept in the bucket."
    )
    test_run: bool = Field(
        False, description="The Lambda handler returns its answers and writes nothing."
    )

    promotion: Literal["manual", "auto"] = Field(
        "manual",
        description="Who makes a challenger champion: a human, or best_model when all gates pass.",
    )
    training_workers: int | None = Field(
        None, ge=1, description="Fits that run side by side; unset: one a core. Changes no result."
    )
    dask_scheduler: str | None = Field(
        None, description="Dask cluster (tcp://...) for batch scoring and final fits; unset: none."
    )
    training_folder: str | None = Field(
        None,
        description="Folder or s3:// URI of customers too many for memory, for the final fits.",
    )
    git_commit: str | None = Field(
        None, description="Commit that models are tagged with where there is no git checkout."
    )

    host: str = Field("127.0.0.1", description="Address that the servers bind to.")
    http_port: int = Field(9696, description="Port of POST /predict.")
    http_workers: int = Field(1, ge=1, description="Processes that answer POST /predict.")
    http_max_requests: int = Field(
        256, ge=1, description="Requests one process answers at a time; more get 429."
    )
    http_max_body: int = Field(1_048_576, ge=1, description="Longest body in bytes; more get 413.")
    http_body_timeout: float = Field(
        10.0, gt=0, description="Seconds that a body may take to arrive; longer gets 408."
    )
    churn_api_keys: SecretStr | None = Field(
        None, description="Keys, by commas, one of which HTTP requests must bring; unset: none."
    )
    emulator_port: int = Field(4566, description="Port of the embedded AWS emulator.")
    mlflow_port: int = Field(5051, description="Port of the embedded MLflow server.")
    dagster_port: int = Field(3000, description="Port of the embedded Dagster UI.")
    exporter_port: int = Field(8085, description="Port of the live drift and score /metrics.")
    dagster_url: str | None = Field(
        None, description="Dagster's webserver, which the exporter asks; unset: dagster_port here."
    )
    reports_port: int = Field(8888, description="Port of the list of reports.")
    reports_url: str | None = Field(
        None, description="Reports as browsers reach them, for links; unset: reports_port here."
    )
    log_predictions: bool = Field(
        False, description="One log line a prediction: its id and model, nothing of the customer."
    )
    prometheus_port: int = Field(9091, description="Port of Prometheus, where it is installed.")

    @field_validator("report_time_window_minutes")
    @classmethod
    def _windows_tile_the_day(cls, minutes: int) -> int:
        hours, rest = divmod(minutes, 60)
        if (hours and (rest or 24 % hours)) or (rest and 60 % rest):
            raise ValueError("must divide an hour, or be whole hours that divide a day")
        return minutes

    @property
    def registered_model(self) -> str:
        """Name in the MLflow registry."""
        return f"best_model-{self.mlflow_experiment}"

    @property
    def dagster_address(self) -> str:
        """Where Dagster's webserver answers, without a slash at the end."""
        return (self.dagster_url or f"http://127.0.0.1:{self.dagster_port}").rstrip("/")

    @property
    def reports_address(self) -> str:
        """Where a person looks at reports, without a slash at the end."""
        return (self.reports_url or f"http://127.0.0.1:{self.reports_port}").rstrip("/")

    @property
    def live_pointer(self) -> Path:
        """File that names the live champion's folder; replaced atomically on a swap."""
        return self.churn_home / "champion" / "live.json"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    load_environment()
    return Settings()


def load_environment() -> None:
    """Read `.env.<CHURN_ENV>` into the process's environment without overriding it.

    CHURN_HOME is `.churn` beside that file, so that a command finds the same state
    whatever folder it is called from.
    """
    path = find_dotenv(f".env.{os.environ.get('CHURN_ENV', 'local')}", usecwd=True)
    if path:
        home = os.environ.get("CHURN_HOME") or Path(path).parent / ".churn"
        os.environ["CHURN_HOME"] = str(Path(home).absolute())
        load_dotenv(path)
