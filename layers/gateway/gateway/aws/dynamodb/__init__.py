"""What lies in DynamoDB: the ledger, accounts, jobs, keys of idempotency, tenants, periods."""
