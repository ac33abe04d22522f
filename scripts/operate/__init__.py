"""What an operator types: tenants, prices, costs, statements, redrives, migration, the check of a deployment."""
