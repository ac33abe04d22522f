"""From the ledger to the costs that finance reads, with the proof that nothing was lost on the way.

    plan          selects a run's hours: newly complete, with open rows, with files that differ from their proof
                  (`proofs`), with changed prices, and requested ones
    price_usage   the shards of an hour of the ledger -> one or more usage files, each row with its price; unreadable
                  rows go into quarantine
    close_day     the usage files of a day -> its costs by tenant, cost centre and model; once its hours are over,
                  every difference becomes a restatement line
    verify_usage  ledger == usage, in counts, tokens and money, priced a second way
    verify_day    usage == costs
    commit        records the hours that are done and the hours to do again

`plan` and `commit` are in `periods`, the two proofs in `verify`. Money is counted in whole units of 10^-12 USD, so
rows sum to the same total in any order.
"""
