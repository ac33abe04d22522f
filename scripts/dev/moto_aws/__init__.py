"""An AWS on this machine: moto behind one socket, atomic, and with a memory.

moto keeps everything in its process and is not atomic under threads. Here each service's writes are serialised, and
what they changed is on disk before they are answered, so that a SIGKILL loses nothing:

    DynamoDB items   journal `aws/dynamodb.jsonl`, compacted at each start (items past their time to live go then)
    SQS messages     journal `aws/sqs.jsonl`, compacted at each start
    S3 objects       plain files: `lake/` for the bucket LakeBucket, `s3/<bucket>/` for any other

Not kept over a restart: Step Functions executions and their histories, old versions and metadata of S3 objects (content
type, tags), unfinished multipart uploads, receipt handles of messages, writes made through PartiQL.
"""
