"""JSON too large for a queue message or a table item, kept in S3 by reference."""

from __future__ import annotations

import json
from typing import Any

from botocore.config import Config

from gateway.aws.clients import STORES, client

# Of an address that is shared, botocore's default would be a signature that S3 takes for no object under a KMS key.
_SIGNED_ANEW = STORES.merge(Config(signature_version="s3v4"))
INLINE_BYTES = 200_000  # an item holds 400 KB, a message 1 MB; below this a value travels inside them


class Payloads:
    """Values by name in one bucket. `pack` answers what to put inline: the value itself, or where it lies."""

    def __init__(self, bucket: str):
        self.bucket = bucket

    def pack(self, key: str, value: Any) -> str:
        text = json.dumps(value, separators=(",", ":"))
        if len(text) <= INLINE_BYTES and len(text.encode()) <= INLINE_BYTES:
            return json.dumps({"inline": value}, separators=(",", ":"))
        client("s3").put_object(Bucket=self.bucket, Key=key, Body=text.encode(), ContentType="application/json")
        return json.dumps({"key": key})

    def share(self, key: str, text: str, seconds: int) -> str:
        """Keep a text where whoever has the address that is answered can read it, for so many seconds."""
        s3 = client("s3", _SIGNED_ANEW)
        s3.put_object(Bucket=self.bucket, Key=key, Body=text.encode(), ContentType="application/json")
        url: str = s3.generate_presigned_url("get_object", {"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds)
        return url

    def unpack(self, packed: str) -> Any:
        values = json.loads(packed)
        if "key" not in values:
            return values["inline"]
        return json.loads(client("s3").get_object(Bucket=self.bucket, Key=values["key"])["Body"].read())
