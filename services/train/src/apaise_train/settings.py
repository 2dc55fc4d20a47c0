"""What train can be told from outside."""

from pathlib import Path

from pydantic import Field, SecretStr

from apaise_kit.runtime.settings import KitSettings


class TrainSettings(KitSettings):
    """Settings of the train service."""

    route_address: str = Field("127.0.0.1:7103", description="Where RouteService listens, host:port.")
    classify_address: str = Field("127.0.0.1:7102", description="Where ClassifyService listens, host:port.")
    ray_address: str = Field("", description="Ray to train on; empty starts one in this machine.")
    mlflow_uri: SecretStr = Field(
        SecretStr("sqlite:///.apaise/mlflow.db"),
        description="MLflow's tracking and registry store: postgresql+psycopg://…, sqlite:///… or http(s)://…",
    )
    mlflow_ui: str = Field("", description="Address people reach the MLflow page at; empty gives no links.")
    artifacts: str = Field(
        ".apaise/artifacts",
        description="Folder or fsspec URI where adapters (and MLflow's artefacts, on a database store) are kept.",
    )
    cache: Path | None = Field(None, description="Where built encoders are cached, on the machines that train.")
    base_model: str | None = Field(None, description="Base encoder, a Hugging Face id or folder; unset takes ours.")
    house_weights: Path | None = Field(None, description="Folder of house weights; unset takes those shipped.")
    golden_reviewers: tuple[str, ...] = Field(
        (), description="People (actors of tokens) whose reviews are taken as right when others are weighed."
    )
    auto_train_reviews: int = Field(
        0, ge=0, description="New reviews of a brand that start a run by themselves; 0 leaves it to people."
    )
    auto_train_days: float = Field(7.0, gt=0, description="Days after which any 20 new reviews start a run.")
    auto_train_gap_hours: float = Field(6.0, ge=0, description="Least hours between two runs a brand starts by itself.")
    train_runs: int = Field(1, ge=1, le=64, description="Training runs under way at once.")
    train_cpus: float = Field(1.0, ge=0, description="Ray CPUs one training run waits for.")
    canary_share: float = Field(
        0.0, ge=0, le=0.5, description="Share of a brand's messages a new revision reads on trial; 0 promotes at once."
    )
    train_threads: int = Field(1, ge=1, description="Threads one training run computes with.")
    train_timeout_seconds: float = Field(1800, gt=0, description="Longest time one training run may take, seconds.")
