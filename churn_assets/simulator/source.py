"""Where simulated customers come from; their label stays here."""

from collections.abc import Iterator
from pathlib import Path

from bento.customer import Customer
from churn_assets.defs.features.cleaning import clean, to_customers
from churn_assets.defs.ingest.reading import read_customers
from churn_assets.synthetic.generator import FIRST_ID, Drift
from churn_assets.synthetic.generator import customers as draw

BATCH = 500


def recorded(path: Path) -> Iterator[Customer]:
    """The customers of a file, in random but repeatable order, again and again."""
    found = to_customers(clean(read_customers(path)).customers.sample(frac=1, random_state=0))
    while True:
        yield from found


def synthetic(drift: Drift, seed: int) -> Iterator[Customer]:
    """Made-up customers, each one new."""
    first = FIRST_ID
    while True:
        frame = draw(BATCH, seed, drift, first)
        yield from to_customers(clean(frame).customers)
        seed += 1
        first += BATCH
