"""Patches moto's ListObjectVersions, which ignores `encoding-type=url` and returns keys unencoded.

XML cannot represent most control characters, so that a listing with such a key could not be parsed. moto has an open
pull request for ListObjects: https://github.com/getmoto/moto/pull/5181.
"""

from typing import Any
from urllib.parse import quote

from moto.s3.responses import S3Response

# https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html, EncodingType
_ENCODED = ("Delimiter", "KeyMarker", "NextKeyMarker", "Prefix")


def install() -> None:
    """Encode the keys of a ListObjectVersions response if the request has `encoding-type=url`."""
    serialized = S3Response.serialized

    def encoded(self: Any, action_result: Any) -> Any:
        encoding = self.querystring.get("encoding-type", [None])[0]
        if self.data.get("Action") == "ListObjectVersions" and encoding == "url":
            _encode(action_result.result)
        return serialized(self, action_result)

    S3Response.serialized = encoded


def _encode(listing: dict[str, Any]) -> None:
    listing["EncodingType"] = "url"
    for name in _ENCODED:
        if listing.get(name):
            listing[name] = quote(listing[name])
    for name in ("Versions", "DeleteMarkers"):
        for found in listing[name]:
            found["Key"] = quote(found["Key"])
    for found in listing.get("CommonPrefixes", ()):
        found["Prefix"] = quote(found["Prefix"])
