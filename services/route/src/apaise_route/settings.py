"""What route can be told from outside."""

from pathlib import Path

from pydantic import Field

from apaise_kit.runtime.settings import KitSettings


class RouteSettings(KitSettings):
    """Settings of the route service."""

    classify_address: str = Field(
        "127.0.0.1:7102", description="Where ClassifyService listens, host:port; preflight asks it."
    )
    hold_check_seconds: float = Field(1.0, gt=0, description="How often holds that have ended are looked for, seconds.")
    queue_metrics_seconds: float = Field(10.0, gt=0, description="How often the review queue is measured, seconds.")
    retention_check_seconds: float = Field(
        3600.0, gt=0, description="How often events older than the streams' 30 days are forgotten, seconds."
    )
    second_look_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of resolved audit items that a second person is asked to look at, without the first answer.",
    )
    desks_file: Path = Field(
        Path("desks.yaml"),
        description="YAML file of the brands' desks: where their cases go, with which secret; re-read when it changes.",
    )
    webhook_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="HTTP port desks answer at (POST /webhooks/{brand}); 0 takes a free one, unset turns it off.",
    )
    golden_share: float = Field(
        0.05,
        ge=0,
        le=0.2,
        description="Share of what a reviewer resolves that is golden, where leads put such items in; 0 gives none.",
    )
    case_check_seconds: float = Field(
        1.0, gt=0, description="How often late cases and webhooks owed to desks are looked for, seconds."
    )
