"""The training job, and how steps run by default."""

import dagster as dg

TRAINING_JOB = "model_tuning_and_uploading"
"""The predecessor's name for it."""

training_job = dg.define_asset_job(
    TRAINING_JOB,
    selection=dg.AssetSelection.groups("ingest", "features", "training", "release"),
    description="Newest customers in, best model registered and packaged.",
)


@dg.definitions
def defs() -> dg.Definitions:
    """The job. Steps run in one process: 0.1 s a step, where a process each costs 2.6 s."""
    return dg.Definitions(jobs=[training_job], executor=dg.in_process_executor)
