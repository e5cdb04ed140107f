"""What a push leads to: the plan, the hash of an image's content, the notes of a release."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from churn_assets_tests.conftest import ROOT

RUN = "0" * 31 + "1"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A small repository with the real scripts."""
    shutil.copytree(ROOT / "deploy" / "delivery", tmp_path / "deploy" / "delivery")
    for name, content in {
        ".dockerignore": "*\n",
        ".env.cloud": "# settings\nCHURN_BUCKET=one\nRUN_ID=\n",
        "CHANGELOG.md": "## Unreleased\n\n- soon\n\n## 1.2.0 (2026)\n\n- this\n\n## 1.1.0\n",
        "bento/code.py": "",
        "docs/page.md": "",
        "lock": "",
        "deploy/worker/Dockerfile": "FROM x AS a\nCOPY bento \\\n  lock ./\nCOPY --from=a /b /b\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    run(tmp_path, "git", "init", "-q")
    commit(tmp_path)
    return tmp_path


def run(folder: Path, *command: str, **env: str) -> str:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(folder: Path) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    run(folder, "git", "add", "-A")
    run(folder, "git", *identity, "commit", "-q", "-m", "change")


def write(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    commit(folder)


def plan(folder: Path, **env: str) -> dict[str, str]:
    said = run(folder, "deploy/delivery/plan.sh", REGISTRY="r/", USUAL_TARGET="vm", **env)
    return dict(line.split("=", 1) for line in said.splitlines())


def test_run_id_alone_needs_no_image(clone: Path) -> None:
    write(clone, ".env.cloud", f"# settings\nCHURN_BUCKET=one\nRUN_ID={RUN}\n")
    assert plan(clone, EVENT="push", BEFORE="HEAD~1") == {
        "target": "vm",
        "stages": '["unit"]',
        "images": "false",
        "arguments": f"deploy run_id={RUN}",
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".env.cloud", f"# settings\nCHURN_BUCKET=two\nRUN_ID={RUN}\n"),
        (".env.cloud", "# settings\nCHURN_BUCKET=one\nRUN_ID=\nRUN_ID=$(reboot)\n"),
        ("docs/page.md", f"-RUN_ID={RUN}\n"),
        ("bento/code.py", "1\n"),
    ],
)
def test_anything_else_is_code(clone: Path, name: str, content: str) -> None:
    write(clone, name, content)
    assert run(clone, "deploy/delivery/changed.sh", "HEAD~1", "HEAD") == "code"


def test_code_is_deployed_by_its_commit(clone: Path) -> None:
    write(clone, "bento/code.py", "1\n")
    planned = plan(clone, EVENT="push", BEFORE="HEAD~1")
    head = run(clone, "git", "rev-parse", "HEAD")
    assert (planned["images"], planned["arguments"]) == ("true", f"deploy version={head} run_id=")
    assert plan(clone, EVENT="push", BEFORE="0" * 40)["images"] == "true"


@pytest.mark.parametrize(
    ("asked", "arguments"),
    [
        ({"RUN_ID": RUN}, f"deploy run_id={RUN}"),
        ({"RUN_ID": "champion", "VERSION": "v1.2.0"}, "deploy version=v1.2.0 run_id="),
        ({"ROLLBACK": "true", "RUN_ID": RUN}, "rollback"),
    ],
)
def test_what_a_person_asks_for(clone: Path, asked: dict[str, str], arguments: str) -> None:
    planned = plan(clone, EVENT="workflow_dispatch", TARGET="cluster", **asked)
    assert (planned["target"], planned["arguments"]) == ("cluster", arguments)


def test_a_command_in_a_value_is_refused(clone: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        plan(clone, EVENT="workflow_dispatch", RUN_ID="a;reboot")


def test_the_hash_is_of_what_the_image_holds(clone: Path) -> None:
    def content(epoch: str = "2026-11") -> str:
        script = "deploy/delivery/component_hash.sh"
        return run(clone, script, "worker", CHURN_EPOCH=epoch)

    before = content()
    write(clone, "docs/page.md", "more")
    assert content() == before
    write(clone, "lock", "more")
    after = content()
    write(clone, "bento/code.py", "more")
    assert len({before, after, content(), content("2026-12")}) == 4


def test_an_image_of_files_that_are_not_there_has_no_hash(clone: Path) -> None:
    write(clone, "deploy/worker/Dockerfile", "COPY elsewhere ./\n")
    with pytest.raises(subprocess.CalledProcessError):
        run(clone, "deploy/delivery/component_hash.sh", "worker")


@pytest.mark.parametrize("component", ["dagster", "worker", "exporter", "lambda", "http"])
def test_every_component_has_a_hash(component: str) -> None:
    assert len(run(ROOT, "deploy/delivery/component_hash.sh", component)) == 16


def test_notes_of_a_release(clone: Path) -> None:
    assert run(clone, "deploy/delivery/changelog.sh", "1.2.0") == "- this"
    with pytest.raises(subprocess.CalledProcessError):
        run(clone, "deploy/delivery/changelog.sh", "1.2")
