"""Going live and back on this machine, without MLflow."""

from pathlib import Path

import pytest

from bento.champion import ChampionError, read_live
from bento.settings import get_settings
from churn_assets import release as command
from churn_assets.defs.release import live
from churn_assets_tests.champions import make_champion


@pytest.fixture
def pointer() -> Path:
    """Three packaged champions; the first, then the second was made live by the registry."""
    pointer = get_settings().live_pointer
    for seed in (1, 2, 3):
        make_champion(pointer.parent / f"v{seed}", seed=seed, trees=5, version=str(seed))
    for seed in (1, 2):
        live.release(pointer, pointer.parent / f"v{seed}", "registry")
    return pointer


def tag(pointer: Path) -> str | None:
    now = read_live(pointer)
    return now.tag if now else None


def test_what_a_person_took_off_is_held_until_the_registry_names_another(pointer: Path) -> None:
    home, bad = pointer.parent, f"{2:032x}"
    assert live.held(pointer, bad) is None
    assert live.roll_back(pointer).tag == "churn:v1"
    assert live.held(pointer, bad) is not None
    live.release(pointer, home / "v1", "registry")
    assert live.held(pointer, bad) is None, "the registry agrees: nothing is held back any more"
    live.release(pointer, home / "v2", "registry")
    assert tag(pointer) == "churn:v2"


def test_going_back_twice_never_returns_to_what_was_taken_off(pointer: Path) -> None:
    live.release(pointer, pointer.parent / "v3", "registry")
    assert live.roll_back(pointer).tag == "churn:v2"
    assert live.roll_back(pointer).tag == "churn:v1"
    with pytest.raises(ChampionError, match="no earlier champion"):
        live.roll_back(pointer)
    assert tag(pointer) == "churn:v1"


def test_a_folder_that_cannot_be_served_never_goes_live(pointer: Path) -> None:
    (pointer.parent / "v3" / "model.onnx").write_bytes(b"")
    with pytest.raises(ChampionError, match=r"model\.onnx"):
        live.release(pointer, pointer.parent / "v3", "hand")
    assert tag(pointer) == "churn:v2"


def test_the_command_line(pointer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["to", "churn:v3"]) == 0
    assert tag(pointer) == "churn:v3"
    assert command.main(["back"]) == 0
    assert tag(pointer) == "churn:v1", "v2 was taken off by hand: only `to` brings it back"
    assert command.main(["to", "churn:nothing"]) == 1
    assert "churn:v1, churn:v2, churn:v3" in capsys.readouterr().err
    assert command.main(["list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "churn:v1" in line]
    assert "live" in line
