"""What schemathesis needs to know of this API beyond its OpenAPI document."""

import json
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import AcceptedNegativeData, ServerError
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree

# Tokens come from pages, and a digest is of the content that is sent: no text that is made up is either.
schemathesis.openapi.format("page-token", st.just(""))
schemathesis.openapi.format("digest", st.just(""))

# What JSON schema cannot say, in the words of those who refuse it.
BEYOND_SCHEMA = (
    " value for ",
    " values for ",  # rows have one value for each column
    "but the content has only",
    "asks for more than 20 million values",
    "linear ring",
    "Invalid BBox",
)
# What depends on what is there: links are to artifacts, names are of models, which want features of their own, and JSON holds only so much
# of a sample.
OF_THIS_SERVER = ("SCHEMA_VIOLATION", "MISSING_COLUMNS", "ARTIFACT_NOT_FOUND", "NOT_A_ROOT", "NOT_A_MODEL", "FRAME_TOO_LARGE")


@schemathesis.deserializer("application/x-ndjson")
def lines(context: Any, response: Any) -> Any:
    """The first line; all of them have one schema."""
    return json.loads(response.text.splitlines()[0])


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Whether a failure is one."""
    if isinstance(failure, RejectedPositiveData) and case.path.endswith("/$import"):  # bytes that are made up are no model
        return False
    if isinstance(failure, RejectedPositiveData):
        problem = response.json()
        sentences = [entry["msg"] for entry in problem.get("errors", ())]
        beyond = bool(sentences) and all(any(words in one for words in BEYOND_SCHEMA) for one in sentences)
        return not beyond and problem.get("reason") not in OF_THIS_SERVER
    if isinstance(failure, ServerError):  # others delete what predicts
        return not (case.path == "/predict" and "no model is deployed yet" in response.text)
    if isinstance(failure, UseAfterFree):  # a config that is not there has no artifacts
        return not case.path.endswith("/$artifacts")
    # What reads GeoJSON takes texts of numbers for numbers.
    return not (isinstance(failure, AcceptedNegativeData) and "in body - geo -> " in failure.message)
