"""Training by the clock."""

import dagster as dg

from bento.settings import get_settings
from churn_assets.defs.ingest.jobs import training_job


@dg.definitions
def defs() -> dg.Definitions:
    """The training schedule; TRAINING_CRON and TRAINING_AUTOMATION set it, the UI switches it."""
    settings = get_settings()
    return dg.Definitions(
        schedules=[
            dg.ScheduleDefinition(
                name="train_every_few_hours",
                job=training_job,
                cron_schedule=settings.training_cron,
                execution_timezone="UTC",
                default_status=dg.DefaultScheduleStatus(settings.training_automation.upper()),
                description="Trains on the newest customers whether or not new ones landed.",
            )
        ]
    )
