"""Releasing what the registry's alias names.

The cursor remembers the alias and how often it has changed, so that going back to an
earlier version is a change like any other. Whether a change was released is read from
the runs that carry it as a tag: a failed run is tried again. A repointing by hand
changes no alias, and so starts nothing.
"""

import time

import dagster as dg
import msgspec

from bento.depot import look_up_live
from bento.settings import get_settings
from churn_assets.defs.ingest.sensors import decide
from churn_assets.defs.release import registry

RELEASE_JOB = "release"
CHANGE_TAG = "churn/champion"

release_job = dg.define_asset_job(
    RELEASE_JOB,
    dg.AssetSelection.assets("champion_bento"),
    description="Package the registry's champion and make it live.",
)


class Seen(msgspec.Struct, frozen=True):
    """The sensor's cursor: which run the alias names, and how many changes led there."""

    run_id: str
    changes: int


def promoted_champion(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Launches a release when the alias `champion` of the registry names another version."""
    settings = get_settings()
    wanted = registry.champion(settings)
    if wanted is None:
        return dg.SkipReason("no version has the alias champion")
    seen = _seen(context.cursor)
    if seen is None:
        live = look_up_live(settings)
        seen = Seen(live.model_run_id if live else "", 0)
    if wanted.run_id != seen.run_id:
        seen = Seen(wanted.run_id, seen.changes + 1)
    cursor = msgspec.json.encode(seen).decode()
    if not seen.changes:
        return dg.SensorResult(skip_reason=f"version {wanted.version} is live", cursor=cursor)
    change = f"{seen.changes}-{wanted.run_id}"
    records = context.instance.get_run_records(
        dg.RunsFilter(job_name=RELEASE_JOB, tags={CHANGE_TAG: change})
    )
    changed = max((record.update_timestamp.timestamp() for record in records), default=0.0)
    decision = decide([record.dagster_run.status for record in records], time.time() - changed)
    if decision.attempt is None:
        reason = f"version {wanted.version}: {decision.reason}"
        return dg.SensorResult(skip_reason=reason, cursor=cursor)
    request = dg.RunRequest(f"{change}#{decision.attempt}", tags={CHANGE_TAG: change})
    return dg.SensorResult(run_requests=[request], cursor=cursor)


def _seen(cursor: str | None) -> Seen | None:
    return msgspec.json.decode(cursor, type=Seen) if cursor else None


@dg.definitions
def defs() -> dg.Definitions:
    """The job and its sensor, which runs unless it is switched off."""
    sensor = dg.sensor(
        job=release_job,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=promoted_champion.__doc__,
    )
    return dg.Definitions(jobs=[release_job], sensors=[sensor(promoted_champion)])
