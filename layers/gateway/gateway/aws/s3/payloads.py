"""JSON values too large for a queue message or a table item, stored in S3 by reference."""

from __future__ import annotations

import json
from typing import Any

from botocore.config import Config

from gateway.aws.clients import STORES, client

# For presigned URLs: S3 does not accept botocore's default signature for objects under a KMS key.
_SIGNED_ANEW = STORES.merge(Config(signature_version="s3v4"))
INLINE_BYTES = 200_000  # an item may have 400 KB, a message 1 MB; smaller values are stored inline


class Payloads:
    """Values by name in one bucket. `pack` returns the text to store inline: the value itself, or a reference to it."""

    def __init__(self, bucket: str):
        self.bucket = bucket

    def pack(self, key: str, value: Any) -> str:
        text = json.dumps(value, separators=(",", ":"))
        if len(text) <= INLINE_BYTES and len(text.encode()) <= INLINE_BYTES:
            return json.dumps({"inline": value}, separators=(",", ":"))
        client("s3").put_object(Bucket=self.bucket, Key=key, Body=text.encode(), ContentType="application/json")
        return json.dumps({"key": key})

    def share(self, key: str, text: str, seconds: int) -> str:
        """Store a text and return a presigned URL, with which anyone can read it for `seconds`."""
        s3 = client("s3", _SIGNED_ANEW)
        s3.put_object(Bucket=self.bucket, Key=key, Body=text.encode(), ContentType="application/json")
        url: str = s3.generate_presigned_url("get_object", {"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds)
        return url

    def unpack(self, packed: str) -> Any:
        values = json.loads(packed)
        if "key" not in values:
            return values["inline"]
        return json.loads(client("s3").get_object(Bucket=self.bucket, Key=values["key"])["Body"].read())
