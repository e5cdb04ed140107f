"""The servers that `benchmarks.http` compares ours with, each as its users would write it.

`MODEL` in the environment names the XGBoost model file; `STORE` the MongoDB URI that the
predecessor's way inserts into.
"""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pydantic

from bento.customer import CODES, CORE_FIELDS, FEATURES

if TYPE_CHECKING:
    import fastapi
    import flask
    import xgboost


class Customer(pydantic.BaseModel, extra="forbid"):
    """The same contract in pydantic."""

    customer_age: Annotated[int, pydantic.Field(ge=18, le=120)]
    gender: Literal["M", "F"]
    dependent_count: Annotated[int, pydantic.Field(ge=0, le=50)]
    education_level: Annotated[int, pydantic.Field(ge=0, le=5)] | None
    marital_status: Literal["single", "married", "divorced"] | None
    income_category: Annotated[int, pydantic.Field(ge=0, le=4)] | None
    card_category: Literal["blue", "silver", "gold", "platinum"]
    months_on_book: Annotated[int, pydantic.Field(ge=0, le=1_200)]
    total_relationship_count: Annotated[int, pydantic.Field(ge=0, le=100)]
    credit_limit: Annotated[float, pydantic.Field(ge=0, le=1e9)]
    total_revolving_bal: Annotated[float, pydantic.Field(ge=0, le=1e9)]


def load_model() -> "xgboost.Booster":
    """The model with one thread."""
    import xgboost

    model = xgboost.Booster({"nthread": 1})
    model.load_model(os.environ["MODEL"])
    return model


def matrix(customer: Customer) -> np.ndarray:
    """One row of shape (1, 19): the eleven core fields, the rest unknown."""
    values = customer.model_dump()
    row = [CODES[f].get(values[f], np.nan) if f in CODES else values[f] for f in CORE_FIELDS]
    row += [np.nan] * (len(FEATURES) - len(row))
    return np.array([row], dtype=np.float32)


async def static(scope: Any, receive: Any, send: Any) -> None:
    """The floor: a fixed answer, nothing read, nothing done."""
    if scope["type"] == "http":
        body = b'{"churn chance":0.25,"model_run_id":"00000000000000000000000000000000"}'
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def fastapi_app() -> "fastapi.FastAPI":
    """FastAPI, pydantic and XGBoost; nothing is logged."""
    import fastapi

    app = fastapi.FastAPI()
    model = load_model()

    @app.post("/predict")
    async def predict(customer: Customer) -> dict[str, Any]:
        chance = float(model.inplace_predict(matrix(customer))[0])
        return {"churn chance": chance, "model_run_id": "0" * 32}

    return app


def flask_app() -> "flask.Flask":
    """The predecessor's way: Flask, DictVectorizer, DMatrix, one synchronous insert."""
    import flask
    import pymongo
    import xgboost
    from sklearn.feature_extraction import DictVectorizer

    app = flask.Flask("predict")
    rows = [
        {"gender": gender, "marital_status": status, "card_category": card}
        | dict.fromkeys((f for f in CORE_FIELDS if f not in CODES), 0.0)
        for gender in CODES["gender"]
        for status in CODES["marital_status"]
        for card in CODES["card_category"]
    ]
    vectorizer = DictVectorizer().fit(rows)
    sample = np.random.default_rng(0).normal(size=(2_000, len(vectorizer.feature_names_)))
    model = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 5, "nthread": 1},
        xgboost.DMatrix(sample, sample[:, 0] > sample[:, 1]),
        int(os.environ["TREES"]),
    )
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(os.environ["STORE"])
    collection = client["prediction_service"]["data"]

    @app.post("/predict")
    def predict() -> flask.Response:
        customer: dict[str, Any] = flask.request.get_json()
        chance = float(model.predict(xgboost.DMatrix(vectorizer.transform(customer)))[0])
        row = customer | {
            "prediction": chance,
            "created_at": datetime.now(UTC).isoformat(),
            "model_run_id": "0" * 32,
        }
        collection.insert_one(row)
        return flask.jsonify({"churn chance": chance, "model_run_id": "0" * 32})

    return app
