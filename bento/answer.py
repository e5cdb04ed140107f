"""The answer for one customer, the same over HTTP and over Kinesis."""

import msgspec

from bento.customer import Tier
from bento.runner import Reason


class Answer(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """The answer for one customer; the first two fields are the predecessor's whole answer."""

    churn_chance: float = msgspec.field(name="churn chance")
    """Probability that the customer leaves."""
    model_run_id: str
    model_version: str
    prediction_id: str
    """Time-ordered; the prediction log's key."""
    customer_id: int | str | msgspec.UnsetType = msgspec.UNSET
    tier: Tier
    churn: bool
    """Whether the probability reaches the model's decision threshold."""
    reasons: list[Reason] | msgspec.UnsetType = msgspec.UNSET
    """The five largest contributions; with `other` and `bias` they add up to the log-odds."""
    other: float | msgspec.UnsetType = msgspec.UNSET
    bias: float | msgspec.UnsetType = msgspec.UNSET
