"""What lies in buckets beside the lake: payloads, price overlays, lists of models."""
