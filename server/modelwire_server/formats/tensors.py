"""Weights in the format of safetensors: names and numbers, nothing else."""

from typing import Any, BinaryIO

from ..errors import ModelNotLoadable


def read_safetensors(file: BinaryIO) -> dict[str, Any]:
    """The tensors by their names, as numpy arrays. Raises ModelNotLoadable."""
    try:
        import safetensors.numpy
    except ImportError:
        raise ModelNotLoadable("safetensors need the extra `imports`: pip install 'modelwire[imports]'") from None
    try:
        found: dict[str, Any] = safetensors.numpy.load(file.read())
    except MemoryError:
        raise
    except Exception as error:
        raise ModelNotLoadable(f"the file holds no tensors that can be read: {str(error)[:500]}") from error
    return found
