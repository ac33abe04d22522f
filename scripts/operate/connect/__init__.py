"""A developer's sign-in at the company's identity provider, and the configuration of the developer's tools."""
