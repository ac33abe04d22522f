"""What lies in the lake: Parquet files of usage, costs, prices, findings, statements; and the bill beside it."""
