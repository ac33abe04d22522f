"""Bedrock's refusals: the stand-in checks each request before it answers, as strictly as the service.

    shapes     the service model: members, types, patterns, bounds
    traits     each family's refusals, from the guide and from published error messages
    converse   Converse's rules beyond the service model
    claude     the rules of Claude's InvokeModel bodies

It is deliberately a second reading of the sources: no code here may use the gateway's table of families.
"""
