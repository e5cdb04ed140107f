"""Secrets by reference, on the emulator's Secrets Manager."""

from typing import Any

import boto3
import pytest

from bento.secret import reveal
from bento.settings import Settings
from bento.store import StoreError, open_store

URI = "mongodb://user:password@127.0.0.1:1/?timeoutMS=1"


@pytest.mark.parametrize("uri", [URI, "mongodb+srv://cluster.example/?appName=arn:secretsmanager:"])
def test_what_is_no_reference_is_the_secret(uri: str) -> None:
    assert reveal(uri) == uri


@pytest.mark.usefixtures("emulator")
def test_the_store_asks_for_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    client: Any = boto3.client("secretsmanager")
    arn = client.create_secret(Name="mongodb-uri", SecretString="no-uri-but-seen")["ARN"]
    assert reveal(arn) == "no-uri-but-seen"
    client.put_secret_value(SecretId=arn, SecretString=URI)
    assert reveal(arn) == URI
    monkeypatch.setenv("MONGODB_URI", arn)
    store = open_store(Settings())
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1"):
        store.count()


@pytest.mark.usefixtures("emulator")
def test_a_secret_that_is_not_there_is_the_stores_fault() -> None:
    arn = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:nobody-abcdef"
    with pytest.raises(StoreError, match="nobody-abcdef"):
        reveal(arn)
    client: Any = boto3.client("secretsmanager")
    arn = client.create_secret(Name="bytes", SecretBinary=URI.encode())["ARN"]
    with pytest.raises(StoreError, match="bytes"):
        reveal(arn)
