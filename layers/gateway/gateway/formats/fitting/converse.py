"""A Converse request as the family of its model takes it: what it would refuse is left out or said in another way.

What changes neither price nor safety nor answer is taken; what the family refuses is left out or adapted, and named in
a warning. Whatever the format, a request becomes Converse's first and is fitted here once, so that each rule stands
once. What a family takes is in `gateway.calls.families`.

Sources beside that table's: the bedrock-runtime service model; the Converse API reference, for the words of its
refusals; Anthropic's "Extended thinking" for what goes with a thought and what does not.
"""

from __future__ import annotations

from gateway.calls.families import Family
from gateway.formats.fitting.asked import betas, effort, form, sampling, thinking
from gateway.formats.fitting.tools import calls, labels, one_tool, tools
from gateway.formats.fitting.turns import neighbours, system, turns
from gateway.formats.fitting.work import Fitted, Json, Wish, Work, is_readable

_STEPS = (
    labels, form, effort, tools, system, turns, calls, one_tool, betas, thinking, sampling, neighbours,
)  # fmt: skip


def fit(body: Json, family: Family, wish: Wish | None = None, *, translated: bool = True) -> Fitted:
    """The request as the family takes it. Where it is not `translated`, its answer goes back as it comes."""
    if not is_readable(body):
        return Fitted(body)  # the service says what is wrong with it
    work = Work(dict(body), family, wish or Wish(), translated)
    for step in _STEPS:
        step(work)
    return Fitted(work.body, tuple(work.warnings), work.answer_tool, work.names)
