"""Made-up customers; loads no model library, so that child processes start fast."""

import msgspec
import numpy as np

from bento.customer import Customer


def random_customers(count: int, seed: int = 0, core_share: float = 0.5) -> list[Customer]:
    """Valid customers of both tiers, some with unknown education, status or income."""
    rng = np.random.default_rng(seed)

    def pick(values: list[str], unknown: float = 0.0) -> str | None:
        return None if rng.random() < unknown else values[int(rng.integers(len(values)))]

    def whole(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    customers = []
    for number in range(count):
        limit = round(float(rng.lognormal(8.5, 0.8)), 1)
        balance = float(whole(0, 2_500))
        behaviour = {
            "months_inactive_12_mon": whole(0, 7),
            "contacts_count_12_mon": whole(0, 7),
            "avg_open_to_buy": max(limit - balance, 0.0),
            "total_amt_chng_q4_q1": round(float(rng.gamma(12, 0.06)), 3),
            "total_trans_amt": float(whole(500, 15_000)),
            "total_trans_ct": whole(10, 140),
            "total_ct_chng_q4_q1": round(float(rng.gamma(9, 0.08)), 3),
            "avg_utilization_ratio": round(min(balance / limit, 1.0), 3),
        }
        values = {
            "customer_age": whole(26, 74),
            "gender": pick(["M", "F"]),
            "dependent_count": whole(0, 6),
            "education_level": None if rng.random() < 0.15 else whole(0, 6),
            "marital_status": pick(["single", "married", "divorced"], unknown=0.07),
            "income_category": None if rng.random() < 0.11 else whole(0, 5),
            "card_category": pick(["blue", "silver", "gold", "platinum"]),
            "months_on_book": whole(13, 57),
            "total_relationship_count": whole(1, 7),
            "credit_limit": limit,
            "total_revolving_bal": balance,
            "customer_id": 700_000_000 + number,
        }
        if rng.random() >= core_share:
            values |= behaviour
        customers.append(msgspec.convert(values, Customer))
    return customers
