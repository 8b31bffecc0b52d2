"""Patches how moto inserts request IDs: it replaces the text between two `<RequestId>` tags in any response.

In a JSON response those tags are part of a caller's text, such as a log line. No upstream issue is known.
"""

from __future__ import annotations

import re
from typing import Any

from moto.core.responses import BaseResponse

_REQUEST_ID = re.compile(r"(?<=<RequestId>)[^<]*(?=</RequestId>)")


def install() -> None:
    """Insert request IDs into XML responses only; in JSON the tags are part of the data."""
    enrich = BaseResponse._enrich_response

    def enriched(headers: dict[str, str], body: Any) -> tuple[dict[str, str], Any]:
        headers, _ = enrich(headers, "")
        if isinstance(body, str) and body.lstrip().startswith("<"):
            body = _REQUEST_ID.sub(headers["x-amzn-requestid"], body)
        return headers, body

    BaseResponse._enrich_response = staticmethod(enriched)
