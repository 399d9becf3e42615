"""What models say of themselves: their tensors, as far as their training knew them."""

import re
from collections.abc import Iterable, Iterator

from ...artifacts.model import Artifact
from ...signature import Column, Signature
from .datatypes import BYTES, datatype_named
from .repository import Named
from .v2 import open_inference_pb2 as pb

NAME = "modelwire"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics")
# Any number of rows.
ROWS = -1
# Columns whose values are lists of one length are tensors with two dimensions.
_LISTS = re.compile(r"fixed_size_list<[^:]+: ([^<> ]+)(?: not null)?>\[(\d+)\]")


def metadata_of(model: Artifact, named: Named) -> pb.ModelMetadataResponse:
    signature = Signature.from_metadata(model.metadata) or Signature(())
    return pb.ModelMetadataResponse(
        name=named.name,
        versions=[named.version],
        platform=f"{NAME}/{model.runner_id}",
        inputs=_tensors(signature.inputs),
        outputs=_tensors(signature.outputs),
    )


def config_of(model: Artifact, named: Named) -> pb.ModelConfig:
    metadata = metadata_of(model, named)
    return pb.ModelConfig(
        name=named.name,
        platform=metadata.platform,
        backend=NAME,
        input=[pb.ModelInput(name=one.name, data_type=_kind(one.datatype), dims=one.shape) for one in metadata.inputs],
        output=[pb.ModelOutput(name=one.name, data_type=_kind(one.datatype), dims=one.shape) for one in metadata.outputs],
    )


def _tensors(columns: Iterable[Column]) -> Iterator[pb.ModelMetadataResponse.TensorMetadata]:
    """Without the columns that no tensor can hold."""
    for column in columns:
        of_lists = _LISTS.fullmatch(column.type)
        datatype = datatype_named(of_lists[1] if of_lists else column.type)
        if datatype is not None:
            shape = [ROWS, int(of_lists[2])] if of_lists else [ROWS]
            yield pb.ModelMetadataResponse.TensorMetadata(name=column.name, datatype=datatype.name, shape=shape)


def _kind(datatype: str) -> "pb.DataType.ValueType":
    return pb.DataType.Value(f"TYPE_{'STRING' if datatype == BYTES else datatype}")
