"""The performance report as a page and as pictures."""

import base64
import html
import io
from typing import TYPE_CHECKING

from churn_assets.defs.monitoring.pages import STYLE, badge
from churn_assets.defs.monitoring.performance import GroupQuality, PerformanceReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "accuracy": "accuracy",
    "churn_rate": "share that left",
    "ece": "calibration error (ECE)",
    "log_loss": "log loss",
    "mae": "MAE",
    "mse": "MSE",
    "rmse": "RMSE",
}
CHARTED = ("roc_auc", "average_precision", "precision", "recall", "f1")


def render(report: PerformanceReport) -> str:
    """The whole page; it needs nothing from elsewhere."""
    start, end = (moment.replace("T", " ")[:16] for moment in report.window)
    return "".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8>",
            "<meta name=viewport content='width=device-width'>",
            f"<title>{report.id}</title>{STYLE}<main>",
            f"<h1>{badge(report.alarm)} {html.escape(report.finding)}</h1>",
            f"<p>Predictions from {start} to {end} UTC: {report.rows:,}; what became of "
            f"{report.labelled:,} of them is known.</p>",
            *map(_section, report.groups),
            _METHOD,
            "</main></html>\n",
        ]
    )


_METHOD = """<h2>How to read this</h2><p><b>Measured</b> numbers compare scores with what became of
the customers. <b>Estimated</b> numbers follow from the scores, calibrated on test customers of the
model; the true value falls into the interval 95 % of the time as long as customers behave as they
did when the model was made. Scores alone cannot tell when that ends: only outcomes can, and once
outcomes contradict the estimate, none is given. In the core tier, a change of the behaviour that
the model is not told counts as such an end. The calibration error is not estimated, as the estimate
presumes it.</p>"""


def _section(group: GroupQuality) -> str:
    tier, run = html.escape(group.tier.capitalize()), html.escape(group.model_run_id)
    title = f"<h2>{tier} tier, model {run}: {group.status}</h2><p>{html.escape(group.sentence)}</p>"
    if not (group.measured or group.estimated):
        return title
    rows = "".join(_row(group, name, words) for name, words in SHOWN.items())
    return (
        f"{title}<table><tr><th>metric<th class=n>measured<th class=n>estimated"
        f"<th class=n>95 % interval<th></tr>{rows}</table>"
        f"<p><img alt='{html.escape(group.tier)} tier in pictures' style='max-width:100%' "
        f"src='data:image/png;base64,{_png(figure(group))}'></p>"
    )


def _row(group: GroupQuality, name: str, words: str) -> str:
    measured = (group.measured or {}).get(name)
    value, low, high = (group.estimated or {}).get(name, (None, None, None))
    if measured is None and value is None:
        return ""
    outside = name in group.outside
    span = "" if low is None else f"{low:.3f} to {high:.3f}"
    return (
        f"<tr class={'alarm' if outside else 'quiet'}><td>{words}"
        f"<td class=n>{_number(measured)}<td class=n>{_number(value)}<td class=n>{span}"
        f"<td>{'outside' if outside else ''}</tr>"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def figure(group: GroupQuality) -> "Figure":
    """Estimates beside measurements; calibration where outcomes are known."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10, 3.2), layout="constrained")
    quality, reliability = drawn.subplots(1, 2)
    for place, name in enumerate(CHARTED):
        if group.estimated and name in group.estimated:
            value, low, high = group.estimated[name]
            quality.plot([low, high], [place, place], color="#8fb3d9", linewidth=8)
            quality.plot(value, place, "o", color="#1f4e79")
        if group.measured and name in group.measured:
            quality.plot(group.measured[name], place, "D", color="#b3261e")
    quality.set_yticks(range(len(CHARTED)), [SHOWN[name] for name in CHARTED])
    quality.invert_yaxis()
    quality.set_title("estimated with its interval (blue), measured (red)", fontsize=10)
    if group.calibration:
        promised, left, rows = zip(*group.calibration, strict=True)
        most = max(rows)
        reliability.plot([0, 1], [0, 1], color="#999999", linestyle="--")
        reliability.scatter(promised, left, s=[20 + 180 * n / most for n in rows], color="#b3261e")
        reliability.set(xlabel="P(leave) as scored", ylabel="share that left")
    else:
        reliability.axis("off")
        reliability.text(0.5, 0.5, "no outcomes yet", ha="center")
    reliability.set_title("calibration", fontsize=10)
    return drawn


def _png(drawn: "Figure") -> str:
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=80)
    return base64.b64encode(buffer.getvalue()).decode()
