"""A BentoML service with default settings, for `benchmarks.http`."""

import bentoml

from benchmarks.peers import Customer, load_model, matrix


@bentoml.service
class Default:
    """One customer in, one answer out."""

    def __init__(self) -> None:
        self.model = load_model()

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, customer: Customer, /) -> dict[str, float | str]:
        """The plain way to write it."""
        chance = float(self.model.inplace_predict(matrix(customer))[0])
        return {"churn chance": chance, "model_run_id": "0" * 32}
