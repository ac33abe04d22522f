"""Does the ledger agree with AWS's own record? Every difference of a day is named, and the names add up to it exactly.

Two records of AWS are asked. CloudWatch's metrics of Bedrock, by model: calls and tokens, there the next morning.
The bill (CUR 2.0), by model and usage type: tokens and USD, some days later. A difference is AWS's figure less ours:

    unpriced      the ledger has the tokens, but no price for them
    late          the call began on one day and ended on the next: AWS counts it where it ended; or it is still open
    interrupted   the call broke off and nobody knows what it used: for each, up to the largest call that is known
    out_of_band   spent by a principal that is not one of the gateway's roles; each is a line of its own
    discount      what AWS charges, less AWS's public price
    adjustment    tax, credits, refunds, fees: no usage
    price         the same quantity, at another public price than that of the price book
    rounding      up to a millionth of a USD for each line of the bill
    unexplained   the rest

`price` and `unexplained` above the tolerance are what somebody must look at. A line of the bill whose name is not known
and usage of the ledger that the bill does not name are likely one and the same: only what is left of both, held
against each other, wakes somebody. Each stays listed, the line as not `mapped`.

The ledger counts at the list price here (`list_cost`): what a tenant is charged is the gateway's own affair. Calls to
SageMaker are not compared: it is billed by the hour.
"""
