import inspect
import pickle
import re

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

import modelwire.errors
from modelwire.errors import BY_CODE, FieldViolation, InvalidArgument, JobFailed, ModelwireError, Unavailable
from modelwire.statuses import CODE_NAMES, asks_for_retry, connection_broke, error_of_status, plain_error

ERRORS = [kind for _, kind in inspect.getmembers(modelwire.errors, inspect.isclass) if issubclass(kind, ModelwireError)]


def status(code: str, message: str, *details: Message) -> status_pb2.Status:
    packed = []
    for detail in details:
        packed.append(AnyMessage())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=CODE_NAMES.index(code), message=message, details=packed)


def test_the_docstring_draws_the_tree_that_there_is() -> None:
    drawn = re.findall(r"[├└]── (\w+)", modelwire.errors.__doc__ or "")
    assert sorted(drawn) == sorted(kind.__name__ for kind in ERRORS if kind is not ModelwireError)


def test_every_status_code_has_an_error() -> None:
    assert {code.name for code in grpc.StatusCode} - {"OK"} == set(BY_CODE)


def test_code_names_are_in_the_order_of_their_numbers() -> None:
    assert {code.name: code.value[0] for code in grpc.StatusCode} == {name: number for number, name in enumerate(CODE_NAMES)}


def test_details_become_attributes() -> None:
    error = error_of_status(
        status(
            "INVALID_ARGUMENT",
            "2 values do not fit",
            error_details_pb2.ErrorInfo(reason="INVALID_CONFIG", domain="modelwire", metadata={"runner": "weather"}),
            error_details_pb2.BadRequest(
                field_violations=[error_details_pb2.BadRequest.FieldViolation(field="data.a", description="must be a string")]
            ),
            error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
            error_details_pb2.RequestInfo(request_id="not of interest"),
        )
    )
    assert type(error) is InvalidArgument
    assert (error.code, error.reason, error.metadata) == ("INVALID_ARGUMENT", "INVALID_CONFIG", {"runner": "weather"})
    assert error.violations == (FieldViolation("data.a", "must be a string"),)
    assert error.retry_after == 1.5
    assert str(error) == "2 values do not fit\n  data.a: must be a string"


def test_what_the_message_says_already_is_not_said_twice() -> None:
    assert str(InvalidArgument.of("name", "must not be empty")) == "name: must not be empty"


def test_a_reason_of_another_domain_is_not_ours() -> None:
    error = error_of_status(
        status("UNAVAILABLE", "no healthy upstream", error_details_pb2.ErrorInfo(reason="SHUTTING_DOWN", domain="proxy.example"))
    )
    assert error.reason == ""


def test_an_unknown_code_is_an_internal_error() -> None:
    assert error_of_status(status_pb2.Status(code=99, message="?")).code == "UNKNOWN"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UNAVAILABLE", r"cannot reach modelwire at there:1: .*refused.*`modelwire serve`"),
        ("DEADLINE_EXCEEDED", "no answer from there:1 within the deadline"),
        ("UNIMPLEMENTED", "the server at there:1 does not know this call"),
        ("DATA_LOSS", "refused"),
    ],
)
def test_statuses_without_details_say_what_to_do(code: str, words: str) -> None:
    error = plain_error(code, "connection refused", "there:1")
    assert error.code == code
    assert re.match(words, str(error)) or words in str(error)


@pytest.mark.parametrize(
    ("error", "broke"),
    [
        (plain_error("UNAVAILABLE", "", "x"), True),
        (plain_error("INTERNAL", "Received RST_STREAM", "x"), True),
        (Unavailable("", reason="SHUTTING_DOWN"), True),
        (modelwire.errors.Internal("", reason="RUNNER_FAILED"), False),
        (modelwire.errors.NotFound("", reason="JOB_NOT_FOUND"), False),
        (plain_error("PERMISSION_DENIED", "", "x"), False),
    ],
)
def test_only_broken_connections_are_made_again(error: ModelwireError, broke: bool) -> None:
    assert connection_broke(error) is broke


def test_only_a_refusal_with_a_time_asks_for_a_retry() -> None:
    assert asks_for_retry(Unavailable("", reason="SHUTTING_DOWN", retry_after=0.0))
    assert not asks_for_retry(Unavailable("", reason="SHUTTING_DOWN"))
    assert not asks_for_retry(Unavailable("", reason="STORAGE_FULL", retry_after=1.0))


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[ModelwireError]) -> None:
    error = kind("it broke", reason="OVERLOADED")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.reason, again.code) == (str(error), "OVERLOADED", error.code)


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(modelwire.errors.DeadlineExceeded, TimeoutError)
    assert issubclass(Unavailable, ConnectionError)
    assert issubclass(InvalidArgument, ValueError)


def test_a_failed_job_shows_its_traceback() -> None:
    error = JobFailed("job 1 failed", traceback="Traceback ...\nValueError: no", error="ValueError: no")
    assert error.__notes__ == ["In the job:\nTraceback ...\nValueError: no"]
