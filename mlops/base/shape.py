"""What of the encoder a brand may adapt: one shared constant, so that one engine serves every brand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

BRAND_RANK = 8
ADAPTED_LAYERS = 4

_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


def layer_of(module_name: str) -> int | None:
    """Index of the transformer layer a module belongs to, None outside the layers."""
    found = _LAYER.search(module_name)
    return int(found[1]) if found else None


def linear_modules(model: nn.Module, last_layers: int) -> list[str]:
    """Full names of every linear module in the last `last_layers` layers, in model order."""
    from torch.nn import Linear

    linears = [(name, layer_of(name)) for name, module in model.named_modules() if isinstance(module, Linear)]
    depth = 1 + max((layer for _, layer in linears if layer is not None), default=-1)
    return [name for name, layer in linears if layer is not None and layer >= depth - last_layers]


def adapted_modules(model: nn.Module) -> list[str]:
    """PEFT `target_modules` of a brand adapter: every linear of the last `ADAPTED_LAYERS` layers."""
    return linear_modules(model, ADAPTED_LAYERS)
