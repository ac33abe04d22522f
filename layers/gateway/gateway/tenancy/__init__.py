"""Who calls: tenants, their keys, and how operators change them."""
