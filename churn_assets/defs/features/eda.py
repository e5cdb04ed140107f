"""Pictures of the customers: what goes together, who they are, who leaves."""

from typing import TYPE_CHECKING

import pandas as pd

from bento.customer import CODES, EDUCATION_LEVELS, INCOME_CATEGORIES
from churn_assets.defs.features.cleaning import TARGET
from churn_assets.defs.features.rows import ID

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {"education_level": EDUCATION_LEVELS, "income_category": INCOME_CATEGORIES}
CATEGORICAL = (*CODES, *NAMES)
RATED = ("total_trans_ct", "total_revolving_bal", "total_relationship_count", "customer_age")


def correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """Pearson correlation of every numerical column with every other."""
    numbers = frame.drop(columns=[*CODES, ID]).astype("float64")
    return numbers.corr()


def rates(frame: pd.DataFrame, field: str) -> pd.DataFrame:
    """Customers and share that left, by category or by fifth of a numerical field."""
    column = frame[field]
    if field in CATEGORICAL:
        names = NAMES.get(field) or tuple(CODES[field])
        named = column.map(dict(enumerate(names))) if field in NAMES else column
        groups = pd.Categorical(named.astype(object).fillna("unknown"), [*names, "unknown"])
    else:
        fifths = pd.qcut(column.astype("float64"), 5, duplicates="drop").array
        words = [f"over {part.left:.4g}, to {part.right:.4g}" for part in fifths.categories]
        words[0] = f"to {fifths.categories[0].right:.4g}"
        groups = fifths.rename_categories(words)
    grouped = pd.DataFrame({TARGET: frame[TARGET], "group": groups}).groupby("group", observed=True)
    return grouped.agg(customers=(TARGET, "size"), churn_rate=(TARGET, "mean"))


def heat_map(frame: pd.DataFrame) -> "Figure":
    """Correlations as colours and, where there is one, as numbers."""
    from matplotlib.figure import Figure

    found = correlations(frame)
    figure = Figure(figsize=(11, 9))
    axes = figure.subplots()
    image = axes.imshow(found, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set_xticks(range(len(found)), found.columns, rotation=60, ha="right")
    axes.set_yticks(range(len(found)), found.columns)
    for row, values in enumerate(found.to_numpy()):
        for column, value in enumerate(values):
            if abs(value) >= 0.1:
                shade = "white" if abs(value) > 0.6 else "black"
                text = f"{value:.1f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=shade)
    figure.colorbar(image, shrink=0.8)
    return figure


def category_counts(frame: pd.DataFrame) -> "Figure":
    """Customers in each category."""
    return _bars({field: rates(frame, field)["customers"] for field in CATEGORICAL}, "{:,.0f}")


def target_rates(frame: pd.DataFrame) -> "Figure":
    """Share of customers that left, by category and along the most telling numbers."""
    found = {field: rates(frame, field)["churn_rate"] for field in (*CATEGORICAL, *RATED)}
    return _bars(found, "{:.1%}")


def _bars(series: dict[str, pd.Series], label: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.2 * -(-len(series) // 3)), layout="tight")
    for axes in figure.subplots(-(-len(series) // 3), 3).flat[len(series) :]:
        axes.remove()
    for axes, (field, values) in zip(figure.axes, series.items(), strict=True):
        bars = axes.barh([str(name).replace("$", r"\$") for name in values.index], values)
        axes.bar_label(bars, [label.format(value) for value in values], padding=2, fontsize=8)
        axes.set_title(field, fontsize=10)
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.xaxis.set_visible(False)
    return figure
