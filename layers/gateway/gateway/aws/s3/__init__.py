"""Adapters to S3: the store of files below the lake, payloads, price overlays, lists of models."""
