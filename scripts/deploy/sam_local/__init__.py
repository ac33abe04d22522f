"""The gateway under `sam local`."""
