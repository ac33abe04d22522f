"""What people and CI run: the local stack, generators, tenants, costs."""
