"""What Bedrock refuses: checks that the stand-in makes of a request before it answers, as strict as the service.

    shapes     the service model: members, types, patterns, bounds
    traits     what each family refuses, by the guide and by published refusals
    converse   the rules of Converse that no service model tells
    claude     the rules of Claude's bodies of InvokeModel

It is a second reading of the sources, on purpose: nothing here may look at the gateway's table of families.
"""
