"""From the ledger to the costs that finance reads: what to price, how, and the proof that nothing was lost on the way.

    plan          which hours a run covers: new complete ones, those that held open rows, those whose files are not what
                  was proven of them (`proofs`), those whose prices are others by now, what is asked for
    price_usage   the shards of an hour of the ledger -> one usage file or some, each row with its price; what cannot be
                  read is put into quarantine
    close_day     the usage files of a day -> its costs by tenant, cost centre and model; once its hours are over, every
                  difference is a line that restates it
    verify_usage  ledger == usage, in counts, tokens and money, priced a second way
    verify_day    usage == costs
    commit        what is done, and what must be done again

`plan` and `commit` are in `periods`, the two proofs in `verify`. Money is counted in whole units
of 10^-12 USD, so that the sum of rows, in any order, is the sum of the ledger.
"""
