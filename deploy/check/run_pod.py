"""Prints, as JSON, the Job that dagster-k8s would start a run with; runs where that is installed.

Reads {"instance": dagster.yaml, "environment": {...}} from stdin. Fails as
Dagster itself does on an instance with a key or a value that it does not know.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import kubernetes
import yaml
from dagster import DagsterRun
from dagster._config import process_config, resolve_to_config_type
from dagster._core.instance.ref import InstanceRef
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager
from dagster_k8s import launcher as launching
from dagster_k8s.job import construct_dagster_k8s_job
from dagster_postgres.storage import DagsterPostgresStorage


def main() -> None:
    """Read, build, print."""
    asked = json.load(sys.stdin)
    os.environ |= asked["environment"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dagster.yaml").write_text(yaml.safe_dump(asked["instance"]))
        ref = InstanceRef.from_dir(folder)
    storage = process_config(
        resolve_to_config_type(DagsterPostgresStorage.config_type()),
        asked["instance"]["storage"]["postgres"],
    )
    if not storage.success:
        raise SystemExit(f"storage: {storage.errors}")
    ref.compute_logs_data.rehydrate(as_type=S3ComputeLogManager)
    launching.load_kubernetes_config = lambda **_: None  # there is no cluster to ask
    if ref.run_launcher_data is None:
        raise SystemExit("no run launcher")
    launcher = ref.run_launcher_data.rehydrate(as_type=launching.K8sRunLauncher)
    context = launcher.get_container_context_for_run(DagsterRun(job_name="training"))
    job = construct_dagster_k8s_job(
        job_config=context.get_k8s_job_config(job_image=None, run_launcher=launcher),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run-0",
        pod_name="dagster-run-0",
        component="run_worker",
        user_defined_k8s_config=context.run_k8s_config,
        env_vars=[{"name": "DAGSTER_RUN_JOB_NAME", "value": "training"}],
    )
    print(json.dumps(kubernetes.client.ApiClient().sanitize_for_serialization(job)))


if __name__ == "__main__":
    main()
