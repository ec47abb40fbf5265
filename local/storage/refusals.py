"""How S3 says no: a status, a code word, and a sentence, as XML.

The codes are those of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

from __future__ import annotations


class S3Refusal(Exception):
    """An error that the stand-in answers with."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence


def denied(sentence: str) -> S3Refusal:
    return S3Refusal(403, "AccessDenied", sentence)


def invalid(sentence: str) -> S3Refusal:
    return S3Refusal(400, "InvalidArgument", sentence)


def malformed(sentence: str) -> S3Refusal:
    return S3Refusal(400, "MalformedXML", sentence)


def not_offered(what: str) -> S3Refusal:
    return S3Refusal(501, "NotImplemented", f"{what} is not served by the local storage.")


def no_such_key() -> S3Refusal:
    return S3Refusal(404, "NoSuchKey", "The specified key does not exist.")


def no_such_upload() -> S3Refusal:
    return S3Refusal(
        404,
        "NoSuchUpload",
        "The specified multipart upload does not exist. The upload ID might be invalid, or the multipart upload might "
        "have been aborted or completed.",
    )
