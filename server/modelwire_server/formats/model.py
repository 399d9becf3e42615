"""The formats of stored models."""

from enum import StrEnum

PICKLE = "application/x-pickle"
WORKSPACE = "application/vnd.modelwire.workspace+json"
SKOPS = "application/x-skops"
ONNX = "application/x-onnx"
SAFETENSORS = "application/x-safetensors"


class Format(StrEnum):
    """What a stored model is written in. `cloudpickle` is any pickle."""

    CLOUDPICKLE = "cloudpickle"
    SKOPS = "skops"
    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    WORKSPACE = "workspace"

    @property
    def content_type(self) -> str:
        return _CONTENT_TYPES[self]

    @classmethod
    def of_content(cls, content_type: str) -> "Format | None":
        """The format of an artifact's content; None for content that is no model."""
        return _FORMATS.get(content_type)


_CONTENT_TYPES = {
    Format.CLOUDPICKLE: PICKLE,
    Format.SKOPS: SKOPS,
    Format.ONNX: ONNX,
    Format.SAFETENSORS: SAFETENSORS,
    Format.WORKSPACE: WORKSPACE,
}
_FORMATS = {content_type: one for one, content_type in _CONTENT_TYPES.items()}
# What callers may bring.
IMPORTED = (Format.SKOPS, Format.ONNX, Format.SAFETENSORS, Format.CLOUDPICKLE)
