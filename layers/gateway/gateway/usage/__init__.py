"""Usage: the record of a call, the readers of the providers' token counts, and the ledger."""
