import boto3
import pytest

from bento.champion import live_folder, read_live
from bento.runner import ChurnRunner
from bento.settings import get_settings
from churn_assets.defs.features.cleaning import clean
from churn_assets.defs.monitoring import reference
from churn_assets.synthetic import generator
from churn_assets_tests.serving import churn_service, live_champion
from deploy.embedded import loop


def test_the_demo_is_quiet_and_then_names_what_changed(
    emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = get_settings().churn_home
    live_champion(home)
    live = read_live(get_settings().live_pointer)
    assert live
    known = clean(generator.customers(4_000, seed=60)).customers
    table = reference.build(known, ChurnRunner(live_folder(get_settings().live_pointer, live)))
    reference.save(boto3.client("s3"), get_settings().churn_bucket, live.model_run_id, table)
    (home / "dagster").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    monkeypatch.setattr(loop, "QUIET_CUSTOMERS", 300)
    monkeypatch.setattr(loop, "DRIFTED_CUSTOMERS", 1_000)
    with churn_service(home) as service:
        monkeypatch.setenv("HTTP_PORT", str(service.port))
        get_settings.cache_clear()
        quiet, loud = loop.show(get_settings())
    assert not quiet["alarm"]
    assert quiet["rows"] == loop.QUIET_CUSTOMERS
    assert loud["alarm"]
    assert loud["rows"] == loop.DRIFTED_CUSTOMERS  # nobody of before is in the way
    listed = (home / "reports" / "index.html").read_text()
    assert 0 < listed.index(loud["html"]) < listed.index(quiet["html"])
    assert {"customer_age", "credit_limit", "total_trans_ct"} <= set(loud["drifted"])
    assert "total_relationship_count" not in loud["drifted"]
    assert (home / "reports" / loud["html"]).exists()
