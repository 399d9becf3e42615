"""The server's contract, for tools that ask for it: v1 for those of today, v1alpha for those that lag behind."""

from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as library

V1ALPHA = reflection.SERVICE_NAME
V1 = V1ALPHA.replace("v1alpha", "v1")


def add_reflection(server: Any, names: Iterable[str], *more: descriptor_pool.DescriptorPool) -> list[str]:
    """Serves the descriptors of the services with these names, which are in the default pool or in one of the others; returns the
    names of the services that do so."""
    pool = descriptor_pool.DescriptorPool()
    names = [*names, V1ALPHA, V1]
    for name in names:
        if name != V1:
            _add_file(pool, _file_of(name, more))
    pool.Add(_v1_file())
    # What error statuses carry, so that tools can print it.
    _add_file(pool, error_details_pb2.DESCRIPTOR)
    servicer = library.ReflectionServicer(names, pool=pool)
    # The messages of both versions are the same on the wire.
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (V1ALPHA, V1):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}),))
    return [V1ALPHA, V1]


def _file_of(service: str, more: Sequence[descriptor_pool.DescriptorPool]) -> FileDescriptor:
    for pool in more:
        try:
            return pool.FindFileContainingSymbol(service)
        except KeyError:
            continue
    return descriptor_pool.Default().FindFileContainingSymbol(service)


def _add_file(pool: descriptor_pool.DescriptorPool, file: FileDescriptor) -> None:
    for dependency in file.dependencies:
        _add_file(pool, dependency)
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    pool.Add(proto)


def _v1_file() -> FileDescriptorProto:
    """The file of v1alpha, renamed: the library has no v1."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    old, new = ".grpc.reflection.v1alpha.", ".grpc.reflection.v1."
    file.name, file.package = "grpc/reflection/v1/reflection.proto", "grpc.reflection.v1"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(old, new)
    for service in file.service:
        for method in service.method:
            method.input_type, method.output_type = method.input_type.replace(old, new), method.output_type.replace(old, new)
    return file
