"""The permissions that an S3 request needs: its action depends on method, URL and headers.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from ratesflow.local.aws.iam.policy import Permission

ARN = "arn:aws:s3:::"
# The action of a bucket's subresource: the end of its name, by query parameter.
_OF_BUCKET = {
    "versions": "ListBucketVersions",
    "uploads": "ListBucketMultipartUploads",
    "location": "GetBucketLocation",
    "versioning": "GetBucketVersioning",
}
# The action of an object's subresource: the end of its name, by query parameter.
_OF_OBJECT = {"tagging": "Tagging", "acl": "Acl", "retention": "Retention", "legal-hold": "LegalHold"}
# Query parameters of requests for an object's bytes, apart from `response-…` and the parts of a signature.
_PLAIN = {"versionId", "partNumber", "uploadId", "uploads", "x-id"}
_SIGNED = ("x-amz-", "response-", "awsaccesskeyid", "signature", "expires")


def object_permissions(environ: Mapping[str, Any]) -> list[Permission]:
    """Return the permissions that the request needs; an unexpected action is named by its method and query."""
    bucket, _, key = _path(environ)
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    method = environ["REQUEST_METHOD"]
    if not bucket:
        return [Permission("s3:ListAllMyBuckets", "*")]
    if not key:
        return [_of_bucket(method, f"{ARN}{bucket}", query)]
    resource, version = f"{ARN}{bucket}/{key}", "Version" if "versionId" in query else ""
    verb = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}.get(method, method)
    for word, end in _OF_OBJECT.items():
        if word in query:
            return [Permission(f"s3:{verb}Object{version}{end}", resource)]
    unknown = {word for word in query if word not in _PLAIN and not word.lower().startswith(_SIGNED)}
    match method:
        case _ if unknown:
            pass
        case "GET" | "HEAD" if "uploadId" in query:
            return [Permission("s3:ListMultipartUploadParts", resource)]
        case "GET" | "HEAD":
            return [Permission(f"s3:GetObject{version}", resource)]
        case "DELETE" if "uploadId" in query:
            return [Permission("s3:AbortMultipartUpload", resource)]
        case "DELETE":
            return [Permission(f"s3:DeleteObject{version}", resource)]
        case "PUT" | "POST":
            return [*_source(environ), Permission("s3:PutObject", resource), *_for_headers(environ, resource)]
    return [Permission(f"s3:{method} {environ.get('QUERY_STRING', '')}", resource)]


def listing_permission(environ: Mapping[str, Any]) -> Permission:
    """Return the permission without which a missing object, or version, is reported as AccessDenied.

    See GetObject and HeadObject in the API Reference of S3.
    """
    action = "ListBucketVersions" if "versionId=" in environ.get("QUERY_STRING", "") else "ListBucket"
    return Permission(f"s3:{action}", f"{ARN}{_path(environ)[0]}")


def _path(environ: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return bucket, slash and key; WSGI passes a path as Latin-1."""
    path = environ["PATH_INFO"].removeprefix("/").encode("latin-1").decode("utf-8", "replace")
    bucket, slash, key = path.partition("/")
    return str(bucket), str(slash), str(key)


def _of_bucket(method: str, arn: str, query: Mapping[str, list[str]]) -> Permission:
    if method in ("GET", "HEAD"):
        for word, action in _OF_BUCKET.items():
            if word in query:
                context = {"s3:prefix": query.get("prefix", [""])[0]} if word == "versions" else {}
                return Permission(f"s3:{action}", arn, context)
        if set(query) <= {"list-type", "prefix", "delimiter", "max-keys", "continuation-token", "start-after"} | {
            "encoding-type",
            "marker",
            "fetch-owner",
        }:
            context = {"s3:prefix": query.get("prefix", [""])[0]} if method == "GET" else {}
            return Permission("s3:ListBucket", arn, context)
    return Permission(f"s3:{method} {'&'.join(sorted(query))}", arn)


def _source(environ: Mapping[str, Any]) -> list[Permission]:
    """Return the permission to read the source of a copy."""
    source, _, version = unquote(environ.get("HTTP_X_AMZ_COPY_SOURCE", "")).partition("?versionId=")
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    return [Permission(action, f"{ARN}{source.removeprefix('/')}")] if source else []


def _for_headers(environ: Mapping[str, Any], resource: str) -> list[Permission]:
    """Return the additional permissions for tags and access control lists in the headers of an upload."""
    permissions = [Permission("s3:PutObjectTagging", resource)] if environ.get("HTTP_X_AMZ_TAGGING") else []
    if any(name == "HTTP_X_AMZ_ACL" or name.startswith("HTTP_X_AMZ_GRANT_") for name in environ):
        permissions.append(Permission("s3:PutObjectAcl", resource))
    return permissions
