"""A client that knows a service's address and a token, and learns everything else by asking: no generated code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2  # noqa: F401 - what the status of a refused item carries can be read then
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # type: ignore[import-untyped]
    ProtoReflectionDescriptorDatabase,
)


class ReflectedClient:
    """Calls methods by name with plain dictionaries."""

    def __init__(self, address: str, token: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._database = ProtoReflectionDescriptorDatabase(self._channel)
        self._pool = DescriptorPool(self._database)

    def services(self) -> list[str]:
        """The services the server says it has."""
        return list(self._database.get_services())

    def call(self, service: str, method: str, request: dict[str, Any], timeout: float = 30) -> dict[str, Any]:
        """One unary call."""
        descriptor, send, receive = self._codec(service, method)
        unary = self._channel.unary_unary(
            f"/{service}/{method}", request_serializer=send, response_deserializer=receive
        )
        answer = unary(_request(descriptor, request), metadata=self._metadata, timeout=timeout)
        return MessageToDict(answer, preserving_proto_field_name=True)

    def follow(
        self, service: str, method: str, request: dict[str, Any], timeout: float = 60
    ) -> Iterator[dict[str, Any]]:
        """One streaming call."""
        descriptor, send, receive = self._codec(service, method)
        stream = self._channel.unary_stream(
            f"/{service}/{method}", request_serializer=send, response_deserializer=receive
        )
        for answer in stream(_request(descriptor, request), metadata=self._metadata, timeout=timeout):
            yield MessageToDict(answer, preserving_proto_field_name=True)

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _codec(self, service: str, method: str) -> tuple[MethodDescriptor, Any, Any]:
        descriptor = self._pool.FindServiceByName(service).FindMethodByName(method)
        answer = GetMessageClass(descriptor.output_type)
        return descriptor, lambda message: message.SerializeToString(), answer.FromString


def _request(descriptor: MethodDescriptor, request: dict[str, Any]) -> Any:
    return ParseDict(request, GetMessageClass(descriptor.input_type)())
