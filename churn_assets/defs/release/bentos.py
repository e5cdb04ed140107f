"""The champion in BentoML: an entry of the model store, and a Bento that passes a smoke test."""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bento.champion import FILES, Champion, ChampionError
from bento.customer import Customer

ROOT = Path(__file__).parents[3]
BENTOFILE = "bentofile.yaml"
SERVICE = "churn"
CONTAINER_MODELS = "/home/bentoml/bento/models"
"""Where `bentoml containerize` puts a Bento's models."""


class Built(NamedTuple):
    """A Bento in the store."""

    tag: str
    path: Path


def import_model(folder: Path, champion: Champion, tag: str) -> None:
    """Put a champion folder into the BentoML model store, manifest as metadata; twice is once."""
    import bentoml

    try:
        bentoml.models.get(tag)
    except bentoml.exceptions.NotFound:
        with bentoml.models.create(
            tag,
            module="bento.runner",
            labels={"model_run_id": champion.model_run_id, "model_version": champion.model_version},
            metadata=msgspec.to_builtins(champion),
        ) as model:
            for name in FILES:
                shutil.copy(folder / name, model.path_of(name))


def build(model_tag: str, champion: Champion) -> Built:
    """The Bento of this code, our lock and the model, as `bentofile.yaml` says.

    Its version names all three, so that the same Bento is built once.
    """
    import bentoml

    model_name, model_version = model_tag.split(":")
    with tempfile.TemporaryDirectory() as context:  # BentoML walks through all of its context
        content = _stage(Path(context))
        version = f"{model_version}-{content[:8]}"
        try:
            bento = bentoml.get(f"{SERVICE}:{version}")
        except bentoml.exceptions.NotFound:
            # In the container there is no pointer: the service serves what was packed with it.
            packed = f"{CONTAINER_MODELS}/{model_name}/{model_version}"
            options = _options() | {
                "models": [model_tag],
                "envs": [{"name": "CHAMPION_FOLDER", "value": packed}],
            }
            bentofile = Path(context) / BENTOFILE
            bentofile.write_text(msgspec.yaml.encode(options).decode())
            with contextlib.chdir(context):  # it takes no template from anywhere else
                bento = bentoml.bentos.build_bentofile(
                    str(bentofile),
                    version=version,
                    build_ctx=context,
                    labels={"model_run_id": champion.model_run_id},
                )
    return Built(str(bento.tag), Path(bento.path))


def _options() -> dict[str, Any]:
    return msgspec.yaml.decode((ROOT / BENTOFILE).read_bytes(), type=dict[str, Any])


def _stage(target: Path) -> str:
    """Copy what the Bento is built from; returns its SHA-256."""
    options = _options()
    names = {BENTOFILE, options["docker"]["dockerfile_template"]}
    for pattern in options["include"]:
        names |= {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)}
    content = hashlib.sha256()
    for name in sorted(names):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
        content.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return content.hexdigest()


def smoke_test(
    bento: Path, folder: Path, customers: Sequence[Customer], expected: NDArray[np.float32]
) -> float:
    """Score golden customers in a child process with the Bento's own code.

    Returns the largest difference to `expected` (n,); raises `ChampionError` when the
    child fails or did not run the Bento's code.
    """
    source = bento / "src"
    child = subprocess.run(  # noqa: S603 - our own interpreter and arguments
        [sys.executable, "-m", "bento.smoke", str(folder.absolute())],
        input=msgspec.json.encode(customers),
        capture_output=True,
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source)},
        timeout=120,
        check=False,
    )
    if child.returncode:
        raise ChampionError(f"smoke test: {child.stderr.decode()[-2000:]}")
    answer = msgspec.json.decode(child.stdout)
    if Path(answer["code"]).resolve() != (source / "bento").resolve():
        raise ChampionError(f"smoke test: ran the code in {answer['code']}, not in {source}")
    return float(np.abs(np.array(answer["scores"]) - expected).max())
