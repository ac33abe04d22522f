"""The embedded AWS: moto behind one socket, with atomic and durable writes.

moto has its data in memory only, and is not atomic under threads. Here each service's writes are serialised, and their
changes are on disk before the response, so that a SIGKILL loses nothing:

    DynamoDB items   journal `aws/dynamodb.jsonl`, compacted at each start (which drops expired items)
    SQS messages     journal `aws/sqs.jsonl`, compacted at each start
    S3 objects       plain files: `lake/` for the bucket LakeBucket, `s3/<bucket>/` for any other

A restart loses: Step Functions executions and their histories, old versions and metadata of S3 objects (content type,
tags), unfinished multipart uploads, receipt handles of messages, writes through PartiQL.
"""
