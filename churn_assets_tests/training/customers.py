"""Customers for the training room's tests: synthetic ones, cleaned like any others."""

from functools import lru_cache

import pandas as pd

from churn_assets.defs.features.cleaning import clean
from churn_assets.synthetic.generator import customers


@lru_cache(maxsize=2)
def cleaned(rows: int = 1_500, seed: int = 3) -> pd.DataFrame:
    """Rows of `cleaned_features`; copy before changing them."""
    return clean(customers(rows, seed)).customers
