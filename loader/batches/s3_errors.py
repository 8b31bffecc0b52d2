"""Maps S3's error codes to task errors: retry, or end at once with a message that says what to do.

The codes are those of the Amazon S3 API Reference, "Error responses", and those of AWS KMS that S3 passes on, which
begin with `KMS.`. The HTTP status decides about a code that is not listed here.
"""

import html
import re
from dataclasses import dataclass

from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.runtime.errors import ClosedError, TaskError, TransientError, UsageError

MESSAGE_CHARACTERS = 300
GONE = frozenset({"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
"""The version does not exist, or is a delete marker."""


@dataclass(frozen=True)
class S3Error:
    """An error response of S3. Without a response, such as after a failed connection, only `message` is set."""

    code: str = ""
    status: int = 0
    message: str = ""
    storage_class: str = ""
    tier: str = ""


@dataclass(frozen=True)
class Meaning:
    """The error that a task ends with, and the text after `cannot read s3://…: ` in its message."""

    error: type[TaskError]
    text: str


_TRANSIENT = Meaning(TransientError, "S3 is temporarily unavailable")
_DEFECT = Meaning(TaskError, "S3 rejected the request as invalid")
_ARCHIVED = Meaning(ClosedError, "restore the object first, or send it again in storage class STANDARD")
_GONE = Meaning(ClosedError, "the object is gone: send the file again")
_CHANGED = Meaning(ClosedError, "the object changed while it was read: send the file again")
_FORBIDDEN = Meaning(UsageError, "S3 denies access: allow it in the policies of the role, the bucket and the KMS key")
_CREDENTIALS = Meaning(UsageError, "S3 does not accept the task's credentials: check its role")
_ACCOUNT = Meaning(UsageError, "the AWS account may not use S3: ask AWS Support")
_BUCKET = Meaning(UsageError, "there is no such bucket: check RATESFLOW_BUCKET")
_REGION = Meaning(UsageError, "the bucket is in another region: check AWS_DEFAULT_REGION")
_KEY = Meaning(UsageError, "the KMS key of the object cannot be used: enable it and allow it, or send the file again")
_TOO_LARGE = Meaning(TaskError, "the object is too large for S3")

# _DEFECT includes the codes of requests that a task never sends, such as those for bucket settings and form uploads.
_MEANINGS: dict[Meaning, str] = {
    _TRANSIENT: "InternalError ServiceUnavailable SlowDown RequestTimeout RequestTimeTooSkewed ExpiredToken"
    " TokenRefreshRequired OperationAborted IncompleteBody BadDigest TemporaryRedirect Redirect Busy Throttling"
    " ThrottlingException TooManyRequests TooManyRequestsException RequestThrottled BandwidthLimitExceeded"
    " RequestExpired ConditionalRequestConflict XAmzContentSHA256Mismatch ClientTokenConflict 503SlowDown"
    " KMS.ThrottlingException KMS.KMSInternalException KMS.DependencyTimeoutException KMS.LimitExceededException",
    _ARCHIVED: "InvalidObjectState RestoreAlreadyInProgress",
    _GONE: " ".join(GONE),
    _CHANGED: "PreconditionFailed",
    _FORBIDDEN: "AccessDenied AllAccessDisabled InvalidPayer KMS.AccessDeniedException UnauthorizedAccess"
    " UnauthorizedAccessError InvalidSecurity MissingSecurityHeader CredentialsNotSupported",
    _CREDENTIALS: "InvalidAccessKeyId InvalidToken SignatureDoesNotMatch AuthorizationHeaderMalformed"
    " AuthorizationQueryParametersError RequestTimeTooOld",
    _ACCOUNT: "AccountProblem NotSignedUp",
    _BUCKET: "NoSuchBucket InvalidBucketName InvalidBucketState",
    _REGION: "PermanentRedirect IllegalLocationConstraintException InvalidLocationConstraint InvalidRegionName",
    _KEY: "KMS.DisabledException KMS.NotFoundException KMS.KMSInvalidStateException KMS.InvalidStateException"
    " KMS.InvalidKeyUsageException KMS.KeyUnavailableException KMS.InvalidCiphertextException"
    " KMS.IncorrectKeyException KMS.InvalidGrantTokenException InvalidEncryptionAlgorithmError",
    _TOO_LARGE: "EntityTooLarge EntityTooSmall KeyTooLongError MaxMessageLengthExceeded MetadataTooLarge",
    _DEFECT: "AmbiguousGrantByEmailAddress BucketAlreadyExists BucketAlreadyOwnedByYou BucketNotEmpty"
    " CrossLocationLoggingProhibited IllegalVersioningConfigurationException IncorrectNumberOfFilesInPostRequest"
    " InlineDataTooLarge InvalidAddressingHeader InvalidArgument InvalidDigest InvalidPart InvalidPartOrder"
    " InvalidPolicyDocument InvalidRange InvalidRequest InvalidStorageClass InvalidTargetBucketForLogging InvalidURI"
    " MalformedACLError MalformedPOSTRequest MalformedXML MaxPostPreDataLengthExceededError MissingContentLength"
    " MissingRequestBodyError NoLoggingStatusForKey NoSuchBucketPolicy NoSuchLifecycleConfiguration NoSuchUpload"
    " NotImplemented RequestIsNotMultiPartContent RequestTorrentOfBucketError TooManyBuckets UnexpectedContent"
    " UnresolvableGrantByEmailAddress UserKeyMustBeSpecified InvalidSOAPRequest",
}
CODES: dict[str, Meaning] = {code: meaning for meaning, codes in _MEANINGS.items() for code in codes.split()}

# By status, for responses without a code: a response to HEAD has no body.
_STATUSES = {301: _REGION, 403: _FORBIDDEN, 404: _GONE, 405: _GONE, 412: _CHANGED, 416: _DEFECT}
_RETRIED = (408, 409, 425, 429)


def meaning_of(answer: S3Error) -> Meaning:
    """Return the meaning of an error: by its code, else by its status. An unknown error counts as transient."""
    if answer.code in CODES:
        return CODES[answer.code]
    if answer.code.startswith("KMS."):
        return _KEY
    if not answer.code and answer.status in _STATUSES:
        return _STATUSES[answer.status]
    if 400 < answer.status < 500 and answer.status not in _RETRIED:
        return _DEFECT
    return _TRANSIENT


def task_error(action: str, answer: S3Error) -> TaskError:
    """Return the error to end with; its message begins with `action`, such as `cannot read s3://bucket/key`."""
    meaning = meaning_of(answer)
    detail = f"{answer.code}: {answer.message}" if answer.code and answer.message else answer.code or answer.message
    if meaning is _ARCHIVED and answer.storage_class:
        place = f"storage class {answer.storage_class}" + (f", tier {answer.tier}" if answer.tier else "")
        return meaning.error(f"{action}: the object is in {place}: restore it first, or send it again in STANDARD")
    return meaning.error(f"{action}: {meaning.text}" + (f" ({detail})" if detail else ""))


def batch_error(batch: Batch, answer: S3Error) -> TaskError:
    """Return the error to end with when the object of a batch cannot be read."""
    meaning = meaning_of(answer)
    if meaning is _GONE:
        return meaning.error(f"version {batch.version} of {batch.url} is gone: send the file again")
    if meaning is _CHANGED:
        return meaning.error(f"{batch.url} changed while it was read: send the file again")
    return task_error(f"cannot read {batch.url}", answer)


def parse(text: str) -> S3Error:
    """Return the error in a client's message, which may contain an HTTP status and S3's XML document."""
    status = re.search(r"status code: (\d{3})", text)
    redirected = "redirect without LOCATION" in text
    document = text[start:] if (start := text.find("<Error>")) >= 0 else ""
    prose = re.sub(r"<\?xml.*", "", text if not document else "", flags=re.DOTALL)
    return S3Error(
        code=_element(document, "Code"),
        status=int(status[1]) if status else 301 if redirected else 0,
        message=_element(document, "Message") or _shortened(prose),
        storage_class=_element(document, "StorageClass"),
        tier=_element(document, "AccessTier"),
    )


def _element(document: str, name: str) -> str:
    """Return the text of an element without child elements, "" if there is none."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", document)
    return _shortened(html.unescape(found[1])) if found else ""


def _shortened(text: str) -> str:
    return " ".join(text.split())[:MESSAGE_CHARACTERS]
