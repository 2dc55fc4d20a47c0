"""Settings common to every service, read once from APAISE_* environment variables and then passed around."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class KitSettings(BaseSettings):
    """Base of every service's settings. Frozen: nothing changes behind a running service's back."""

    model_config = SettingsConfigDict(
        env_prefix="APAISE_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    host: str = Field("127.0.0.1", description="Address the gRPC and metrics servers listen on.")
    port: int = Field(0, ge=0, le=65535, description="gRPC port; 0 takes a free one.")
    port_file: Path | None = Field(None, description="File in which the gRPC port actually bound is written.")
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the Prometheus endpoint; 0 takes a free one, unset turns it off."
    )
    dsn: SecretStr = Field(
        SecretStr("postgresql+psycopg://localhost/apaise"), description="PostgreSQL, as a SQLAlchemy URL."
    )
    database_pool: int = Field(8, ge=1, le=200, description="Connections to PostgreSQL kept by this process.")
    tokens_file: Path = Field(
        Path("tokens.yaml"),
        description="YAML file of accepted bearer tokens (hashes, actors, roles, brands); re-read when it changes.",
    )
    service_token: SecretStr | None = Field(None, description="Bearer token this service presents to the others.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe level logged.")
    max_message_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, description="Largest gRPC message accepted or sent, bytes."
    )
    max_concurrency: int = Field(64, ge=1, description="Unary calls served at once; the next is told to come back.")
    max_streams: int = Field(256, ge=1, description="Streams served at once; the next is told to come back.")
    default_deadline_seconds: float = Field(
        30.0, gt=0, description="Deadline given to a unary call that comes without one, seconds."
    )
    drain_seconds: float = Field(
        10.0, ge=0, description="Time given to calls in flight when the service stops, seconds."
    )
    otlp_endpoint: str | None = Field(
        None, description="OTLP gRPC collector (http://host:port) for traces; unset exports none."
    )
