"""Terraform: its own checks, policies against the code, and a life in the emulator."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from deploy.check import aws_calls
from deploy.check.cloud import STATE_BUCKET, emulator, tag_streams
from deploy.check.framework import Check, CheckError, Fault, SkipError, run, tool

MODULE = "deploy/terraform"
PLUGIN_FOLDERS = ("~/.terraform.d/plugins", "/usr/share/terraform/plugins", "/opt/*plugins*")
PLAIN = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "TF_CLI_ARGS": "-no-color"}

EVERYTHING = {
    "emulator": "true",
    "bucket": "churn-check",
    "force_destroy": "true",
    # The emulator forgets half of an alarm, so that no plan would ever be empty.
    "alarms": "false",
    "vm_profile": "true",
    "github_repository": "owner/name",
    "eks_oidc_provider_arn": "arn:aws:iam::000000000000:oidc-provider/oidc.eks.example/id/A1",
    "lambda_enabled": "true",
    "lambda_image_uri": "000000000000.dkr.ecr.eu-west-1.amazonaws.com/churn-lambda:1",
}
"""Every part that has a switch, on."""

LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'
BUCKET_STATE = f"""bucket = "{STATE_BUCKET}"
key = "churn.tfstate"
region = "eu-west-1"
use_path_style = true
skip_credentials_validation = true
skip_requesting_account_id = true
"""


def format_(root: Path) -> int:
    """`terraform fmt`: every file is laid out its way."""
    run([tool("terraform"), "fmt", "-check", "-diff", "-recursive", MODULE], root, PLAIN)
    return len([*(root / MODULE).rglob("*.tf"), *(root / MODULE).rglob("*.hcl")])


def validate(root: Path) -> int:
    """`terraform validate`: every argument is one that the provider knows."""
    with module(root, "none") as folder:
        terraform(folder, "validate")
        return len(list(folder.glob("*.tf")))


def test(root: Path) -> int:
    """`terraform test`: what is promised, on a provider that makes nothing."""
    with module(root, "none") as folder:
        said = terraform(folder, "test", environment={"AWS_REGION": "eu-west-1"})
        return said.count("... pass")


def permissions(root: Path) -> int:
    """Every component's policy, as AWS gets it, allows what its code calls and no more."""
    with emulator() as cloud, module(root, "file") as folder:
        environment = cloud | variables(EVERYTHING)
        target = "-target=aws_iam_policy.component"
        terraform(folder, "apply", "-auto-approve", target, environment=environment)
        allowed = policies(json.loads(terraform(folder, "show", "-json", environment=environment)))
    if missing := aws_calls.ENTRIES.keys() ^ allowed.keys():
        raise CheckError(f"either a policy or an entry in aws_calls is missing: {missing}")
    faults = []
    for component, actions in sorted(allowed.items()):
        calls = aws_calls.called(root, component)
        for action in sorted(calls.keys() - actions):
            where = ", ".join(sorted(calls[action]))
            faults.append(f"{component} may not {action}, which {where} calls")
        faults += [f"{component} may {action}, unused" for action in sorted(actions - calls.keys())]
    if faults:
        raise CheckError("\n".join(faults))
    return sum(map(len, allowed.values()))


def life(root: Path) -> int:
    """Applied twice, planned to no change, worked with, destroyed: nothing is left."""
    with emulator() as cloud, module(root, "bucket", cloud) as folder:
        environment = cloud | variables(EVERYTHING)
        apply = ("apply", "-auto-approve")
        terraform(folder, *apply, environment=environment)
        tag_streams(cloud, **{"project": "churn", "managed-by": "terraform"})
        state = terraform(folder, "state", "list", environment=environment).splitlines()
        again = terraform(folder, *apply, environment=environment)
        if "0 added, 0 changed, 0 destroyed" not in again:
            raise CheckError(f"a second apply changes something:\n{again}")
        terraform(folder, "plan", "-detailed-exitcode", environment=environment)
        lines = terraform(folder, "output", "-raw", "env", environment=environment)
        settings = dict(line.split("=", 1) for line in lines.splitlines())
        program = [sys.executable, "-m", "deploy.check.cloud_smoke"]
        run(program, root, cloud | settings | {"CHURN_ENV": "check"}, timeout=180)
        terraform(folder, "destroy", "-auto-approve", environment=environment)
        if left := terraform(folder, "state", "list", environment=environment):
            raise CheckError(f"left in the state: {left}")
        run([*program, "--gone"], root, cloud | settings, timeout=60)
        return sum(not name.startswith("data.") for name in state)


def policies(state: Mapping[str, Any]) -> dict[str, set[str]]:
    """By component, the actions of its policy; raises `CheckError` for a wildcard among them."""
    found: dict[str, set[str]] = {}
    for resource in state["values"]["root_module"]["resources"]:
        if (resource["type"], resource["name"]) == ("aws_iam_policy", "component"):
            statements = json.loads(resource["values"]["policy"])["Statement"]
            actions: set[str] = set()
            for statement in statements:
                listed = statement["Action"]
                actions |= {listed} if isinstance(listed, str) else set(listed)
            if wild := [action for action in actions if "*" in action]:
                raise CheckError(f"{resource['index']} has a wildcard: {wild}")
            found[resource["index"]] = actions
    return found


def variables(values: Mapping[str, str]) -> dict[str, str]:
    """Values as Terraform reads them from the environment."""
    return {f"TF_VAR_{name}": value for name, value in values.items()}


@contextmanager
def module(
    root: Path, state: Literal["none", "file", "bucket"], cloud: Mapping[str, str] | None = None
) -> Iterator[Path]:
    """A copy of the module, initialized; raises `SkipError` where the provider is not to be had."""
    with tempfile.TemporaryDirectory(prefix="churn-terraform-") as temporary:
        folder = Path(temporary) / "terraform"
        shutil.copytree(root / MODULE, folder, ignore=shutil.ignore_patterns(".terraform*"))
        options = []
        if state == "none":
            options.append("-backend=false")
        elif state == "file":
            (folder / "backend_override.tf").write_text(LOCAL_STATE)
        else:
            (folder / "state.tfbackend").write_text(BUCKET_STATE)
            options.append("-backend-config=state.tfbackend")
        plugins = plugin_folder()
        if plugins:
            options.append(f"-plugin-dir={plugins}")
        try:
            terraform(folder, "init", *options, environment=cloud)
        except CheckError as error:
            if not plugins and "Failed to query available provider packages" in str(error):
                raise SkipError("the AWS provider is not here: set TF_PLUGIN_DIR") from error
            raise
        yield folder


def plugin_folder() -> Path | None:
    """Where the AWS provider has been put by hand; None: Terraform downloads it."""
    if named := os.environ.get("TF_PLUGIN_DIR"):
        return Path(named)
    for pattern in PLUGIN_FOLDERS:
        path = Path(pattern).expanduser()
        for folder in sorted(path.parent.glob(path.name)):
            if any(folder.glob("*/hashicorp/aws")):
                return folder
    return None


def terraform(folder: Path, *command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run Terraform in a module; returns what it printed."""
    plain = dict(PLAIN)
    if not Path(os.environ.get("TF_CLI_CONFIG_FILE", "")).is_file():
        plain["TF_CLI_CONFIG_FILE"] = ""  # else a warning about it stands in every output
    return run([tool("terraform"), *command], folder, {**plain, **(environment or {})})


CHECKS = (
    Check(
        "terraform-format",
        format_,
        (Fault(f"{MODULE}/storage.tf", "bucket        = var.bucket", "bucket = var.bucket"),),
    ),
    Check(
        "terraform-validate",
        validate,
        (
            Fault(f"{MODULE}/storage.tf", "point_in_time_recovery {", "point_in_time {"),
            Fault(f"{MODULE}/outputs.tf", "aws_iam_role.github :", "aws_iam_role.gitlab :"),
        ),
    ),
    Check(
        "terraform-test",
        test,
        (
            Fault(f"{MODULE}/permissions.tf", '["s3:GetObject"]', '["s3:Get*"]'),
            Fault(f"{MODULE}/lambda.tf", "var.lambda_enabled ?", "true ?"),
            Fault(f"{MODULE}/storage.tf", "= var.force_destroy", "= true"),
            Fault(f"{MODULE}/storage.tf", 'effect    = "Deny"', 'effect    = "Allow"'),
            Fault(f"{MODULE}/github.tf", "repo:${var.github_repository}", "repo:*"),
            Fault(f"{MODULE}/registry.tf", '"IMMUTABLE"', '"MUTABLE"'),
        ),
    ),
    Check(
        "terraform-permissions",
        permissions,
        (
            Fault(
                f"{MODULE}/permissions.tf",
                '"dynamodb:Query",',
                '"dynamodb:Query", "dynamodb:Scan",',
            ),
            Fault(f"{MODULE}/permissions.tf", '          "kinesis:ListShards",\n', ""),
            Fault("stream_worker/leases.py", "_client.delete_item(", "_client.batch_write_item("),
        ),
    ),
    Check(
        "terraform-apply",
        life,
        (Fault(f"{MODULE}/storage.tf", '"MONGODB_URI"', "timestamp()"),),
    ),
)
