"""The gateway by `sam local`."""
