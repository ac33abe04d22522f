"""A metered, multi-tenant gateway to foundation models: the domain, and its edges `aws`, `http` and `wire`."""
