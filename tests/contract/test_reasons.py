"""The published list of reasons, the errors of the domain and the table of status codes say the same."""

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from modelwire.v1 import error_pb2
from modelwire_server import errors
from modelwire_server.errors import ModelwireError
from modelwire_server.interceptors.errors import CODES, status_of

PROTO = Path(__file__).parents[2] / "protos" / "modelwire" / "v1" / "error.proto"
PREFIX = "ERROR_REASON_"


def classes(base: type[ModelwireError] = ModelwireError) -> Iterator[type[ModelwireError]]:
    yield base
    for inner in base.__subclasses__():
        if inner.__module__ == errors.__name__:
            yield from classes(inner)


def published() -> dict[str, str]:
    """The comment of each reason in the contract."""
    found = re.findall(rf"  // ([^\n]+)\n  {PREFIX}(\w+) = \d+;", PROTO.read_text())
    return {name: comment for comment, name in found if name != "UNSPECIFIED"}


def test_the_table_has_every_published_reason_and_no_other() -> None:
    names = {name.removeprefix(PREFIX) for name, _ in error_pb2.ErrorReason.items()} - {"UNSPECIFIED"}
    assert set(CODES) == names == set(published())


def test_every_error_of_the_domain_has_a_published_reason_and_every_reason_an_error() -> None:
    assert {one.reason for one in classes()} == set(CODES)


def test_each_reason_belongs_to_one_error() -> None:
    own = [one for one in classes() if "reason" in vars(one)]
    assert len({one.reason for one in own}) == len(own)


@pytest.mark.parametrize("reason", sorted(published()))
def test_the_code_is_the_one_in_the_contract(reason: str) -> None:
    """Reasons that only failed jobs have stand without a code."""
    said = re.match(r"[A-Z_]{5,}", published()[reason])
    if said:
        assert CODES[reason].name == said.group()
    else:
        assert published()[reason].startswith(("Failed jobs", "Canceled jobs"))


@pytest.mark.parametrize("reason", sorted(published()))
def test_retry_info_comes_with_the_reasons_that_promise_it(reason: str) -> None:
    (error,) = [one for one in classes() if one.reason == reason and "reason" in vars(one)]
    assert (error.retry_after is not None) == ("with RetryInfo" in published()[reason])


@pytest.mark.parametrize("error", list(classes()), ids=lambda one: one.__name__)
def test_every_error_becomes_a_status(error: type[ModelwireError]) -> None:
    status = status_of(error("what is wrong", key="value"))
    assert status.code != grpc.StatusCode.OK.value[0]
    assert status.message == "what is wrong"
