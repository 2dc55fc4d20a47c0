"""The base encoder: built once into a cache, identified by a digest, loaded as an `Encoder`.

Nothing here imports torch at import time; `mlops.base.encoder` does.
"""

from mlops.base.build import BaseFolder, BaseModelError, build_base
from mlops.base.cache import cache_dir
from mlops.base.shape import ADAPTED_LAYERS, BRAND_RANK, adapted_modules

__all__ = [
    "ADAPTED_LAYERS",
    "BRAND_RANK",
    "BaseFolder",
    "BaseModelError",
    "adapted_modules",
    "build_base",
    "cache_dir",
]
