"""Adapters to the lake: Parquet files of usage, costs, prices, findings and statements, and AWS's bill beside them."""
