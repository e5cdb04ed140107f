"""Synthetic customers: bounded memory, one seed one world, a bank that looks like the real one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.stats import ks_2samp

from bento.customer import encode
from churn_assets.defs.features.cleaning import clean, to_customers
from churn_assets.synthetic import Drift, customers, write_parquet

TEXT = (
    *("Attrition_Flag", "Gender", "Education_Level"),
    *("Marital_Status", "Income_Category", "Card_Category"),
)


@pytest.fixture(scope="module")
def bank() -> pd.DataFrame:
    return customers(10_127, seed=0)


def test_a_seed_is_one_world_of_any_size(bank: pd.DataFrame) -> None:
    assert customers(30_000, seed=0).head(10_127).equals(bank)
    assert not customers(10_127, seed=1).equals(bank)


def test_all_are_valid_customers_and_none_is_a_real_one(bank: pd.DataFrame) -> None:
    found = clean(bank)
    assert len(found.customers) == 10_127
    assert found.customers["customer_id"].min() > 999_999_999  # the bank's have nine digits
    assert (bank["Total_Revolving_Bal"] < bank["Credit_Limit"]).all()


def test_columns_types_and_marginals_are_the_public_data_sets(
    customers_source: Path | None, bank: pd.DataFrame
) -> None:
    if customers_source is None:
        pytest.skip("CHURN_RAW_DATA is not set: no real customers to compare with")
    real = pd.read_csv(customers_source)
    assert list(bank) == list(real)
    assert (bank.dtypes == real.dtypes).all()
    for name in real.columns[1:-2]:
        if name in TEXT:
            shares = [frame[name].value_counts(normalize=True) for frame in (real, bank)]
            variation = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
            assert variation < 0.02, name
        else:
            assert ks_2samp(real[name], bank[name]).statistic < 0.07, name
    kept = ["Total_Trans_Ct", "Total_Trans_Amt", "Customer_Age", "Months_on_book", "Credit_Limit"]
    np.testing.assert_allclose(bank[kept].corr("spearman"), real[kept].corr("spearman"), atol=0.07)
    assert not set(map(tuple, bank[kept].to_numpy())) & set(map(tuple, real[kept].to_numpy()))


def model(frame: pd.DataFrame) -> "tuple[object, float, float]":
    """An XGBoost model trained as the design says, and its AUC on the full and core tier."""
    import xgboost
    from sklearn.metrics import roc_auc_score

    X, y = matrix(frame)  # noqa: N806
    test = np.random.default_rng(0).random(len(y)) < 0.2
    core = X.copy()
    core[:, 11:] = np.nan
    booster = xgboost.XGBClassifier(
        n_estimators=150, max_depth=5, learning_rate=0.15, subsample=0.8, n_jobs=1, random_state=0
    ).fit(np.vstack([X[~test], core[~test]]), np.tile(y[~test], 2))
    full_auc, core_auc = (
        float(roc_auc_score(y[test], booster.predict_proba(rows[test])[:, 1])) for rows in (X, core)
    )
    return booster, full_auc, core_auc


def matrix(frame: pd.DataFrame) -> "tuple[np.ndarray, np.ndarray]":
    cleaned = clean(frame).customers
    return encode(to_customers(cleaned)), cleaned["churned"].to_numpy()


def test_activity_tells_who_leaves_and_drift_does_what_it_says(bank: pd.DataFrame) -> None:
    from sklearn.metrics import roc_auc_score

    booster, full_auc, core_auc = model(bank)
    assert full_auc >= 0.97
    assert 0.75 <= core_auc <= 0.85

    def auc(drift: Drift) -> float:
        X, y = matrix(customers(5_000, seed=9, drift=drift))  # noqa: N806
        return float(roc_auc_score(y, booster.predict_proba(X)[:, 1]))  # type: ignore[attr-defined]

    assert auc(Drift(covariate=1)) > 0.96
    assert 0.6 < auc(Drift(concept=0.5)) < 0.9
    assert 0.4 < auc(Drift(concept=1)) < 0.6


def test_covariate_drift_moves_customers_and_concept_drift_does_not(bank: pd.DataFrame) -> None:
    moved, same = (customers(10_127, 5, drift) for drift in (Drift(covariate=1), Drift(concept=1)))
    for name in ("Customer_Age", "Credit_Limit", "Total_Trans_Ct"):
        assert ks_2samp(bank[name], moved[name]).statistic > 0.15
        assert moved[name].mean() < bank[name].mean()
        assert ks_2samp(bank[name], same[name]).statistic < 0.03
    rates = [(frame["Attrition_Flag"] == "Attrited Customer").mean() for frame in (bank, same)]
    assert rates == pytest.approx([0.16, 0.16], abs=0.01)
    assert list(moved["CLIENTNUM"]) == list(bank["CLIENTNUM"])


@pytest.mark.parametrize("wrong", [{"covariate": 1.1}, {"concept": -0.1}])
def test_drift_outside_its_range_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} drift: .* \(allowed: 0 to 1\)"):
        Drift(**wrong)


def test_the_file_is_what_the_frame_is(tmp_path: Path) -> None:
    path = tmp_path / "customers.parquet"
    seen: list[int] = []
    write_parquet(path, 45_000, 4, progress=seen.append)
    assert pd.read_parquet(path).equals(customers(45_000, 4))
    assert seen == [20_000, 20_000, 5_000]
    assert pq.ParquetFile(path).num_row_groups == 3


PEAK = """
import resource, sys
from pathlib import Path
from churn_assets.synthetic import write_parquet
write_parquet(Path(sys.argv[1]), int(sys.argv[2]), 0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def peak_kb(rows: int) -> int:
        command = [sys.executable, "-c", PEAK, str(tmp_path / f"{rows}.parquet"), str(rows)]
        return int(subprocess.run(command, check=True, capture_output=True).stdout)

    small, large = peak_kb(100_000), peak_kb(800_000)
    assert pq.ParquetFile(tmp_path / "800000.parquet").metadata.num_rows == 800_000
    assert large - small < 40_000, "700,000 rows more took 40 MB more"


def test_the_command_writes_a_file_and_names_a_wrong_argument(tmp_path: Path) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "churn_assets.synthetic", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    path = tmp_path / "made.parquet"
    done = run("--rows", "150", "--seed", "7", "--out", str(path), "--concept-drift", "0.3")
    assert done.returncode == 0, done.stderr
    assert pd.read_parquet(path).equals(customers(150, 7, Drift(concept=0.3)))
    refused = run("--rows", "0", "--out", str(path))
    assert refused.returncode == 2
    assert "rows: 0 is not allowed (allowed: 1 or more)" in refused.stderr
