"""What an empty home begins with: the sample brands and their channels."""

from __future__ import annotations

import asyncio
import importlib.resources
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from apaise_cli.home import Home
from apaise_cli.mesh.plan import Process

if TYPE_CHECKING:
    from apaise.ingest.v1 import ingest_service_pb2_grpc


def sample_brands(home: Home, processes: Sequence[Process], say: Callable[[str], None]) -> None:
    """Create the sample brands when ingest runs and knows no brand yet."""
    if any(process.name == "ingest" for process in processes):
        asyncio.run(_seed(home, say))


async def _seed(home: Home, say: Callable[[str], None]) -> None:
    from apaise.ingest.v1 import ingest_service_pb2 as pb
    from apaise.ingest.v1 import ingest_service_pb2_grpc as rpc
    from apaise_cli.remote import connect

    async with connect(home, "ingest", "operator") as channel:
        ingest = rpc.IngestServiceStub(channel)
        if (await ingest.ListBrands(pb.ListBrandsRequest(page_size=1))).brands:
            return
        brands = _read_samples()
        for brand in brands:
            await _create(ingest, brand)
        say(f"Created the sample brands: {', '.join(brand['id'] for brand in brands)}.")


def _read_samples() -> list[dict[str, Any]]:
    import yaml

    text = importlib.resources.files("mlops").joinpath("samples", "brands.yaml").read_text(encoding="utf-8")
    brands: list[dict[str, Any]] = yaml.safe_load(text)["brands"]
    return brands


async def _create(ingest: ingest_service_pb2_grpc.IngestServiceAsyncStub, brand: dict[str, Any]) -> None:
    from apaise.ingest.v1 import ingest_service_pb2 as pb
    from apaise.type.v1 import message_pb2 as types

    kept = pb.Brand(display_name=brand["display_name"], default_language=brand["default_language"])
    await ingest.CreateBrand(pb.CreateBrandRequest(brand_id=brand["id"], brand=kept))
    for channel in brand["channels"]:
        made = types.Channel(
            platform=channel["platform"],
            kind=types.ChannelKind.Value(f"CHANNEL_KIND_{channel['kind']}"),
            audience=types.Audience.Value(f"AUDIENCE_{channel['audience']}"),
            moderation_mode=types.ModerationMode.Value(f"MODERATION_MODE_{channel['moderation']}"),
        )
        await ingest.CreateChannel(
            pb.CreateChannelRequest(parent=f"brands/{brand['id']}", channel_id=channel["id"], channel=made)
        )
