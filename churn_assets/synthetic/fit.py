"""Compute `statistics.json` from a customer file: `python -m churn_assets.synthetic.fit FILE`."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.synthetic.statistics import (
    CORRELATED,
    FILE,
    HOUSEHOLD,
    INDEPENDENT,
    LEVELS,
    LIMIT_BANDS,
    QUANTILED,
    SPENDING_BOUNDS,
    TABLED,
)


def fit(frame: pd.DataFrame) -> dict[str, Any]:
    """Statistics of a customer file with the public data set's columns."""
    pair = frame["Gender"] + "|" + frame["Income_Category"]
    households = frame.groupby(pair)["Credit_Limit"].mean().sort_values().index.tolist()
    frame = frame.assign(**{HOUSEHOLD: pair.map(households.index)})
    groups = []
    for label, bounds in SPENDING_BOUNDS.items():
        members = frame[frame["Attrition_Flag"] == label]
        band = np.searchsorted(bounds, members["Total_Trans_Amt"])
        groups += [_group(label, part, len(frame)) for _, part in members.groupby(band)]
    bands = np.searchsorted(LIMIT_BANDS, frame["Credit_Limit"], side="right") - 1
    cards = pd.crosstab(bands, frame["Card_Category"], normalize="index").round(5)
    return {
        "levels": LEVELS.tolist(),
        "households": households,
        "cards": {"names": cards.columns.tolist(), "shares": cards.to_numpy().tolist()},
        "groups": groups,
    }


def _group(label: str, part: pd.DataFrame, total: int) -> dict[str, Any]:
    return {
        "label": label,
        "share": round(len(part) / total, 6),
        "tables": {name: _table(part[name]) for name in (*TABLED, *INDEPENDENT)},
        "quantiles": {
            name: [float(f"{value:.4g}") for value in np.quantile(part[name], LEVELS)]
            for name in QUANTILED
        },
        "correlation": np.round(_correlation(part), 4).tolist(),
    }


def _table(column: pd.Series) -> dict[str, float]:
    shares = column.value_counts(normalize=True).sort_index()
    return {str(value): round(float(share), 6) for value, share in shares.items()}


def _correlation(part: pd.DataFrame) -> NDArray[np.float64]:
    """Correlation of a Gaussian copula, from rank correlations, made positive definite."""
    spearman = part[list(CORRELATED)].corr(method="spearman").fillna(0).to_numpy()
    latent = 2 * np.sin(np.pi / 6 * spearman)
    values, vectors = np.linalg.eigh(latent)
    fixed = vectors @ np.diag(values.clip(1e-3)) @ vectors.T
    scale = np.sqrt(np.diag(fixed))
    correlation: NDArray[np.float64] = fixed / np.outer(scale, scale)
    return correlation


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compute statistics.json from a customer file.")
    parser.add_argument("file", type=Path, help="CSV with the public data set's columns")
    FILE.write_text(json.dumps(fit(pd.read_csv(parser.parse_args().file))) + "\n")
