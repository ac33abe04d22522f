"""What was used: the record of a call, how the provider's counts are read, and the ledger."""
