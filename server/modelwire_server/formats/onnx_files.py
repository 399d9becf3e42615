"""Models in the format of ONNX: graphs of known operations, which run no code of the file."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from ..compiled.stand_ins import open_session
from ..errors import ModelNotLoadable, UntrustedContent


def read_onnx(file: BinaryIO) -> Any:
    """A session of ONNX Runtime. Raises ModelNotLoadable, and UntrustedContent for graphs that would have it read other files of this
    machine."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError:
        raise ModelNotLoadable("models of ONNX need the extra `imports`: pip install 'modelwire[imports]'") from None
    content = file.read()
    try:
        _refuse_other_files(onnx, onnx.load_model_from_string(content))
        return open_session(content)
    except (MemoryError, UntrustedContent):
        raise
    except Exception as error:
        raise ModelNotLoadable(f"the file is no model that ONNX Runtime can read: {str(error)[:500]}") from error


def _refuse_other_files(onnx: Any, model: Any) -> None:
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(onnx, model)):
        message = "the file has its numbers in other files, which would be read on this machine: save it as one file"
        raise UntrustedContent(message, types="external data")


def _tensors(onnx: Any, message: Any) -> Iterator[Any]:
    """All tensors anywhere in a message."""
    pending = [message]
    while pending:
        one = pending.pop()
        if isinstance(one, onnx.TensorProto):
            yield one
            continue
        for field, value in one.ListFields():
            if field.message_type is not None:
                pending.extend(value if field.is_repeated else [value])
