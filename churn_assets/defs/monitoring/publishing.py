"""Reports where people look for them: on the report server and in the object store."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from bento.settings import get_settings
from churn_assets.defs.monitoring import pages

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REPORTS_PREFIX = "reports/"


def publish(
    s3: "S3Client", added: Mapping[str, str], documents: Collection[Mapping[str, Any]]
) -> None:
    """Keep pages by name, and the list of all reports (documents of the prediction store)."""
    settings = get_settings()
    folder = settings.churn_home / "reports"
    pages.publish(folder, added, documents)
    for name in (*added, "index.html", pages.NEWEST):
        kind = "application/json" if name == pages.NEWEST else "text/html; charset=utf-8"
        s3.put_object(
            Bucket=settings.churn_bucket,
            Key=f"{REPORTS_PREFIX}{name}",
            Body=(folder / name).read_bytes(),
            ContentType=kind,
        )


def url_of(name: str) -> str:
    """Where the report server shows a page."""
    return f"{get_settings().reports_address}/{name}"
