"""What a reader should know about a model before trusting it, as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bento.customer import BEHAVIOUR_FIELDS, CODES, FEATURES
from churn_assets.defs.training import metrics
from churn_assets.defs.training.dataset import Dataset
from churn_assets.defs.training.selection import Comparison, Gate

AGE_BANDS = ((0, 35), (35, 45), (45, 55), (55, 65), (65, 200))
FEWEST_LEFT = 10
"""Customers who left, below which a slice's AUC says nothing."""


@dataclass(frozen=True)
class Facts:
    """What the card reports beside measured quality."""

    name: str
    run_id: str
    sha256: str
    threshold: float
    synthetic: bool
    training_customers: int
    searched_customers: int
    trials: int
    tags: Mapping[str, str]
    params: Mapping[str, Any]


def write(
    facts: Facts,
    test: Dataset,
    predicted: Mapping[str, NDArray[np.float32]],
    comparison: Comparison,
    gates: Sequence[Gate],
) -> str:
    """The card of a model, measured on the test customers."""
    return "\n".join(
        [
            f"# {facts.name}",
            "",
            *_warning(facts),
            "Probability that a credit-card customer leaves. One model of boosted trees for two"
            " tiers of input: `full` (all 19 fields) and `core` (the 11 required ones; the"
            f" {len(BEHAVIOUR_FIELDS)} behavioural ones unknown).",
            "",
            "## Data",
            "",
            f"- {facts.training_customers:,} training customers, {len(test):,} test customers"
            f" ({100 * test.churned.mean():.1f} % of them left). The test customers are 20 %,"
            " chosen by a hash of the customer id; neither search nor refit has seen them.",
            *_sampled(facts),
            f"- Data SHA-256 `{facts.tags['data_sha256']}`; model SHA-256 `{facts.sha256}`.",
            "",
            "## Quality on the test customers",
            "",
            "In brackets: 95 % intervals over 500 resamples of the test customers. The best of"
            " several candidates was chosen on them, so the figures are slightly optimistic.",
            "",
            *_quality(facts, test, predicted, comparison),
            "",
            "## Slices (full tier)",
            "",
            *_slices(test, predicted["full"], facts.threshold),
            "",
            "## Gates",
            "",
            *_gates(gates),
            "",
            "## How it was made",
            "",
            f"{facts.trials} trials of Optuna's TPE; parameters "
            + ", ".join(f"`{name}` {_short(value)}" for name, value in facts.params.items())
            + f". Git commit `{facts.tags['git_commit']}`, seed {facts.tags['seed']},"
            f" MLflow run `{facts.run_id}`.",
            "",
            "## Limits",
            "",
            f"- The decision threshold {facts.threshold:.3f} has the best F1 of the full tier on"
            " out-of-fold predictions; few core-tier customers reach it. Rank core-tier customers"
            " by probability instead.",
            "- A customer with only some behavioural fields is scored, but claims the core tier's"
            " quality.",
            "- The data is one snapshot of one bank: nothing here measures how quality changes with"
            " time. Watch the drift and performance reports.",
            "- Association, not cause: a changed field does not tell what acting on it would do.",
            "- Gender, age and marital status are inputs. Look at the slices, and at the law that"
            " applies to you, before acting on single customers.",
        ]
    )


def _warning(facts: Facts) -> list[str]:
    if not facts.synthetic:
        return []
    return [
        "> **SYNTHETIC DATA.** This model was trained and measured on generated customers. Its"
        " figures say nothing about any bank. Set `CHURN_RAW_DATA` to train on real ones.",
        "",
    ]


def _sampled(facts: Facts) -> list[str]:
    if facts.searched_customers == facts.training_customers:
        return []
    return [
        f"- The search ran on a stable sample of {facts.searched_customers:,} training customers;"
        " the best trials were refitted on all of them."
    ]


def _quality(
    facts: Facts,
    test: Dataset,
    predicted: Mapping[str, NDArray[np.float32]],
    comparison: Comparison,
) -> list[str]:
    rows = []
    for tier, values in predicted.items():
        found = metrics.scores(test.churned, values, facts.threshold)
        intervals = comparison.quality[tier]
        cells = [
            f"{found[name]:.4f} ({intervals[name][0]:.4f} to {intervals[name][1]:.4f})"
            for name in ("roc_auc", "average_precision")
        ]
        cells += [f"{found[name]:.4f}" for name in ("f1", "accuracy", "log_loss", "brier", "ece")]
        rows.append([tier, *cells])
    names = ["tier", "ROC AUC", "average precision", "F1", "accuracy", "log loss", "Brier", "ECE"]
    return table(names, rows)


def _slices(test: Dataset, predicted: NDArray[np.float32], threshold: float) -> list[str]:
    column = dict(zip(FEATURES, test.features.T, strict=True))
    slices = {f"gender {k}": column["gender"] == code for k, code in CODES["gender"].items()}
    age = column["customer_age"]
    for low, high in AGE_BANDS:
        label = f"age {low} to {high - 1}" if high < AGE_BANDS[-1][1] else f"age {low} and over"
        slices[label if low else f"age under {high}"] = (age >= low) & (age < high)
    rows = []
    for name, mask in slices.items():
        churned, values = test.churned[mask], predicted[mask]
        left = int(churned.sum())
        row = [name, str(len(churned)), str(left)]
        if min(left, len(churned) - left) < FEWEST_LEFT:
            rows.append([*row, "too few", "too few", "too few"])
            continue
        found = metrics.scores(churned, values, threshold)
        flagged = np.mean(values >= threshold)
        rows.append([*row, f"{found['roc_auc']:.4f}", f"{flagged:.3f}", f"{found['ece']:.3f}"])
    return table(["slice", "customers", "left", "ROC AUC", "share flagged", "ECE"], rows)


def _gates(gates: Sequence[Gate]) -> list[str]:
    return table(
        ["gate", "passed", "numbers"],
        [
            [
                g.name,
                "yes" if g.passed else "**NO**",
                ", ".join(f"{k} {v:.4g}" for k, v in g.numbers.items()),
            ]
            for g in gates
        ],
    )


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, a line an item."""
    lines = [list(names), ["---"] * len(names), *map(list, rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
