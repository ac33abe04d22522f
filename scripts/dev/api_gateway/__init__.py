"""API Gateway as the local stack has it: routes, keys, validation, events."""
