"""Who signed a request, and whether it is the request that was signed: AWS Signature Version 4 by botocore's signer.

A signature comes in the `Authorization` header, or in the query of a presigned URL:
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.storage.refusals import S3Refusal, denied, invalid

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "s3"
LONGEST_EXPIRY_SECONDS: Final = 7 * 24 * 3600
CLOCK_SKEW: Final = timedelta(minutes=15)
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
_TIMESTAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Keys:
    """The server's key pair, and the region that signatures must name."""

    access_key_id: str
    secret_access_key: str
    region: str


@dataclass(frozen=True)
class Signed:
    """A request as it came: `path` and `query` percent-encoded, header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]

    @property
    def parameters(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True)
class _Claim:
    """What a request says of its signature."""

    credential: str
    timestamp: str
    signed_headers: tuple[str, ...]
    signature: str
    payload: str
    expires_seconds: int | None


def verify(request: Signed, keys: Keys, now: datetime) -> str:
    """Check the signature.

    Returns:
        What was signed of the body: its SHA-256 in hexadecimal, or `UNSIGNED`.

    Raises:
        S3Refusal: there is no signature, it is late or early, its key is unknown, or it does not fit the request.
    """
    claim = _claim(request)
    key_id, _, scope = claim.credential.partition("/")
    if key_id != keys.access_key_id:
        raise S3Refusal(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    if scope != f"{claim.timestamp[:8]}/{keys.region}/{SERVICE}/aws4_request":
        raise S3Refusal(
            400, "AuthorizationHeaderMalformed", f"The credential's scope is wrong; the region is {keys.region}."
        )
    _in_time(claim, now)
    _all_are_signed(request.headers, claim.signed_headers)
    if not hmac.compare_digest(_expected(request, claim, keys), claim.signature):
        raise S3Refusal(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and "
            "signing method.",
        )
    return claim.payload


def _claim(request: Signed) -> _Claim:
    query = request.parameters
    if "X-Amz-Signature" in query or "X-Amz-Algorithm" in query:
        return _presigned(query)
    header = request.headers.get("authorization", "")
    if not header:
        raise denied("Access Denied")
    return _in_header(header, request.headers)


def _presigned(query: Mapping[str, str]) -> _Claim:
    names = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Expires")
    if query.get("X-Amz-Algorithm") != ALGORITHM or any(not query.get(name) for name in names):
        raise _malformed_query(f"A presigned URL carries {ALGORITHM} and {', '.join(names)}.")
    expires = query["X-Amz-Expires"]
    if not expires.isdecimal() or not 0 < int(expires) <= LONGEST_EXPIRY_SECONDS:
        raise _malformed_query("X-Amz-Expires must be between 1 and 604800 seconds")
    signed_headers = tuple(query["X-Amz-SignedHeaders"].split(";"))
    return _Claim(
        query["X-Amz-Credential"],
        query["X-Amz-Date"],
        signed_headers,
        query["X-Amz-Signature"],
        UNSIGNED,
        int(expires),
    )


def _malformed_query(sentence: str) -> S3Refusal:
    return S3Refusal(400, "AuthorizationQueryParametersError", sentence)


def _in_header(header: str, headers: Mapping[str, str]) -> _Claim:
    algorithm, _, rest = header.partition(" ")
    fields = dict(field.strip().partition("=")[::2] for field in rest.split(","))
    if algorithm != ALGORITHM or not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        raise S3Refusal(400, "AuthorizationHeaderMalformed", f"Only {ALGORITHM} is understood.")
    payload = headers.get("x-amz-content-sha256", "")
    if not payload:
        raise invalid("The header x-amz-content-sha256 is missing.")
    return _Claim(
        fields["Credential"],
        headers.get("x-amz-date", ""),
        tuple(fields["SignedHeaders"].split(";")),
        fields["Signature"],
        payload,
        None,
    )


def _in_time(claim: _Claim, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(claim.timestamp, _TIMESTAMP).replace(tzinfo=UTC)
    except ValueError:
        raise denied("The date of the signature is missing or is none.") from None
    if claim.expires_seconds is None:
        if abs(now - signed_at) > CLOCK_SKEW:
            sentence = "The difference between the request time and the current time is too large."
            raise S3Refusal(403, "RequestTimeTooSkewed", sentence)
        return
    if signed_at - now > CLOCK_SKEW:
        raise denied("Request is not yet valid")
    if now >= signed_at + timedelta(seconds=claim.expires_seconds):
        raise denied("Request has expired")


def _all_are_signed(headers: Mapping[str, str], signed: Iterable[str]) -> None:
    """S3 insists on a signed host, and on a signature over each of its own headers that a request carries."""
    names = set(signed)
    needed = {"host"} | {name for name in headers if name.startswith("x-amz-")}
    if not needed <= names:
        raise denied("There were headers present in the request which were not signed")


def _expected(request: Signed, claim: _Claim, keys: Keys) -> str:
    pairs = [pair for pair in request.query.split("&") if pair and not pair.startswith("X-Amz-Signature=")]
    query = "&".join(pairs)
    address = f"http://{request.headers.get('host', '')}{request.path}" + (f"?{query}" if query else "")
    signed = {name: request.headers.get(name, "") for name in claim.signed_headers}
    rebuilt = AWSRequest(method=request.method, url=address, headers=signed)
    rebuilt.context["timestamp"] = claim.timestamp
    signer = _Signer(Credentials(keys.access_key_id, keys.secret_access_key), SERVICE, keys.region)
    signer.claimed = claim.payload
    text = signer.string_to_sign(rebuilt, signer.canonical_request(rebuilt))
    return str(signer.signature(text, rebuilt))


class _Signer(S3SigV4QueryAuth):  # type: ignore[misc]
    """Leaves the path as it came, as S3 does, and takes the body's digest from the request instead of the body."""

    claimed = UNSIGNED

    def payload(self, _: AWSRequest) -> str:
        return self.claimed
