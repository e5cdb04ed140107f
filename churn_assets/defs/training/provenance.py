"""What a model was made from and with: the tags that every model and version carries."""

import os
import shutil
import subprocess
from pathlib import Path

from bento.settings import get_settings
from churn_assets.defs.training.config import SearchConfig


def model_tags(data_sha256: str, config: SearchConfig, *, synthetic: bool) -> dict[str, str]:
    """Data hash, git commit, config (JSON), seed, and whether the customers are synthetic."""
    return {
        "data_sha256": data_sha256,
        "git_commit": git_commit(),
        "config": config.model_dump_json(),
        "seed": str(config.seed),
        "synthetic": str(synthetic).lower(),
    }


def git_commit() -> str:
    """The checkout's commit, `-dirty` with uncommitted changes; else GIT_COMMIT or `unknown`."""
    git = shutil.which("git")
    if git:
        found = subprocess.run(  # noqa: S603
            [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode == 0:
            return found.stdout.strip()
    return get_settings().git_commit or "unknown"


def workers() -> int:
    """Fits to run side by side: TRAINING_WORKERS, or the cores this process may use."""
    return get_settings().training_workers or len(os.sched_getaffinity(0))
