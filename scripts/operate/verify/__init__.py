"""What can be asked of a deployed gateway by a program, and whether it answers as it must: `make verify-deployment`."""
