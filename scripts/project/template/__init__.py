"""The only reader of template.yaml: as declared, with its intrinsics, and as resolved for this machine."""

from scripts.project.template.declared import (
    FUNCTION,
    LAYER,
    ROOT,
    STATE_MACHINE,
    DeclaredFunction,
    functions,
    load,
    of_type,
    refusal,
)
from scripts.project.template.resolved import (
    ACCOUNT,
    API_ID,
    PARTITION,
    STACK,
    Bucket,
    EventSource,
    Function,
    Queue,
    StateMachine,
    Table,
    Template,
    TemplateError,
    UsagePlanKey,
    project_template,
)

__all__ = [
    "ACCOUNT", "API_ID", "FUNCTION", "LAYER", "PARTITION", "ROOT", "STACK", "STATE_MACHINE", "Bucket",
    "DeclaredFunction", "EventSource", "Function", "Queue", "StateMachine", "Table", "Template", "TemplateError",
    "UsagePlanKey", "functions", "load", "of_type", "project_template", "refusal",
]  # fmt: skip
