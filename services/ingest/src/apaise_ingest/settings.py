"""What ingest can be told from outside."""

from pydantic import Field, SecretStr

from apaise_kit.runtime.settings import KitSettings


class IngestSettings(KitSettings):
    """Settings of the ingest service."""

    classify_address: str = Field("127.0.0.1:7102", description="Where ClassifyService listens, host:port.")
    route_address: str = Field("127.0.0.1:7103", description="Where RouteService listens, host:port.")
    author_secret: SecretStr = Field(
        description="Key of the authors' hashes, 16 characters or more. Changing it makes every author a new person.",
        min_length=16,
    )
    max_pending: int = Field(
        2048,
        ge=64,
        description="Messages accepted and not yet decided, per lane, beyond which more are told to come back.",
    )
    pump_batch: int = Field(64, ge=1, le=500, description="Messages driven through classify and route in one go.")
    pump_workers: int = Field(2, ge=1, le=16, description="Batches of live messages under way at once.")
