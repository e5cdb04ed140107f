"""Checks of what training returned: the split it used, and each gate with its numbers."""

from typing import Any

import dagster as dg

from churn_assets.defs.training.selection import GATES


@dg.asset_check(asset="tuned_models")
def unseen_test_customers(tuned_models: dict[str, Any]) -> dg.AssetCheckResult:
    """No test customer is among those that were searched or refitted on."""
    search = tuned_models["search"]
    seen = ("customers", "searched_customers", "test_customers", "test_customers_seen")
    return dg.AssetCheckResult(
        passed=search["test_customers_seen"] == 0, metadata={name: search[name] for name in seen}
    )


def _gate(name: str, description: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset="best_model", name=name, description=description)
    def check(best_model: dict[str, Any]) -> dg.AssetCheckResult:
        gate = next(gate for gate in best_model["gates"] if gate["name"] == name)
        return dg.AssetCheckResult(passed=gate["passed"], metadata=gate["numbers"])

    return check


gates = [_gate(name, description) for name, description in GATES.items()]


@dg.definitions
def defs() -> dg.Definitions:
    """The checks; Dagster would not find those made in a loop."""
    return dg.Definitions(asset_checks=[unseen_test_customers, *gates])
