"""ClassifyService: decode, call, encode."""

from __future__ import annotations

from typing import Any

from apaise.classify.v1 import classify_service_pb2 as pb
from apaise.classify.v1 import classify_service_pb2_grpc as rpc
from apaise_classify import app
from apaise_classify.domain.ports import AdapterStore, PrecedentStore, Reader
from apaise_classify.transport import codec
from apaise_kit.core.caller import current_caller
from apaise_kit.core.names import ADAPTER, parse_brand

SERVICE = "apaise.classify.v1.ClassifyService"


class ClassifyServicer(rpc.ClassifyServiceServicer):
    """The service over a reader, a store of adapters and one of precedents."""

    def __init__(self, reader: Reader, store: AdapterStore, precedents: PrecedentStore) -> None:
        self._reader = reader
        self._store = store
        self._precedents = precedents

    async def Classify(self, request: pb.ClassifyRequest, context: Any) -> pb.ClassifyResponse:
        """Read one text."""
        assessment = await app.classify(self._reader, current_caller(), codec.item(request.input, "input"))
        return pb.ClassifyResponse(assessment=codec.assessment(assessment))

    async def BatchClassify(self, request: pb.BatchClassifyRequest, context: Any) -> pb.BatchClassifyResponse:
        """Read many texts."""
        items = codec.items(request)
        return codec.results(await app.batch_classify(self._reader, current_caller(), items, request.ByteSize()))

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        """House vectors."""
        return codec.vectors(await app.embed(self._reader, list(request.texts), request.ByteSize()))

    async def ActivateAdapter(self, request: pb.ActivateAdapterRequest, context: Any) -> pb.ActivateAdapterResponse:
        """Have a revision serve its brand."""
        revision = codec.revision(request.adapter)
        current_caller().require(revision.brand, request.adapter.name)
        adapter = await app.activate_adapter(self._store, self._reader, revision, request.request_id)
        return pb.ActivateAdapterResponse(adapter=codec.adapter(adapter))

    async def RollbackAdapter(self, request: pb.RollbackAdapterRequest, context: Any) -> pb.RollbackAdapterResponse:
        """Go back to an earlier revision or to the house."""
        brand, revision = codec.rollback_target(request)
        adapter = await app.rollback_adapter(self._store, self._reader, brand, revision, request.request_id)
        return pb.RollbackAdapterResponse(adapter=codec.adapter(adapter) if adapter else None)

    async def SetCanary(self, request: pb.SetCanaryRequest, context: Any) -> pb.SetCanaryResponse:
        """A revision reads a share of its brand's messages, or none any more."""
        brand, revision = codec.canary(request)
        generation = await app.set_canary(self._store, self._reader, brand, revision, request.share, request.request_id)
        return pb.SetCanaryResponse(generation=generation)

    async def GetCanary(self, request: pb.GetCanaryRequest, context: Any) -> pb.GetCanaryResponse:
        """How a brand's canary fares."""
        return codec.canary_response(await app.get_canary(self._store, parse_brand(request.parent, "parent")))

    async def GetAdapter(self, request: pb.GetAdapterRequest, context: Any) -> pb.GetAdapterResponse:
        """One revision."""
        name = ADAPTER.parse(request.name)
        return pb.GetAdapterResponse(adapter=codec.adapter(await app.get_adapter(self._store, name.brand, name.id)))

    async def ListAdapters(self, request: pb.ListAdaptersRequest, context: Any) -> pb.ListAdaptersResponse:
        """A brand's revisions."""
        brand, size, after = codec.page(request)
        adapters, following = await app.list_adapters(self._store, brand, size, after)
        return codec.adapters_response(brand, adapters, following)

    async def PutPrecedents(self, request: pb.PutPrecedentsRequest, context: Any) -> pb.PutPrecedentsResponse:
        """Resolved messages begin to decide their near-duplicates."""
        brand, given = codec.precedents(request)
        size = request.ByteSize()
        revision, encoder = await app.put_precedents(self._precedents, self._reader, brand, given, size)
        return pb.PutPrecedentsResponse(revision=revision, encoder=encoder)

    async def DeletePrecedents(self, request: pb.DeletePrecedentsRequest, context: Any) -> pb.DeletePrecedentsResponse:
        """They decide no more."""
        brand, ids = codec.precedent_ids(request)
        return pb.DeletePrecedentsResponse(
            revision=await app.delete_precedents(self._precedents, self._reader, brand, ids)
        )
