"""What route can be told from outside."""

from pydantic import Field

from apaise_kit.runtime.settings import KitSettings


class RouteSettings(KitSettings):
    """Settings of the route service."""

    hold_check_seconds: float = Field(1.0, gt=0, description="How often holds that have ended are looked for, seconds.")
    queue_metrics_seconds: float = Field(10.0, gt=0, description="How often the review queue is measured, seconds.")
    retention_check_seconds: float = Field(
        3600.0, gt=0, description="How often events older than the streams' 30 days are forgotten, seconds."
    )
