"""Adapters to AWS: the only importers of boto3 and pyarrow."""
