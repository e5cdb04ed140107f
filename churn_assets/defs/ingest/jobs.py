"""The training job, from the feature store to a released champion."""

import dagster as dg

TRAINING_JOB = "model_tuning_and_uploading"
"""The predecessor's name for it."""

training_job = dg.define_asset_job(
    TRAINING_JOB,
    selection=dg.AssetSelection.groups("ingest", "features", "training", "release"),
    description="Newest customers in, best model registered; every step in one process.",
    executor_def=dg.in_process_executor,
)
