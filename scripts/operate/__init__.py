"""The operator's commands: tenants, prices, costs, statements, redrives, migration, the check of a deployment."""
