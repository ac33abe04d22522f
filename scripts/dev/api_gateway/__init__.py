"""The local stack's API Gateway: routes, keys, validation, events."""
