"""What a request to S3 asks for: its action depends on method, address and headers.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from ratesflow.local.aws.iam.policy import Ask

ARN = "arn:aws:s3:::"
# What an address asks of a bucket or an object, in place of its list or its bytes.
_OF_BUCKET = {
    "versions": "ListBucketVersions",
    "uploads": "ListBucketMultipartUploads",
    "location": "GetBucketLocation",
    "versioning": "GetBucketVersioning",
}


# What an address asks of an object, in place of its bytes: the end of the action's name.
_OF_OBJECT = {"tagging": "Tagging", "acl": "Acl", "retention": "Retention", "legal-hold": "LegalHold"}
# What else an address may hold when it is about an object's bytes, beside `response-…` and the parts of a signature.
_PLAIN = {"versionId", "partNumber", "uploadId", "uploads", "x-id"}
_SIGNED = ("x-amz-", "response-", "awsaccesskeyid", "signature", "expires")


def object_asks(environ: Mapping[str, Any]) -> list[Ask]:
    """Return what the request asks for; an action that no part has any business with by its method and address."""
    bucket, _, key = _path(environ)
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    method = environ["REQUEST_METHOD"]
    if not bucket:
        return [Ask("s3:ListAllMyBuckets", "*")]
    if not key:
        return [_of_bucket(method, f"{ARN}{bucket}", query)]
    resource, version = f"{ARN}{bucket}/{key}", "Version" if "versionId" in query else ""
    verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}.get(method, method)
    for word, end in _OF_OBJECT.items():
        if word in query:
            return [Ask(f"s3:{verb}Object{version}{end}", resource)]
    unknown = {word for word in query if word not in _PLAIN and not word.lower().startswith(_SIGNED)}
    match method:
        case _ if unknown:
            pass
        case "GET" | "HEAD" if "uploadId" in query:
            return [Ask("s3:ListMultipartUploadParts", resource)]
        case "GET" | "HEAD":
            return [Ask(f"s3:GetObject{version}", resource)]
        case "DELETE" if "uploadId" in query:
            return [Ask("s3:AbortMultipartUpload", resource)]
        case "DELETE":
            return [Ask(f"s3:DeleteObject{version}", resource)]
        case "PUT" | "POST":
            return [*_source(environ), Ask("s3:PutObject", resource), *_beside(environ, resource)]
    return [Ask(f"s3:{method} {environ.get('QUERY_STRING', '')}", resource)]


def asks_about_missing(environ: Mapping[str, Any]) -> Ask:
    """Return what a reader must be allowed to be told that an object, or its version, is not there.

    Without it S3 answers AccessDenied (GetObject, HeadObject in its API Reference).
    """
    action = "ListBucketVersions" if "versionId=" in environ.get("QUERY_STRING", "") else "ListBucket"
    return Ask(f"s3:{action}", f"{ARN}{_path(environ)[0]}")


def _path(environ: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return bucket, slash and key; WSGI hands a path over as Latin-1."""
    path = environ["PATH_INFO"].removeprefix("/").encode("latin-1").decode("utf-8", "replace")
    bucket, slash, key = path.partition("/")
    return str(bucket), str(slash), str(key)


def _of_bucket(method: str, arn: str, query: Mapping[str, list[str]]) -> Ask:
    if method in ("GET", "HEAD"):
        for word, action in _OF_BUCKET.items():
            if word in query:
                context = {"s3:prefix": query.get("prefix", [""])[0]} if word == "versions" else {}
                return Ask(f"s3:{action}", arn, context)
        if set(query) <= {"list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after"} | {
            "encoding-type",
            "marker",
            "fetch-owner",
        }:
            context = {"s3:prefix": query.get("prefix", [""])[0]} if method == "GET" else {}
            return Ask("s3:ListBucket", arn, context)
    return Ask(f"s3:{method} {'&'.join(sorted(query))}", arn)


def _source(environ: Mapping[str, Any]) -> list[Ask]:
    """A copy reads as well."""
    source, _, version = unquote(environ.get("HTTP_X_AMZ_COPY_SOURCE", "")).partition("?versionId=")
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    return [Ask(action, f"{ARN}{source.removeprefix('/')}")] if source else []


def _beside(environ: Mapping[str, Any], resource: str) -> list[Ask]:
    """What the headers of an upload set has rights of its own."""
    asks = [Ask("s3:PutObjectTagging", resource)] if environ.get("HTTP_X_AMZ_TAGGING") else []
    if any(name == "HTTP_X_AMZ_ACL" or name.startswith("HTTP_X_AMZ_GRANT_") for name in environ):
        asks.append(Ask("s3:PutObjectAcl", resource))
    return asks
