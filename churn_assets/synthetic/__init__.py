"""Synthetic customers with the public data set's columns, marginals and churn behaviour.

`statistics.json` holds all the generator knows: shares, quantiles and correlations of
groups of customers (`fit.py` computes them), no customer of the data.
"""

from churn_assets.synthetic.generator import Drift, customers, tables, write_parquet

__all__ = ["Drift", "customers", "tables", "write_parquet"]
