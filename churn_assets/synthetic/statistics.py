"""What the generator knows of the public data set: `statistics.json`, and how it is laid out.

Seven groups of customers (by label and yearly spending), each with its share, quantiles
of single columns and a correlation matrix; never a row. `fit.py` computes it.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("statistics.json")

HOUSEHOLD = "Household"
"""Gender and income as one ordered variable, from the smallest mean credit limit to the largest."""

TABLED = (
    "Total_Relationship_Count",
    "Months_Inactive_12_mon",
    "Contacts_Count_12_mon",
    "Dependent_count",
    HOUSEHOLD,
)
QUANTILED = (
    "Customer_Age",
    "Months_on_book",
    "Credit_Limit",
    "Total_Revolving_Bal",
    "Total_Amt_Chng_Q4_Q1",
    "Total_Trans_Amt",
    "Total_Trans_Ct",
    "Total_Ct_Chng_Q4_Q1",
)
CORRELATED = TABLED + QUANTILED
INDEPENDENT = ("Education_Level", "Marital_Status")

LABELS = ("Existing Customer", "Attrited Customer")
SPENDING_BOUNDS = {"Existing Customer": (3250, 6250, 11500), "Attrited Customer": (3000, 6500)}
"""US dollars of yearly transactions between the groups, where the data has its valleys."""

LIMIT_BANDS = (0, 5000, 10000, 15000, 20000, 25000, 30000, 34000)
"""Lower ends, in US dollars, of the credit limits that the card category depends on."""

LEVELS = np.concatenate([[0.002], np.linspace(0.025, 0.975, 39), [0.998]])
"""Probabilities of the kept quantiles; the extremes are left out as they are single customers."""


@cache
def load() -> dict[str, Any]:
    """The statistics; read once."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found
