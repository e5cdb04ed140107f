import msgspec
import numpy as np
import pytest

from bento.customer import BEHAVIOUR_FIELDS, CORE_FIELDS, encode
from bento.runner import ChurnRunner
from churn_assets.defs.monitoring import reference
from churn_assets.defs.monitoring.drift import SCORE
from churn_assets.defs.monitoring.prediction_log import to_arrow
from churn_assets.defs.monitoring.sampling import Group, sample
from churn_assets.defs.training import dataset
from churn_assets_tests.champions import make_champion, random_customers
from churn_assets_tests.monitoring.samples import answered, cleaned


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> ChurnRunner:
    folder = tmp_path_factory.mktemp("champion")
    make_champion(folder, seed=1)
    return ChurnRunner(folder)


def test_the_sample_is_bounded_counts_everything_and_ignores_order(runner: ChurnRunner) -> None:
    rows = answered(random_customers(600, seed=3, core_share=0.3), runner)
    batches = [to_arrow(rows[start : start + 100]) for start in range(0, 600, 100)]
    forward = sample(batches, most=50)
    backward = sample([to_arrow(rows[::-1])], most=50)
    assert forward.rows.total() == 600
    assert forward.rows == backward.rows
    for group, columns in forward.samples().items():
        assert {len(values) for values in columns.values()} == {50}
        for name, values in columns.items():
            np.testing.assert_array_equal(values, backward.samples()[group][name])


def test_the_sample_is_fair(runner: ChurnRunner) -> None:
    rows = answered(random_customers(2_000, seed=4, core_share=0.0), runner)
    first_half = {row.prediction_id for row in rows[:1_000]}
    # a sample of the first rows, or of the last, would hold 0 or 400 of the first half
    kept = sorted(rows, key=lambda row: row.prediction_id[24:])[:400]
    columns = sample([to_arrow(rows)], most=400).samples()[Group(rows[0].model_run_id, "full")]
    assert columns[SCORE].tolist() == [row.prediction for row in kept]
    assert 150 < sum(row.prediction_id in first_half for row in kept) < 250


def test_values_are_encoded_as_the_model_saw_them(runner: ChurnRunner) -> None:
    rows = answered(random_customers(50, seed=5, core_share=0.5), runner)
    found = sample([to_arrow(rows)]).samples()
    full, core = (found[Group(rows[0].model_run_id, tier)] for tier in ("full", "core"))
    assert list(core) == [*CORE_FIELDS, SCORE]
    assert list(full) == [*CORE_FIELDS, *BEHAVIOUR_FIELDS, SCORE]
    by_tail = sorted((r for r in rows if r.tier == "full"), key=lambda r: r.prediction_id[24:])
    genders = [0.0 if row.gender == "M" else 1.0 for row in by_tail]
    assert full["gender"].tolist() == genders


def test_two_models_in_one_window_are_two_groups(runner: ChurnRunner) -> None:
    rows = answered(random_customers(20, seed=6, core_share=0.0), runner)
    others = [msgspec.structs.replace(row, model_run_id="other") for row in rows[:5]]
    counted = sample([to_arrow(rows[5:] + others)]).rows
    assert counted == {Group(rows[0].model_run_id, "full"): 15, Group("other", "full"): 5}


def test_scores_of_the_reference_are_of_customers_the_model_never_saw(runner: ChurnRunner) -> None:
    customers = random_customers(500, seed=7, core_share=0.0)
    table = reference.build(cleaned(customers), runner)
    full, core = (reference.columns(table, tier) for tier in ("full", "core"))
    assert len(full["customer_age"]) == 500
    assert 50 < len(full[SCORE]) == len(core[SCORE]) < 150
    everyone = set(runner.score_matrix(encode(customers)).astype(float).tolist())
    assert set(full[SCORE].tolist()) <= everyone
    assert set(core) == {*CORE_FIELDS, SCORE}


def test_a_large_reference_is_sampled(runner: ChurnRunner) -> None:
    customers = random_customers(300, seed=8)
    assert len(reference.build(cleaned(customers), runner, most=100)) == 100


def test_a_model_knows_the_customers_it_was_made_from(runner: ChurnRunner) -> None:
    frame = cleaned(random_customers(100, seed=9))
    own = dataset.fingerprint(dataset.build(frame))
    champion = msgspec.structs.replace(runner.champion, data_sha256=own)
    assert reference.made_from(champion, frame.sample(frac=1, random_state=1))
    assert not reference.made_from(champion, frame.iloc[:-1])


def test_a_partly_known_customer_does_not_count_as_a_changed_score(runner: ChurnRunner) -> None:
    customers = random_customers(40, seed=10, core_share=0.0)
    partly = [msgspec.structs.replace(c, total_trans_ct=None) for c in customers[:30]]
    bare = random_customers(10, seed=11, core_share=1.0)
    batch = to_arrow(answered([*partly, *bare], runner))
    columns = sample([batch]).samples()[Group(runner.champion.model_run_id, "core")]
    assert len(columns["customer_age"]) == 40
    assert sorted(columns[SCORE]) == sorted(runner.score(bare).astype(float))
