"""Names of models: how to read them, and which name determines a call's price. All rules are here.

One name prices a ledger row, in the region of the request, on the day of the call, in the tier that the service echoed.
The lookup uses exactly that name, without a fallback to another one.

    named                                       priced as
    model id, anthropic.x                       itself
    inference profile, us.anthropic.x           itself, in the source region: geographies have their own prices (for
                                                Claude from 4.5 on, a tenth above the global profile's); without its
                                                own row it is unpriced, never at another geography's price
    …:foundation-model/anthropic.x              the id in it
    …:inference-profile/us.anthropic.x          the id in it, also beside another id
    …:application-inference-profile/…           itself if the overlay prices it; else its source: one model, or the
                                                profile of its models' geography; if nobody has resolved it (as
                                                `model_arn`), it is unpriced
    …:provisioned-model/…, custom-model/…,      itself, which only the overlay prices; else it is unpriced, whatever
    custom-model-deployment/…, imported-model/… model id the call names: AWS bills model units by the hour or copies
                                                by the minute, not the base model's tokens
    SageMaker endpoint                          its public name: only the overlay prices it
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# Geographies of inference profiles. Source: Amazon Bedrock, "Supported Regions and models for inference profiles".
PROFILE_PREFIXES = frozenset({"us", "us-gov", "eu", "apac", "jp", "au", "in", "ca", "sa", "me", "af", "global"})

# These end with `\Z`: `$` would accept a trailing newline, and so would a tenant's pattern.
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,255}\Z", re.ASCII)
OWN_ARN = re.compile(
    r"arn:aws(-[a-z]+)*:bedrock:[a-z0-9-]+:[0-9]{12}:"
    r"(custom-model|custom-model-deployment|provisioned-model|imported-model|inference-profile|application-inference-profile)/"
    r"[A-Za-z0-9][A-Za-z0-9:._-]{0,255}(/[A-Za-z0-9][A-Za-z0-9:._-]{0,62})?\Z",
    re.ASCII,
)
_FOUNDATION_ARN = re.compile(
    r"arn:aws(?:-[a-z]+)*:bedrock:[a-z0-9-]*::foundation-model/([A-Za-z0-9][A-Za-z0-9._:-]{0,255})\Z", re.ASCII
)
_PROFILE_ARN = re.compile(
    r"arn:aws(?:-[a-z]+)*:bedrock:[a-z0-9-]+:[0-9]{12}:inference-profile/([A-Za-z0-9][A-Za-z0-9._:-]{0,255})\Z",
    re.ASCII,
)
_PAID_BY_TIME = re.compile(r":(custom-model|custom-model-deployment|provisioned-model|imported-model)/")


def split_profile(model_id: str) -> tuple[str, str]:
    """`us.anthropic.x` -> (`us`, `anthropic.x`); an id without a profile has the empty prefix."""
    head, _, rest = model_id.partition(".")
    return (head, rest) if head in PROFILE_PREFIXES and "." in rest else ("", model_id)


def id_in(arn: str) -> str | None:
    """The model or profile id in one of Bedrock's own ARNs; None for an ARN of an account's resource."""
    found = _FOUNDATION_ARN.match(arn) or _PROFILE_ARN.match(arn)
    return found[1] if found else None


def profile_id(models: Sequence[str], region: str) -> str | None:
    """The id that prices a profile over these model ARNs; None if the ARNs do not determine it.

    One ARN gives that model. Several give the profile of the region's geography, or the global one, whose ARNs name
    no region. The Asia Pacific regions have more than one geography.
    """
    if not models:
        return None
    base = models[0].rpartition("/")[2]
    if any(arn.split(":")[3] == "" for arn in models):
        return f"global.{base}"
    if len(models) == 1:
        return base
    geography = "us-gov" if region.startswith("us-gov") else region.partition("-")[0]
    return f"{geography}.{base}" if geography in PROFILE_PREFIXES else None


def pricing_names(model_id: str, called: str) -> Iterator[tuple[str, bool]]:
    """The names that may price a call of `called`, requested as `model_id`; the first that applies is used.

    The flag with each name means: applies only if a private overlay prices it.
    """
    if called.startswith("arn:"):
        yield called, True
        if carried := id_in(called):
            yield carried, False
        elif _PAID_BY_TIME.search(called):
            yield called, False
    yield model_id, False
