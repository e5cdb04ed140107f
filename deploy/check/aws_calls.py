"""Which AWS actions a component's code calls: its boto3 methods, found by following its imports.

What a library calls for us is in `LIBRARIES`. A call that a component's modules hold but
that another's users make is in `ELSEWHERE`, with the reason.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.check.framework import CheckError

PACKAGES = ("bento", "churn_assets", "stream_worker")

ENTRIES: Mapping[str, tuple[str, ...]] = {
    "http": ("bento.service",),
    "worker": ("stream_worker.__main__",),
    "lambda": ("stream_worker.lambda_handler",),
    "exporter": ("churn_assets.exporter",),
    "reports": ("churn_assets.reports_mirror",),
    "dagster": ("churn_assets.definitions", "churn_assets.defs"),
}
"""By component, the modules (for a package: all of it) that its process starts with."""

ACTIONS: Mapping[str, frozenset[str]] = {
    method: frozenset(actions.split())
    for method, actions in {
        "abort_multipart_upload": "s3:AbortMultipartUpload",
        "delete_object": "s3:DeleteObject",
        "delete_objects": "s3:DeleteObject",
        "download_file": "s3:GetObject",
        "download_fileobj": "s3:GetObject",
        "get_object": "s3:GetObject",
        "head_bucket": "s3:ListBucket",
        "head_object": "s3:GetObject",
        "list_objects_v2": "s3:ListBucket",
        "put_object": "s3:PutObject",
        "upload_file": "s3:AbortMultipartUpload s3:PutObject",  # large files go in parts
        "upload_fileobj": "s3:AbortMultipartUpload s3:PutObject",
        "create_bucket": "s3:CreateBucket",
        "batch_write_item": "dynamodb:BatchWriteItem",
        "create_table": "dynamodb:CreateTable",
        "delete_item": "dynamodb:DeleteItem",
        "describe_table": "dynamodb:DescribeTable",
        "get_item": "dynamodb:GetItem",
        "put_item": "dynamodb:PutItem",
        "query": "dynamodb:Query",
        "scan": "dynamodb:Scan",
        "table_exists": "dynamodb:DescribeTable",
        "transact_write_items": "dynamodb:PutItem dynamodb:UpdateItem dynamodb:DeleteItem",
        "update_item": "dynamodb:UpdateItem",
        "create_stream": "kinesis:CreateStream",
        "describe_stream": "kinesis:DescribeStream",
        "describe_stream_summary": "kinesis:DescribeStreamSummary",
        "get_records": "kinesis:GetRecords",
        "get_shard_iterator": "kinesis:GetShardIterator",
        "list_shards": "kinesis:ListShards",
        "list_streams": "kinesis:ListStreams",
        "put_record": "kinesis:PutRecord",
        "put_records": "kinesis:PutRecords",
        "stream_exists": "kinesis:DescribeStream",
        "get_secret_value": "secretsmanager:GetSecretValue",
    }.items()
}
"""By boto3 method, paginator or waiter, what IAM calls it."""

AMBIGUOUS = frozenset({"create_table", "get_secret_value", "query", "scan"})
"""Names that others have, too: boto3's where an argument is spelt in its way (`TableName=`)."""

LIBRARIES: Mapping[str, frozenset[str]] = {
    # MLflow's models and plots of a run; Dagster's logs of runs, which go with their run.
    "dagster": frozenset(
        f"s3:{action}"
        for action in (
            "AbortMultipartUpload",
            "DeleteObject",
            "GetObject",
            "ListBucket",
            "PutObject",
        )
    ),
}

ELSEWHERE: Mapping[tuple[str, str], tuple[str, str]] = {
    ("bento.depot", "put_object"): (
        "http worker lambda exporter",
        "servers fetch champions; Dagster adds and releases them",
    ),
    ("stream_worker.dead_letters", "get_object"): ("worker lambda", "a replay's, by operators"),
    ("stream_worker.dead_letters", "delete_object"): ("worker lambda", "a replay's, by operators"),
    ("stream_worker.leases", "create_table"): ("worker", "Terraform has made it"),
    ("stream_worker.leases", "table_exists"): ("worker", "Terraform has made it"),
    ("stream_worker.shards", "*"): ("lambda", "Lambda itself reads the stream"),
    ("churn_assets.defs.monitoring.publishing", "*"): ("exporter reports", "made by Dagster"),
    ("bento.secret", "get_secret_value"): ("reports", "pages need no prediction store"),
    ("churn_assets.defs.monitoring.reference", "put_object"): ("exporter", "made by Dagster"),
}
"""By module and method (* for all): the components that hold the call but do not make it."""


def called(root: Path, component: str) -> dict[str, set[str]]:
    """By IAM action, the modules in whose code the component calls it."""
    found: dict[str, set[str]] = {action: {"a library"} for action in LIBRARIES.get(component, ())}
    for name, path in reached(root, ENTRIES[component]).items():
        for method in methods(ast.parse(path.read_text())):
            if is_elsewhere(component, name, method):
                continue
            for action in ACTIONS[method]:
                found.setdefault(action, set()).add(name)
    return found


def is_elsewhere(component: str, module: str, method: str) -> bool:
    """Whether the component's processes never come to a call that their modules hold."""
    return any(
        component in ELSEWHERE.get((module, key), ("", ""))[0].split() for key in (method, "*")
    )


def methods(tree: ast.AST) -> Iterator[str]:
    """The boto3 methods that a module calls or hands on, and its paginators and waiters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ACTIONS.keys() - AMBIGUOUS:
            yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("get_paginator", "get_waiter"):
                yield literal(node.args[0])
            elif node.func.attr in AMBIGUOUS and any(
                (keyword.arg or "")[:1].isupper() for keyword in node.keywords
            ):
                yield node.func.attr


def literal(node: ast.expr) -> str:
    """The text of a constant that names an action; raises `CheckError` for anything else."""
    if isinstance(node, ast.Constant) and node.value in ACTIONS:
        return str(node.value)
    raise CheckError(f"unknown to aws_calls.ACTIONS: {ast.unparse(node)}")


def reached(root: Path, entries: tuple[str, ...]) -> dict[str, Path]:
    """The project's modules that importing `entries` leads to; of a package, all of them."""
    waiting = [name for entry in entries for name in (entry, *below(root, entry))]
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        path = file_of(root, name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting += imports(ast.parse(path.read_text()))
    if not found:
        raise CheckError(f"no module {' or '.join(entries)}")
    return found


def imports(tree: ast.AST) -> Iterator[str]:
    """What a module imports, also inside functions; names may be modules or what is in them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(root: Path, name: str) -> Path | None:
    """The file of a module of ours, or None."""
    if name.partition(".")[0] not in PACKAGES:
        return None
    path = root.joinpath(*name.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def below(root: Path, package: str) -> Iterator[str]:
    """All modules inside a package."""
    folder = root.joinpath(*package.split("."))
    for path in sorted(folder.rglob("*.py")):
        yield ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
