"""Adapters to DynamoDB: the ledger, accounts, jobs, idempotency keys, tenants, periods."""
