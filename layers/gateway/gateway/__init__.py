"""A metered, multi-tenant gateway to foundation models, by its stories. Each package imports only those below it.

    routes                    a request of one format, answered or streamed
    wiring                    the adapters of the functions that call models
    aws                       DynamoDB, the lake, S3, models, events
    formats · web             wire formats, pure; HTTP
    statements · reconciliation   the month; AWS's own record
    calls · costs             one call of a model; the day
    budgets                   what may be spent
    tenancy · pricing         who calls; what usage costs
    usage                     what was used: the ledger's rows
    core                      errors, settings, telemetry, times

`python -m scripts.check.rooms` draws it from the imports; pyproject.toml has the rule, which no package can escape.
"""
