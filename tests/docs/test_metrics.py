"""Every metric that documents and Terraform name is one that the code writes, or one of AWS."""

import re
from pathlib import Path

import pytest

from ratesflow.api.server.metrics import NAMESPACE as API
from ratesflow.api.server.metrics import UNITS as API_UNITS
from ratesflow.loader.runtime.metrics import NAMESPACE as LOADER
from ratesflow.loader.runtime.metrics import UNITS as LOADER_UNITS

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TERRAFORM = sorted((ROOT / "terraform").glob("*.tf"))
OURS = {API: set(API_UNITS), LOADER: set(LOADER_UNITS)}
# Other names in backquotes that look like metrics: metrics, errors, actions, tags and fields of AWS; HTTP headers.
OTHERS = {
    "AccessControlListNotSupported", "AccessDenied", "AssumeRole", "CreateMultipartUpload", "Date", "Decrypt",
    "Environment", "ExpiredToken", "HeadObject", "InternalError", "InvalidAccessKeyId", "InvalidObjectState",
    "LatestRestorableTime", "ManagedBy", "MethodNotAllowed", "NoSuchBucket", "NoSuchKey", "NoSuchVersion",
    "PendingConfirmation", "PermanentRedirect", "PreconditionFailed", "Project", "PutObject", "RecoveryPointArn",
    "RequestTimeTooSkewed", "RequestTimeout", "SlowDown", "VolumeBytesUsed",
}  # fmt: skip


def capitalized(page: Path) -> set[str]:
    """Return the names in backquotes on a page that are written like metrics."""
    return set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`", page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_metrics_in_documents(page: Path) -> None:
    """Each metric in backquotes exists."""
    assert capitalized(page) - OTHERS - OURS[API] - OURS[LOADER] == set()


def test_the_other_names_occur() -> None:
    """Each of the other names is still in a document, so that the list hides no removed metric."""
    assert set.union(*map(capitalized, PAGES)) >= OTHERS
    assert not OTHERS & (OURS[API] | OURS[LOADER])


def test_metrics_in_terraform() -> None:
    """Each metric of our namespaces in alarms, the dashboard and scaling exists."""
    found: dict[str, set[str]] = {API: set(), LOADER: set()}
    for path in TERRAFORM:
        text = path.read_text(encoding="utf-8")
        for namespace in found:
            name = re.escape(namespace)
            found[namespace] |= set(re.findall(rf'namespace = "{name}", name = "(\w+)"', text))
            found[namespace] |= set(re.findall(rf'\["{name}", "(\w+)"', text))
            for names in re.findall(rf'for name in \[([^\]]*)\] : concat\(\["{name}", name\]', text):
                found[namespace] |= set(re.findall(r'"(\w+)"', names))
    assert {"Unavailable", "ConnectionsWaited", "DataAge"} <= found[API] <= OURS[API]
    assert {"UncompactedBatches", "Rows", "Batches"} <= found[LOADER] <= OURS[LOADER]


def test_metrics_in_texts_of_the_dashboard() -> None:
    """Each metric that a text of the dashboard names exists."""
    texts = re.findall(r'text = "([^"]+)"', (ROOT / "terraform/dashboard.tf").read_text(encoding="utf-8"))
    assert len(texts) > 4
    assert set(re.findall(r"\b[A-Z][a-z]+(?:[A-Z][a-z]+)+\b", "\n".join(texts))) <= OURS[API] | OURS[LOADER]
