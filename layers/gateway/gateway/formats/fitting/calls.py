"""A call whose body a client made itself, fitted to the family of its model; its answer goes back as it comes."""

from __future__ import annotations

from dataclasses import replace

from gateway.calls.call import ModelCall
from gateway.calls.catalog import Service
from gateway.calls.families import family
from gateway.formats.fitting.claude import fit_messages
from gateway.formats.fitting.converse import fit


def fitted(call: ModelCall) -> ModelCall:
    """The call as its model takes it. Bodies of InvokeModel are fitted where they are Claude's messages."""
    if call.model.service is not Service.BEDROCK or call.operation != "text" or not isinstance(call.body, dict):
        return call
    model = family(call.model.base)
    if call.api.startswith("Converse"):
        made = fit(call.body, model, translated=False)
    elif model.claude:
        made = fit_messages(call.body, model, translated=False)
    else:
        return call
    return replace(call, body=made.body, warnings=made.warnings)
