"""Empties a bucket when its stack is deleted, since CloudFormation deletes only empty buckets."""

from __future__ import annotations

from botocore.exceptions import ClientError

from gateway.aws.clients import client


class Leftovers:
    """The objects of one bucket without versioning."""

    def __init__(self, bucket: str, page: int = 1000):
        self._bucket = bucket
        self.page = page  # S3's limit for one list or delete request
        self._s3 = client("s3")

    def is_in_service(self) -> bool:
        """Does the bucket still have its policy?

        When a stack is deleted, the template's order removes the policy before this resource empties the bucket. If an
        update or a rollback removes only this resource, the policy stays, and so must the objects.
        """
        try:
            self._s3.get_bucket_policy(Bucket=self._bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchBucketPolicy", "NoSuchBucket"}:
                return False
            raise
        return True

    def delete_some(self) -> int:
        """Delete as many objects as one request allows, and return their number; 0 if none is left."""
        try:
            page = self._s3.list_objects_v2(Bucket=self._bucket, MaxKeys=self.page)
        except self._s3.exceptions.NoSuchBucket:
            return 0
        keys = [{"Key": entry["Key"]} for entry in page.get("Contents", ())]
        if keys:
            asked = {"Objects": keys, "Quiet": True}
            refused = self._s3.delete_objects(Bucket=self._bucket, Delete=asked).get("Errors")
            if refused:
                raise DeletionError(len(refused), refused[0]["Code"])
        return len(keys)


class DeletionError(Exception):
    """S3 refused to delete objects."""

    def __init__(self, count: int, code: str):
        super().__init__(f"{count} objects were not deleted: {code}")
