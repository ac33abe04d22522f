"""The local stack, with stand-ins for AWS's services."""
