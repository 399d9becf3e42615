"""The contract of others: served as a whole, beside whoever else has it in this process."""

import inspect

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from modelwire_server.protocols.open_inference.elsewhere import REASONS
from modelwire_server.protocols.open_inference.servicer import OpenInferenceServicer
from modelwire_server.protocols.open_inference.v2 import open_inference_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]


def test_every_method_is_implemented_or_refused_in_a_sentence() -> None:
    for method in SERVICE.methods:
        own = vars(OpenInferenceServicer)[method.name]
        assert inspect.isasyncgenfunction(own) if method.server_streaming else inspect.iscoroutinefunction(own)
    assert not REASONS.keys() & SERVICE.methods_by_name.keys()


def test_clients_of_other_servers_may_be_imported_beside_it() -> None:
    """Their messages have the same names, in a file of another name; in one pool that is an error."""
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")
    file = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    file.name = "grpc_service.proto"
    with pytest.raises(TypeError):
        pb.DESCRIPTOR.pool.Add(file)
    other = descriptor_pool.DescriptorPool()
    other.Add(file)
    assert other.FindMessageTypeByName("inference.ModelInferRequest") is not pb.ModelInferRequest.DESCRIPTOR
