"""What classify can be told from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from apaise_classify.serving.precedents import NEARNESS
from apaise_kit.runtime.settings import KitSettings
from mlops.base import cache_dir


class ClassifySettings(KitSettings):
    """Settings of the classify service."""

    ray_address: str = Field("", description="Ray cluster to join (host:port); empty starts one in this machine.")
    replicas: int = Field(1, ge=1, le=64, description="Ray Serve replicas, each with the whole encoder.")
    replica_cpus: float = Field(1.0, ge=0, description="CPUs Ray sets aside for one replica.")
    lanes: int = Field(
        0, ge=0, description="Batches a replica computes at once; 0 shares the cores among the replicas."
    )
    torch_threads: int = Field(1, ge=1, description="Threads of one encoder pass; lanes use cores better.")
    device: str = Field("cpu", description="Where the encoder runs: cpu, cuda, cuda:1…")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="Numbers the encoder computes in; auto is bfloat16 where the hardware has it."
    )
    batch_rows: int = Field(64, ge=1, le=512, description="Messages handed to a replica at once.")
    pass_tokens: int = Field(4096, ge=128, description="Tokens of one encoder pass; a larger batch takes several.")
    batches_waiting: int = Field(1, ge=0, le=16, description="Batches ready at a replica beside those it computes.")
    max_waiting: int = Field(2048, ge=1, description="Messages waiting beyond which callers are told to come back.")
    adapters_resident: int = Field(
        1000, ge=0, description="Adapters a replica holds in memory; 0 is all. Others wait on disk."
    )
    remembered: int = Field(20_000, ge=0, description="Texts whose scores a replica keeps, by digest; 0 keeps none.")
    precedents_per_brand: int = Field(1000, ge=1, description="Resolved messages of a brand kept as precedents.")
    precedent_nearness: float = Field(
        NEARNESS, ge=0, description="Least cosine at which a precedent decides for a message; above 1 none does."
    )
    retired_kept: int = Field(1, ge=0, description="Earlier revisions kept in memory per brand, for instant rollback.")
    adapter_poll_seconds: float = Field(1.0, gt=0, description="How often a replica looks at what should serve.")
    replica_patience_seconds: float = Field(30.0, gt=0, description="How long reads are retried while replicas die.")
    cache: Path = Field(default_factory=cache_dir, description="Folder of built encoders and fetched adapters.")
    base_model: str | None = Field(None, description="Hugging Face id or folder of another base encoder.")
    house_weights: Path | None = Field(None, description="Folder of the house weights; unset takes the ones shipped.")
    max_concurrency: int = Field(1024, ge=1, description="Unary calls served at once; the next is told to come back.")
