"""The codes of errors: the code answers those of the list alone, and openapi.yaml states each where it is answered."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from gateway.core.error_codes import ErrorCode
from scripts.generate import errors
from scripts.generate.error_meanings import GROUPS, MEANINGS, SECTIONS, operations_of
from tests.answered import fault
from tests.contract.contract import OPERATIONS, SPEC, Operation

STATUSES = errors.statuses(SPEC)
STATED = SPEC["x-error-codes"]["codes"]
BY_ID = {operation.said["operationId"]: operation for operation in OPERATIONS}
# API Gateway's own answers to what reaches no function, on any operation; their statuses are not declared everywhere.
OF_API_GATEWAY = {"gateway_failed"}


def test_the_list_has_each_code_that_the_code_or_api_gateway_answers_and_no_other() -> None:
    assert set(STATUSES) == set(errors.CODES)
    used = errors.sources().texts() | {code for code, _ in errors.answered_by_api_gateway(SPEC)}
    assert set(errors.CODES) <= used


def test_a_code_that_is_not_in_the_list_is_found_wherever_it_is_raised() -> None:
    code = """
MISSPELT = "by_name"
class Odd(GatewayError):
    status = 418
    code = "by_class"
def f():
    raise Odd("", code="by_keyword")
    raise BadRequestError("", code=MISSPELT)
    raise invalid_param("n", "must be", "by_position")
REFUSAL = Refusal(429, "by_refusal", "Wait.")
class GatewayError(Exception):
    status = 500
class BadRequestError(GatewayError):
    status = 400
"""
    found = set(errors.Sources({Path("odd.py"): ast.parse(code)}).raised())
    assert found == {
        ("by_class", 418), ("by_keyword", 418), ("by_name", 400), ("by_position", 400), ("by_refusal", 429),
    }  # fmt: skip


def test_each_code_has_one_meaning() -> None:
    assert MEANINGS.keys() == set(errors.CODES)
    assert len(MEANINGS) == sum(map(len, SECTIONS.values()))
    for code, meaning in MEANINGS.items():
        assert meaning.means.endswith("."), code
        assert meaning.do.endswith("."), code


@pytest.mark.parametrize("code", errors.CODES)
def test_an_operation_declares_the_status_of_each_code_that_it_answers(code: ErrorCode) -> None:
    assert STATED[code] == {"status": STATUSES[code], "at": list(MEANINGS[code].at)}
    for operation in operations_of(code):
        declared = BY_ID[operation].said["responses"]
        assert code in OF_API_GATEWAY or {str(status) for status in STATUSES[code]} & declared.keys(), operation


def test_every_group_names_operations_that_there_are() -> None:
    assert {operation for group in GROUPS.values() for operation in group} == BY_ID.keys()


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_each_status_of_an_operation_has_a_code(operation: Operation) -> None:
    name = operation.said["operationId"]
    answered = {status for code in errors.CODES if name in operations_of(code) for status in STATUSES[code]}
    declared = {int(status) for status in operation.said["responses"] if int(status) >= 400}
    # API Gateway and Lambda know no code for what is too large; an operator's request is signed, and has no key.
    assert declared - answered <= ({413} if "admin" not in operation.said["tags"] else {401, 413})


def test_an_answer_that_openapi_does_not_state_is_a_fault_of_its_test() -> None:
    assert fault("POST", "/v1/chat/completions", "budget_exceeded", 429) is None
    assert "does not state" in str(fault("POST", "/v1/chat/completions", "tenant_not_found", 404))
    assert "does not state" in str(fault("GET", "/v1/models", "budget_exceeded", 429))
    assert "does not declare" in str(fault("GET", "/usage", "internal_error", 501))
    assert "getModel" in str(fault("GET", "/v1/models/us.amazon.nova-lite-v1:0", "budget_exceeded", 429))
    assert fault("GET", "/nowhere", "route_not_found", 404) is None
