"""Reconciles the ledger with AWS's own records, and splits each difference of a day into reasons that add up exactly.

AWS has two records. CloudWatch's metrics of Bedrock have calls and tokens by model, on the next morning. The bill (CUR
2.0) has tokens and USD by model and usage type, some days later. A difference is AWS's figure less the ledger's:

    unpriced      the ledger has the tokens, but no price for them
    late          the call began on one day and ended on the next: AWS counts it on the next; or it is still open
    interrupted   the call broke off and its usage is unknown: for each call, up to the largest call that is known
    out_of_band   spent by a principal other than the gateway's roles; each principal has its own line
    discount      AWS's charge, less AWS's public price
    adjustment    tax, credits, refunds, fees: no usage
    price         the same quantity, at another public price than the price book's
    rounding      up to a millionth of a USD for each line of the bill
    unexplained   the rest

An operator must check `price` and `unexplained` above the tolerance. A bill line with an unknown name and ledger usage
missing from the bill are probably the same usage. So only the difference of both can raise the alarm; both stay listed,
the bill line as not `mapped`.

The ledger's side uses the list price (`list_cost`), since AWS does not know a tenant's charge. Calls to SageMaker are
not compared: AWS bills its endpoints by the hour.
"""
