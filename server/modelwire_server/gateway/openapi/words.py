"""What operations of the OpenAPI document say: the comment of their method, or other words where REST is not the same."""

import re

from ..lists import is_list
from ..methods import Method
from .comments import comment

# What fails stands at the responses.
_FAILURES = re.compile(r" ?\bFails (?:with|as) [^.]*\.")
_LISTED = " An array of all there is, without `page` and `size` or `page_size`."
_IN_THE_JOB = (
    "What is wrong with a well-formed request, for instance an unknown id, fails the job instead of this call, unless `errors_in_job` "
    "is false. Watch the job at `/api/v1/jobs/{job_id}/$stream`."
)

_BY_OPERATION = {
    "Train": "Submits a training and answers at once with the ids of the job and of the model that it will make. The job is durable "
    f"when the answer arrives. {_IN_THE_JOB}",
    "SubmitPrediction": "Submits a prediction as a job; its result becomes an artifact under the model. Answers at once with both ids. "
    f"{_IN_THE_JOB}",
    "Predict": "Predicts and answers with the predictions; nothing is stored. The model stays in memory after its first use.",
    "WatchJob": "Streams a job: as it is, then every `poll_interval` seconds and when it has ended, which ends the stream. To a client "
    "that sends `Last-Event-ID` its events are streamed instead.",
    "WatchJobEvents": "Streams the events of a job: those after `after_sequence` at once, then each new one as it happens, until the job "
    "has ended. When the stream breaks, ask again with the id of the last event received as `Last-Event-ID`, as browsers do by "
    "themselves: nothing is lost and nothing comes twice.",
    "GetRunnerInfo": "Reads the info card of the default runner: who made it, and what it needs.",
    "CreateArtifact": "Stores an artifact whose content is small and JSON. For files and frames there is `$upload`.",
    "UpdateArtifact": "Changes tags and metadata of an artifact, and may move it with all its descendants under another parent. Data that "
    "are any JSON value are replaced; type and content of others never change: what is sent must be what is there.",
    "DownloadArtifact": "Sends the content of an artifact. Resume a broken download with `offset`.",
    "UploadArtifact": "Stores an artifact with content of any type and size: the body is the content, all else stands in the query. "
    "Nothing is stored unless the body comes whole and the digest, if given, fits.",
    "ImportModel": "Makes the next version of a name from a model that was made elsewhere: the body is the file, all else stands in the "
    "query. A body that is a JSON object says it all, with a `uri` in the place of the file. Files that can run code when they are read "
    "need a `grant`, which is recorded, and a server that allows it.",
}


def text_of(method: Method, operation_id: str) -> str:
    """What an operation does; the first sentence is a summary."""
    text = _BY_OPERATION.get(operation_id) or _FAILURES.sub("", comment(method.rpc))
    return text + (_LISTED if is_list(method) else "")
