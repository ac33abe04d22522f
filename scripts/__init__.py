"""Tools around the gateway: what a developer or an operator runs, never what a request runs."""
