"""`make check-deploy` counts, stops, skips aloud; its faults are planted in a copy and found."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from churn_assets_tests.conftest import ROOT
from deploy.check import __main__ as command
from deploy.check import engine, faults, runner
from deploy.check.framework import Check, CheckError, Fault, SkipError, tracked


def check(name: str, run: Callable[[Path], int], *planted: Fault, engine: bool = False) -> Check:
    return Check(name, run, planted, engine)


def wants_three(root: Path) -> int:
    if (found := json.loads((root / "three.json").read_text())) != 3:
        raise CheckError(f"it is {found}")
    return 1


def finds_a_fault(_: Path) -> int:
    raise CheckError("line 7: broken")


def cannot_run(_: Path) -> int:
    raise SkipError("no compass")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A git repository with one good file, one ignored and one that is new."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "three.json").write_text("3")
    (root / ".gitignore").write_text("secret.env\n")
    for line in ("init -q", "add ."):
        subprocess.run(["git", *line.split()], cwd=root, check=True)
    (root / "secret.env").write_text("x")
    (root / "new.txt").write_text("x")
    return root


def test_it_counts_what_was_checked_and_names_what_was_not(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [
        check("three", wants_three),
        check("five", lambda _: 5),
        check("compass", cannot_run),
        check("images", lambda _: 1, engine=True),
    ]
    assert runner.verify(checks, tree, "no engine here") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["PASS", "three"],
        ["PASS", "five"],
        ["SKIP", "compass"],
        ["SKIP", "images"],
    ]
    assert lines[4:] == [
        "checked 6 things in 2 checks; skipped 2: compass (no compass); images (no engine here)"
    ]


def test_the_first_fault_stops_it_with_the_tools_own_words(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[Path] = []

    def after(root: Path) -> int:
        ran.append(root)
        return 1

    assert runner.verify([check("bad", finds_a_fault), check("after", after)], tree, None) == 1
    out = capsys.readouterr().out
    assert "line 7: broken" in out
    assert out.splitlines()[-1].startswith("bad failed; before it checked 0 things")
    assert ran == []


def test_a_check_that_looked_at_nothing_is_a_fault(tree: Path) -> None:
    assert runner.verify([check("nothing", lambda _: 0)], tree, None) == 1


def test_faults_are_planted_in_a_copy_of_what_git_knows_or_would_add(tree: Path) -> None:
    seen: list[set[str]] = []

    def look(root: Path) -> int:
        seen.append({path.name for path in tracked(root)})
        return wants_three(root)

    assert faults.show([check("three", look, Fault("three.json", "3", "4"))], tree, None) == 0
    assert seen == [{"three.json", ".gitignore", "new.txt"}] * 2
    assert (tree / "three.json").read_text() == "3"


def test_a_fault_that_is_not_found_is_said(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harmless = Fault("new.txt", "", "y")
    found = Fault("three.json", "3", "33")
    assert faults.show([check("three", wants_three, harmless, found)], tree, None) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["MISSES", "it"], ["finds", "it"]]
    assert lines[-1] == "planted 2 faults in 1 checks, 1 missed; skipped 0"


@pytest.mark.parametrize(
    "bad",
    [check("none", wants_three), check("bad", finds_a_fault, Fault("three.json", "3", "4"))],
    ids=["it declares no fault", "it fails without one"],
)
def test_a_check_that_shows_nothing_is_missed(tree: Path, bad: Check) -> None:
    assert faults.show([bad], tree, None) == 1


def test_a_check_that_cannot_run_shows_nothing_but_says_so(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = check("compass", cannot_run, Fault("three.json", "3", "4"))
    assert faults.show([skipped], tree, None) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("skipped 1: compass (no compass)")


def test_a_fault_out_of_date_is_an_error(tree: Path) -> None:
    for stale in (Fault("three.json", "4", "5"), Fault("gone.json", "4", "5")):
        with pytest.raises(ValueError, match="out of date"):
            faults.plant(stale, tree)


def test_every_check_has_its_name_and_a_fault_that_fits_the_tree() -> None:
    checks = command.collect()
    names = [one.name for one in checks]
    assert len(set(names)) == len(names) > 10
    for one in checks:
        assert one.faults, one.name
        for fault in one.faults:
            path = ROOT / fault.path
            assert not fault.old or fault.old in path.read_text(), (one.name, fault)
    needs = [one.needs_engine for one in checks]
    assert needs == sorted(needs), "those that need an engine come last"


def test_an_unknown_check_is_named() -> None:
    with pytest.raises(ValueError, match="no check is called nonsense"):
        command.choose(command.collect(), ["nonsense"])


def test_an_engine_that_runs_is_left_alone_and_one_that_was_started_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "deploy" / "check" / "engine.sh"
    script.parent.mkdir(parents=True)
    script.write_text(
        f"#!/bin/sh\necho $1 >>{tmp_path}/calls\n"
        f"case $1 in\nstart) touch {tmp_path}/up; echo export DOCKER_HOST=unix:///made/here;;\n"
        f"stop) rm {tmp_path}/up;;\nstatus) [ ! -e {tmp_path}/up ] || echo ours;;\nesac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("DOCKER_HOST", "")
    with engine.engine(tmp_path, wanted=True) as reason:
        assert reason is None
        assert os.environ["DOCKER_HOST"] == "unix:///made/here"
    assert not (tmp_path / "up").exists()
    (tmp_path / "up").touch()
    with engine.engine(tmp_path, wanted=True):
        pass
    assert (tmp_path / "up").exists()


def test_a_machine_without_an_engine_says_so(tmp_path: Path) -> None:
    script = tmp_path / "deploy" / "check" / "engine.sh"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n[ $1 = status ] || exit 3\n")
    script.chmod(0o755)
    with engine.engine(tmp_path, wanted=True) as reason:
        assert reason == "no container engine can be had here"


def test_what_a_check_does_to_the_environment_ends_with_it(tree: Path) -> None:
    """A check that imports the tests' settings had made the next one look for `.env.test`."""

    def sets(_: Path) -> int:
        os.environ["CHURN_ENV"] = "elsewhere"
        return 1

    def looks(_: Path) -> int:
        if os.environ.get("CHURN_ENV") == "elsewhere":
            raise CheckError("it was left behind")
        return 1

    assert runner.verify([check("sets", sets), check("looks", looks)], tree, None) == 0
