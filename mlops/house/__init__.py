"""The house model: what Apaise knows before a brand has taught it anything."""

from mlops.house.build import (
    ForeignBaseError,
    House,
    HouseWeightsError,
    Threshold,
    build_house,
    export_house,
    load_heads,
    weights_dir,
)

__all__ = [
    "ForeignBaseError",
    "House",
    "HouseWeightsError",
    "Threshold",
    "build_house",
    "export_house",
    "load_heads",
    "weights_dir",
]
