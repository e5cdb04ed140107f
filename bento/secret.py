"""Secrets by reference: a setting may hold the ARN of a secret instead of the secret."""

from typing import Any

from bento.store import StoreError


def reveal(value: str) -> str:
    """What AWS Secrets Manager keeps under an ARN; anything else as it is.

    Raises `StoreError` when the secret cannot be read.
    """
    if not (value.startswith("arn:") and ":secretsmanager:" in value):
        return value
    import boto3  # only who keeps secrets there loads it
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        client: Any = boto3.client("secretsmanager")
        secret: str = client.get_secret_value(SecretId=value)["SecretString"]
    except (BotoCoreError, ClientError, KeyError) as error:  # KeyError: it holds bytes, no text
        raise StoreError(f"secret {value}: {error}") from error
    return secret
