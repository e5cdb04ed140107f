"""The OpenAPI document, made from the contract itself, and the page that shows it.

The page uses the Swagger UI that BentoML brings, without the tag manager of
BentoML's own page: it works offline and calls nobody.
"""

from typing import Any

import msgspec

from bento.answer import Answer
from bento.customer import Customer
from bento.decoding import MAX_CUSTOMERS
from bento.errors import Refusal

EXAMPLE: dict[str, Any] = {
    "customer_age": 45,
    "gender": "M",
    "dependent_count": 3,
    "education_level": 1,
    "marital_status": "married",
    "income_category": 2,
    "card_category": "blue",
    "months_on_book": 39,
    "total_relationship_count": 5,
    "credit_limit": 12691.0,
    "total_revolving_bal": 777,
}
"""A customer of the core tier, as the predecessor's curl sends one."""

FULL_EXAMPLE: dict[str, Any] = EXAMPLE | {
    "months_inactive_12_mon": 1,
    "contacts_count_12_mon": 3,
    "avg_open_to_buy": 11914.0,
    "total_amt_chng_q4_q1": 1.335,
    "total_trans_amt": 1144.0,
    "total_trans_ct": 42,
    "total_ct_chng_q4_q1": 1.625,
    "avg_utilization_ratio": 0.061,
    "customer_id": 768805383,
}

_REFUSALS = {
    400: "Not a customer, or not a query, that the contract allows; `detail` names every fault.",
    401: "API keys are set and the request brings none of them.",
    405: "The path does not take this method; see `Allow`.",
    408: "The body did not arrive in time.",
    413: "The body is longer than the limit.",
    415: "The body is not `application/json`.",
    429: "As many requests as allowed are being answered; see `Retry-After`.",
    503: "No model is live, or the request could not be answered; see `Retry-After`.",
}


def document(with_keys: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document; `with_keys` when the service asks for API keys."""
    (customer, answer, refusal), schemas = msgspec.json.schema_components(
        [Customer, Answer, Refusal], ref_template="#/components/schemas/{name}"
    )
    components: dict[str, Any] = {"schemas": schemas}
    if with_keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Churn",
            "version": "1",
            "description": "The probability that a credit-card customer leaves.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/predict": {"post": _predict(customer, answer, refusal)},
            "/livez": {"get": _probe("Whether the process answers.", "alive")},
            "/readyz": {
                "get": _probe("Which model is live, and how the prediction log is.", "ready")
                | {"responses": {"200": _any("Ready."), "503": _any("No model is live.")}}
            },
            "/metrics": {
                "get": {
                    "summary": "Metrics for Prometheus.",
                    "operationId": "metrics",
                    "responses": {
                        "200": {
                            "description": "Prometheus' text format.",
                            "content": {"text/plain": {"schema": {"type": "string"}}},
                        },
                        **_refusals(refusal, 401),
                    },
                }
            },
        },
        "components": components,
        **({"security": [{"key": []}]} if with_keys else {}),
    }


def _predict(customer: Any, answer: Any, refusal: Any) -> dict[str, Any]:
    many = {"type": "array", "items": customer, "minItems": 1, "maxItems": MAX_CUSTOMERS}
    return {
        "summary": "Predict whether customers leave.",
        "description": "One customer gives one answer, an array gives an array in the same order.",
        "operationId": "predict",
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "description": "Add the five features that moved the score most, in log-odds.",
                "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"anyOf": [customer, many]},
                    "examples": {
                        "core": {"summary": "Eleven fields", "value": EXAMPLE},
                        "full": {"summary": "All nineteen fields", "value": FULL_EXAMPLE},
                        "many": {"summary": "Many", "value": [EXAMPLE, FULL_EXAMPLE]},
                    },
                }
            },
        },
        "responses": {
            "200": {
                "description": "The answer, already durable in the prediction log.",
                "content": {
                    "application/json": {
                        "schema": {"anyOf": [answer, {"type": "array", "items": answer}]}
                    }
                },
            },
            **_refusals(refusal, *_REFUSALS),
        },
    }


def _probe(summary: str, name: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": name,
        "security": [],
        "responses": {"200": _any(summary)},
    }


def _any(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }


def _refusals(refusal: Any, *statuses: int) -> dict[str, Any]:
    return {
        str(status): {
            "description": _REFUSALS[status],
            "content": {"application/json": {"schema": refusal}},
        }
        for status in statuses
    }


PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Churn: the HTTP API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="static_content/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="static_content/swagger-ui-bundle.js"></script>
<script src="docs.js"></script>
</body>
</html>
"""

PAGE_SCRIPT = b"""window.ui = SwaggerUIBundle({
  url: "docs.json",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  tryItOutEnabled: true,
});
"""
