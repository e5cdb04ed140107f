import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from churn_assets.defs.monitoring.drift import (
    ColumnDrift,
    Limits,
    bin_counts,
    bin_edges,
    compare,
    difference,
    holm,
    judge,
    pooled,
    stability_index,
)

LIMITS = Limits()


def normal(count: int, seed: int, mean: float = 0.0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(mean, 1, count)


def test_every_value_is_in_one_bin_and_unknown_ones_in_the_last() -> None:
    reference = np.array([0, 0, 0, 1, 2, np.nan])
    edges = bin_edges(reference)
    assert edges.tolist() == [0, 1]
    assert bin_counts(np.array([-5, 0, 1, 1.5, 2, 99, np.nan, np.nan]), edges).tolist() == [
        2,
        1,
        3,
        2,
    ]


def test_deciles_hold_a_tenth_of_the_reference_each() -> None:
    reference = normal(10_000, 1)
    counts = bin_counts(reference, bin_edges(reference))
    assert counts.tolist() == pytest.approx([1_000] * 10 + [0], abs=1)


def test_a_heavy_value_does_not_split() -> None:
    reference = np.concatenate([np.zeros(5_000), np.arange(1, 5_001)])
    counts = bin_counts(reference, bin_edges(reference))
    assert counts[0] == 5_000
    assert counts.sum() == 10_000


def test_too_small_bins_are_pooled_until_they_hold_enough() -> None:
    table = np.array([[900, 95, 4, 1], [90, 10, 0, 0]])
    assert pooled(table).tolist() == [[900, 100], [90, 10]]
    enough = np.array([[500, 500], [50, 50]])
    assert pooled(enough).tolist() == enough.tolist()


def test_psi_is_the_textbook_sum() -> None:
    # 50/50 against 70/30: (0.7-0.5) ln(0.7/0.5) + (0.3-0.5) ln(0.3/0.5)
    table = np.array([[500_000, 500_000], [700_000, 300_000]])
    assert stability_index(table) == pytest.approx(0.16946, abs=1e-4)


def test_p_value_is_pearsons() -> None:
    reference = np.repeat([0.0, 1.0], [600, 400])
    current = np.repeat([0.0, 1.0], [110, 90])
    expected = stats.chi2_contingency([[600, 400], [110, 90]], correction=False).pvalue
    assert difference(reference, current)[1] == pytest.approx(expected)


def test_more_unknown_values_are_drift() -> None:
    reference, current = normal(5_000, 1), normal(1_000, 2)
    current[:300] = np.nan
    psi, p_value = difference(reference, current)
    assert psi > 0.5
    assert p_value < 1e-50


def test_constant_and_wholly_unknown_columns_are_no_drift() -> None:
    nothing = np.full(500, np.nan)
    assert difference(nothing, nothing) == (0.0, 1.0)
    assert difference(np.ones(500), np.ones(300)) == (0.0, 1.0)
    assert difference(normal(500, 1), np.array([])) == (0.0, 1.0)


def test_a_changed_constant_is_drift() -> None:
    psi, p_value = difference(np.repeat([0.0, 1.0], [500, 500]), np.full(300, 7.0))
    assert psi > 0.5
    assert p_value < 1e-20


def test_holm_rejects_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([], 0.05) == []


def test_a_huge_window_does_not_alarm_on_trivia_nor_a_small_one_on_noise() -> None:
    reference = normal(20_000, 1)
    trivia = compare({"a": reference}, {"a": normal(500_000, 2, mean=0.05)})
    assert trivia[0].p_value < 1e-6
    assert not judge({"huge": trivia}, LIMITS)["huge"][0].drifted
    noise = [ColumnDrift("a", psi=0.15, p_value=0.001)] + [ColumnDrift("b", 0.0, 0.5)] * 31
    assert not any(column.drifted for column in judge({"small": noise}, LIMITS)["small"])


def test_a_real_shift_is_named_and_only_it() -> None:
    reference = {name: normal(10_000, i) for i, name in enumerate("abc")}
    current = {name: normal(500, 10 + i, mean=0.8 * (name == "b")) for i, name in enumerate("abc")}
    found = judge({"window": compare(reference, current)}, LIMITS)["window"]
    assert [column.column for column in found if column.drifted] == ["b"]
