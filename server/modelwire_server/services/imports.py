"""Models that were made elsewhere, on their way in."""

from collections.abc import AsyncIterator

from modelwire.v1 import model_service_pb2 as pb

from ..importing.imports import Imports
from ..importing.model import ImportedFile
from ..registry.model import ModelVersion, check_alias, check_name
from .checks import Findings
from .receiving import chunk_of, out_of_order
from .values import dict_of
from .versions import STAGE_OF, metrics_of

LONGEST_URI = 2_000
LONGEST_TEXT = 10_000
# So many columns may a model have.
MOST_FEATURES = 10_000


async def received(imports: Imports, messages: AsyncIterator[pb.ImportModelRequest]) -> ModelVersion:
    """The version that a stream of a header and chunks makes. Raises InvalidField for a stream that is none, and as Imports does."""
    message = await anext(aiter(messages), None)
    if message is None or message.WhichOneof("part") != "header":
        raise out_of_order("header", "is needed first")
    wanted = imported_file_of(message.header)
    imports.check(wanted)
    if message.header.uri:
        async for _ in messages:
            raise out_of_order("chunk", "must not follow a header that names a `uri`")
        return await imports.import_uri(message.header.uri, wanted)
    async with imports.receiving() as file:
        async for message in messages:
            if message.WhichOneof("part") != "chunk":
                raise out_of_order("part", "must be a chunk: the header comes once")
            await file.write(chunk_of(message, "chunk"))
        await file.flush()
        if not file.size:
            raise out_of_order("chunk", "is needed: the file itself, or a `uri` in the header")
        return await imports.import_file(file.path, wanted)


def imported_file_of(header: pb.ImportHeader) -> ImportedFile:
    """Raises InvalidField."""
    findings = Findings()
    for violation in [*check_name("name", header.name), *(check_alias("alias", header.alias) if header.alias else [])]:
        findings.add(violation.field, violation.description)
    if header.stage not in STAGE_OF:
        findings.add("stage", f"{header.stage} is no stage")
    findings.text("uri", header.uri, LONGEST_URI)
    findings.within("features", len(header.features), 0, MOST_FEATURES)
    wanted = ImportedFile(
        name=header.name,
        format=findings.text("format", header.format),
        runner_id=findings.text("runner_id", header.runner_id),
        config=dict_of(header.config, "config") if header.HasField("config") else {},
        grant=findings.text("grant", header.grant, LONGEST_TEXT),
        digest=findings.digest("digest", header.digest),
        signature=dict_of(header.signature, "signature") if header.HasField("signature") else {},
        algorithm=findings.text("algorithm", header.algorithm),
        features=tuple(findings.text(f"features[{index}]", column) for index, column in enumerate(header.features)),
        target=findings.text("target", header.target),
        metrics=metrics_of(header.metrics, findings),
        framework=findings.text("framework", header.framework),
        trained_at=header.trained_at.ToJsonString() if header.HasField("trained_at") else "",
        description=findings.text("description", header.description, LONGEST_TEXT),
        tags=findings.tags(header.tags),
        stage=STAGE_OF.get(header.stage, STAGE_OF[pb.MODEL_STAGE_UNSPECIFIED]),
        alias=header.alias,
        request_id=findings.request_id(header.request_id),
    )
    findings.settle()
    return wanted
