"""Checks of the images: built from the unmodified Dockerfiles, looked into, and started."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.check.framework import Check, CheckError, Fault, files, run, tool
from deploy.check.image_starts import invoke, start

NAMES = ("dagster", "worker", "exporter", "lambda", "emulator", "http")
LIMITS_MB = {"http": 600, "worker": 500}
HISTORY = re.compile(
    r"index-url|index_url|trusted-host|://[^/\s]*:[^/\s]*@|_(PASSWORD|SECRET|KEY)=", re.I
)
SECRETS = (".env.local", ".git/config", ".ssh/id_ed25519", "deploy/worker/pip.conf", "notes.txt")
"""Files planted in a copy of the tree, none of which may reach the engine."""
LOOK = """
import os, re
bad = re.compile(r"^(\\.env.*|\\.git|\\.netrc|\\.aws|\\.ssh|pip\\.conf|id_[a-z0-9]+|.*_tests)$")
for top, folders, names in os.walk("/"):
    if top == "/":
        folders[:] = [f for f in folders if f not in ("proc", "sys", "dev")]
    if "site-packages" in top or top.startswith("/usr/"):
        folders[:] = []
        continue
    for name in folders + names:
        if bad.match(name):
            print(os.path.join(top, name))
"""


def dockerfiles(root: Path) -> int:
    """Hadolint on every Dockerfile, and on the one that a Bento is turned into an image by."""
    found = files(root, "deploy/*/Dockerfile", "deploy/check/standins/*/Dockerfile")
    with tempfile.TemporaryDirectory() as store:
        environment = {"BENTOML_HOME": store, "BENTOML_DO_NOT_TRACK": "True"}
        bentoml = root / ".venv" / "bin" / "bentoml"
        run([bentoml, "build", "--output", "tag", "--version", "check"], root, environment)
        found.append(Path(store) / "bentos" / "churn" / "check" / "env" / "docker" / "Dockerfile")
        run([tool("hadolint"), *found], root)
    return len(found)


def context(root: Path) -> int:
    """`.dockerignore` is a whitelist: of planted secrets none is sent to the engine."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        (tree / ".dockerignore").write_bytes((root / ".dockerignore").read_bytes())
        for name in (*SECRETS, "bento/kept.py", "bento/.env", "bento/__pycache__/kept.pyc"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text("x")
        (Path(folder) / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
        sent = Path(folder) / "sent"
        run(
            ["docker", "build", "--file", f"{folder}/Dockerfile", "--output", sent, tree],
            root,
            {"DOCKER_BUILDKIT": "1"},
        )
        names = sorted(str(path.relative_to(sent)) for path in sent.rglob("*") if path.is_file())
    if names != ["bento/kept.py"]:
        raise CheckError(f".dockerignore: a build is sent {', '.join(names) or 'nothing'}")
    return len(SECRETS) + 3


def content(root: Path) -> int:
    """Each image builds, runs as somebody, holds no secret and is not too large."""
    with built(root, NAMES) as images:
        for name, image in images.items():
            user, size = run(
                ["docker", "image", "inspect", "--format", "{{.Config.User}}|{{.Size}}", image],
                root,
            ).split("|")
            if not re.match(r"[1-9]\d*(:|$)", user):
                raise CheckError(f"{name}: runs as {user or 'root'}")
            limit = LIMITS_MB.get(name, 2_000)
            if int(size) > limit * 1_000_000:
                raise CheckError(f"{name}: {int(size) // 1_000_000} MB, limit {limit}")
            if seen := inside(root, image):
                raise CheckError(f"{name}: holds {', '.join(seen.split())}")
            layers = run(
                ["docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image], root
            )
            if said := HISTORY.search(layers):
                raise CheckError(f"{name}: a layer's history holds {said[0]!r}")
    return 4 * len(NAMES)


def inside(root: Path, image: str) -> str:
    """Paths in an image that have no business there, a line each."""
    command = [
        "docker",
        "run",
        "--rm",
        "--network",
        "none",
        "--user",
        "0",
        "--entrypoint",
        "python",
    ]
    return run([*command, image, "-c", LOOK], root)


def starts(root: Path) -> int:
    """Each server answers its own health check on a read-only root; the HTTP service predicts."""
    with built(root, NAMES) as images:
        return start(root, images)


def function(root: Path) -> int:
    """The Lambda image answers an invocation over Lambda's runtime API."""
    with built(root, ("lambda",)) as images:
        return invoke(root, images["lambda"])


@contextmanager
def built(root: Path, names: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Images by name, built from a tree by the project's own script; their tags go in the end."""
    version = f"check-{os.getpid()}"
    run([root / "deploy" / "check" / "base.sh"], root)
    images = {name: f"churn-{name}:{version}" for name in names}
    own = {"CHURN_VERSION": version, "CHURN_REGISTRY": "", "GIT_COMMIT": "0" * 40}
    try:
        run([root / "deploy" / "images.sh", *names], root, own, timeout=1_800)
        yield images
    finally:
        subprocess.run(  # noqa: S603 - our own tags
            [tool("docker"), "image", "rm", *images.values()], capture_output=True, check=False
        )


def labels(root: Path) -> int:
    """Each Dockerfile names its base by an argument, installs with hashes and says what it is."""
    wanted = (
        "ARG BASE_IMAGE=",
        "--require-hashes",
        "--mount=type=secret,id=pip_conf",
        "org.opencontainers.image.version",
        "org.opencontainers.image.revision",
    )
    found = files(root, "deploy/*/Dockerfile", "deploy/http/Dockerfile.j2")
    for path in found:
        text = path.read_text()
        name = path.relative_to(root)
        if missing := [phrase for phrase in wanted if phrase not in text]:
            raise CheckError(f"{name}: no {json.dumps(missing)}")
        if "# syntax" in text or "<<" in text:
            raise CheckError(f"{name}: needs a newer BuildKit than Debian's")
        if "HEALTHCHECK" not in text and name != Path("deploy/lambda/Dockerfile"):
            raise CheckError(f"{name}: no HEALTHCHECK")
    return len(found)


WORKER = "deploy/worker/Dockerfile"
HTTP = "deploy/http/Dockerfile.j2"
USER = "USER 10001:10001"

CHECKS: tuple[Check, ...] = (
    Check(
        "images-dockerfiles",
        dockerfiles,
        (Fault(WORKER, "WORKDIR /app", "WORKDIR app"), Fault(HTTP, "COPY . ", "ADD . ")),
    ),
    Check(
        "images-labels",
        labels,
        (
            Fault(WORKER, "--require-hashes ", ""),
            Fault("deploy/exporter/Dockerfile", "HEALTHCHECK", "# "),
        ),
    ),
    Check(
        "images-context",
        context,
        (Fault(".dockerignore", "*\n!bento\n", "!bento\n"), Fault(".dockerignore", "**/.*", "")),
        needs_engine=True,
    ),
    Check(
        "images-content",
        content,
        (
            Fault(WORKER, USER, ""),
            Fault(HTTP, "USER {{ bento__uid_gid }}:{{ bento__uid_gid }}\n", ""),
            Fault(WORKER, USER, f"RUN touch /app/.env.local\n{USER}"),
            Fault(WORKER, USER, f"ENV PIP_INDEX_URL=https://me:secret@example.org/simple\n{USER}"),
            Fault(WORKER, USER, f"RUN head -c 200000000 /dev/urandom >/app/ballast\n{USER}"),
        ),
        needs_engine=True,
    ),
    Check(
        "images-start",
        starts,
        (
            Fault(WORKER, "COPY bento bento\n", ""),
            Fault("deploy/exporter/Dockerfile", "8085/metrics", "8086/metrics"),
            Fault(HTTP, "WORKDIR {{ bento__path }}/src", "WORKDIR {{ bento__path }}"),
        ),
        needs_engine=True,
    ),
    Check(
        "images-lambda",
        function,
        (Fault("deploy/lambda/Dockerfile", "lambda_handler.handler", "lambda_handler.handle"),),
        needs_engine=True,
    ),
)
