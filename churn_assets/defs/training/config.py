"""What one may choose about training, in the launchpad or as YAML."""

import dagster as dg
from pydantic import ConfigDict, Field


class SearchConfig(dg.Config):
    """`tuned_models`: all of it is part of the result; the number of cores is not."""

    model_config = ConfigDict(extra="forbid")

    trials: int = Field(50, ge=1, le=10_000, description="Sets of parameters to try.")
    folds: int = Field(5, ge=2, le=20, description="Folds of the cross-validation.")
    seed: int = Field(11, ge=0, le=2**31 - 1, description="Seed of folds, search and fits.")
    pruning: bool = Field(True, description="Drop a trial whose first fold is below the median.")
    top: int = Field(5, ge=1, le=20, description="Best trials to refit on all training customers.")
    max_search_customers: int = Field(
        20_000,
        ge=1_000,
        description="Most customers to search on; the best trials are refitted on all of them.",
    )


class GateConfig(dg.Config):
    """`best_model`: what a model must reach before it may be promoted."""

    model_config = ConfigDict(extra="forbid")

    margin_full: float = Field(
        0.005, ge=0, le=1, description="ROC AUC it may lose to the champion, full tier."
    )
    margin_core: float = Field(
        0.02, ge=0, le=1, description="ROC AUC it may lose to the champion, core tier."
    )
    max_ece: float = Field(
        0.03, gt=0, le=1, description="Highest expected calibration error, full tier."
    )
    max_latency_ms: float = Field(
        10.0, gt=0, description="Highest median time of a single prediction, in milliseconds."
    )
