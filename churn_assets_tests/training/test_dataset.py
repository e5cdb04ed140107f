import numpy as np
import pandas as pd
import pytest

from bento.customer import CORE_FIELDS
from churn_assets.defs.training import dataset
from churn_assets_tests.training.customers import cleaned


def test_the_matrix_does_not_depend_on_the_order_of_rows_or_columns() -> None:
    frame = cleaned()
    shuffled = frame.sample(frac=1, random_state=1).sample(frac=1, axis=1, random_state=1)
    ordered, other = dataset.build(frame), dataset.build(shuffled)
    assert dataset.fingerprint(ordered) == dataset.fingerprint(other)
    np.testing.assert_array_equal(ordered.features, other.features)


def test_the_fingerprint_sees_one_changed_label() -> None:
    frame = cleaned().copy()
    before = dataset.fingerprint(dataset.build(frame))
    frame["churned"] = frame.churned.where(frame.index != 7, 1 - frame.churned)
    assert dataset.fingerprint(dataset.build(frame)) != before


def test_no_customer_is_on_both_sides_and_none_is_lost() -> None:
    data = dataset.build(cleaned())
    train, test = dataset.split(data)
    assert not set(train.ids) & set(test.ids)
    assert set(train.ids) | set(test.ids) == set(data.ids)
    assert len(test) / len(data) == pytest.approx(0.2, abs=0.03)


def test_a_customer_keeps_its_side_as_the_data_grows() -> None:
    frame = cleaned()
    _, few = dataset.split(dataset.build(frame.iloc[:1_000]))
    _, all_of_them = dataset.split(dataset.build(frame))
    assert set(few.ids) == set(all_of_them.ids) & set(frame.customer_id[:1_000])


def test_the_side_of_known_customers_is_what_it_always_was() -> None:
    ids = np.array([768805383, "768805383", 818770008, "a customer"], object)
    places = dataset.place(ids)
    assert places[0] == places[1]
    np.testing.assert_allclose(places, KNOWN_PLACES, atol=1e-12)


KNOWN_PLACES = [0.8750940518750897, 0.8750940518750897, 0.6246219029153823, 0.6440419941595633]


def test_a_search_sample_is_nested_in_a_larger_one() -> None:
    data = dataset.build(cleaned())
    small, large = dataset.sample(data, 500), dataset.sample(data, 1_000)
    assert len(small) == 500
    assert set(small.ids) < set(large.ids)
    assert dataset.sample(data, len(data)) is data


def test_folds_validate_each_customer_once_and_never_train_on_it() -> None:
    data = dataset.build(cleaned())
    seen: list[int] = []
    for train, valid in dataset.folds(data, 5, seed=1):
        assert not set(train.ids) & set(valid.ids)
        assert valid.churned.mean() == pytest.approx(data.churned.mean(), abs=0.005)
        seen += list(valid.ids)
    assert sorted(seen) == sorted(data.ids)


def test_blanked_copies_follow_their_originals_and_hide_only_behaviour() -> None:
    data = dataset.build(cleaned()).take(np.arange(10))
    features, churned = dataset.both_tiers(data.features, data.churned)
    core = len(CORE_FIELDS)
    np.testing.assert_array_equal(features[:10], data.features)
    np.testing.assert_array_equal(features[10:, :core], data.features[:, :core])
    assert np.isnan(features[10:, core:]).all()
    np.testing.assert_array_equal(churned, np.tile(data.churned, 2))


def test_what_cannot_be_trained_on_is_refused_by_name() -> None:
    frame = cleaned()
    with pytest.raises(dataset.DatasetError, match=f"customer_id {frame.customer_id[0]} is there"):
        dataset.build(pd.concat([frame, frame[:1]]))
    with pytest.raises(dataset.DatasetError, match="some who left"):
        dataset.split(dataset.build(frame[frame.churned == 0]))
    few = dataset.build(frame).take(np.arange(4))
    with pytest.raises(dataset.DatasetError, match="5 folds need 5 customers of each kind"):
        list(dataset.folds(few, 5, seed=1))
