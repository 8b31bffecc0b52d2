"""What S3's error codes mean for a task: try again, or end at once with the sentence that helps.

The codes are those of the Amazon S3 API Reference, "Error responses", and those of AWS KMS that S3 passes on, which
begin with `KMS.`. A code that stands nowhere here is judged by its HTTP status: one that may pass is tried again.
"""

import html
import re
from dataclasses import dataclass

from ratesflow.loader.batches.batch import Batch
from ratesflow.loader.runtime.errors import ClosedError, TaskError, TransientError, UsageError

MESSAGE_CHARACTERS = 300
GONE = frozenset({"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"})
"""The version is not there, or it is a delete marker, which no method reads."""


@dataclass(frozen=True)
class Answer:
    """An error as S3 tells it; `status` is 0 and `code` empty when there is none, such as without a connection."""

    code: str = ""
    status: int = 0
    message: str = ""
    storage_class: str = ""
    tier: str = ""


@dataclass(frozen=True)
class Meaning:
    """The error that a task ends with, and why in words, which follow `cannot read s3://…: `."""

    error: type[TaskError]
    words: str


_PASSING = Meaning(TransientError, "S3 could not do it this time")
_DEFECT = Meaning(TaskError, "S3 does not take this request")
_ARCHIVED = Meaning(ClosedError, "it must be restored first, or sent again in storage class STANDARD")
_GONE = Meaning(ClosedError, "it is gone: send the file again")
_CHANGED = Meaning(ClosedError, "it changed while it was read: send the file again")
_FORBIDDEN = Meaning(UsageError, "S3 denies access: allow it by the policies of the role, the bucket and the key")
_CREDENTIALS = Meaning(UsageError, "S3 does not accept the task's credentials: check its role")
_ACCOUNT = Meaning(UsageError, "the AWS account may not use S3: ask AWS Support")
_BUCKET = Meaning(UsageError, "there is no such bucket: check RATESFLOW_BUCKET")
_REGION = Meaning(UsageError, "the bucket is in another region: check AWS_DEFAULT_REGION")
_KEY = Meaning(UsageError, "the KMS key of the object cannot be used: enable it and allow it, or send the file again")
_TOO_LARGE = Meaning(TaskError, "S3 does not take that much")

# Codes of requests that a task never sends are defects too: for settings of buckets, forms, lists of grants.
_MEANINGS: dict[Meaning, str] = {
    _PASSING: "InternalError ServiceUnavailable SlowDown RequestTimeout RequestTimeTooSkewed ExpiredToken"
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

# What is known without a code: HEAD's answers have no body.
_STATUSES = {301: _REGION, 403: _FORBIDDEN, 404: _GONE, 405: _GONE, 412: _CHANGED, 416: _DEFECT}
_MAY_PASS = (408, 409, 425, 429)


def meaning_of(answer: Answer) -> Meaning:
    """Return what an error means: by its code, else by its status; what is not known at all may pass."""
    if answer.code in CODES:
        return CODES[answer.code]
    if answer.code.startswith("KMS."):
        return _KEY
    if not answer.code and answer.status in _STATUSES:
        return _STATUSES[answer.status]
    if 400 < answer.status < 500 and answer.status not in _MAY_PASS:
        return _DEFECT
    return _PASSING


def explained(doing: str, answer: Answer) -> TaskError:
    """Return the error to end with; `doing` says what failed, such as `cannot read s3://bucket/key`."""
    meaning = meaning_of(answer)
    said = f"{answer.code}: {answer.message}" if answer.code and answer.message else answer.code or answer.message
    if meaning is _ARCHIVED and answer.storage_class:
        place = f"storage class {answer.storage_class}" + (f", tier {answer.tier}" if answer.tier else "")
        return meaning.error(f"{doing}: it lies in {place}: restore it first, or send it again in STANDARD")
    return meaning.error(f"{doing}: {meaning.words}" + (f" ({said})" if said else ""))


def explained_of(batch: Batch, answer: Answer) -> TaskError:
    """Return the error to end with when the object of a batch cannot be read."""
    meaning = meaning_of(answer)
    if meaning is _GONE:
        return meaning.error(f"version {batch.version} of {batch.url} is gone: send the file again")
    if meaning is _CHANGED:
        return meaning.error(f"{batch.url} changed while it was read: send the file again")
    return explained(f"cannot read {batch.url}", answer)


def parsed(text: str) -> Answer:
    """Return the error in what a client says: words, an HTTP status, and S3's document of XML, if it has them."""
    status = re.search(r"status code: (\d{3})", text)
    redirected = "redirect without LOCATION" in text
    document = text[start:] if (start := text.find("<Error>")) >= 0 else ""
    words = re.sub(r"<\?xml.*", "", text if not document else "", flags=re.DOTALL)
    return Answer(
        code=_element(document, "Code"),
        status=int(status[1]) if status else 301 if redirected else 0,
        message=_element(document, "Message") or _plain(words),
        storage_class=_element(document, "StorageClass"),
        tier=_element(document, "AccessTier"),
    )


def _element(document: str, name: str) -> str:
    """Return the text of an element that has no elements in it."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", document)
    return _plain(html.unescape(found[1])) if found else ""


def _plain(text: str) -> str:
    return " ".join(text.split())[:MESSAGE_CHARACTERS]
