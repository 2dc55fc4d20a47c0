"""A linear map as this machine computes it best: oneDNN's packed weights and fused ends on a CPU, plain elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


class Product:
    """x W^T + b, with a residual added or an activation applied on the way out.

    On a CPU in bfloat16 the weights are laid out once as oneDNN wants them; a plain product does it in every call,
    which for a lone message takes longer than the arithmetic. Torch's compiler calls the same operators.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """Take over a weight [out, in] and a bias [out]."""
        self.bias = bias
        self._packed = weight.device.type == "cpu" and weight.dtype is torch.bfloat16 and _packs_bfloat16()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight) if self._packed else weight

    def __call__(self, x: Tensor) -> Tensor:
        """[T, in] -> [T, out]."""
        if not self._packed:
            return functional.linear(x, self._weight, self.bias)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self.bias, "none", [], "")
        return y

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """[T, in] and [T, out] -> [T, out]."""
        if not self._packed:
            return functional.linear(x, self._weight, self.bias) + residual
        y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, self._weight, self.bias, "add")
        return y

    def gelu(self, x: Tensor) -> Tensor:
        """[T, in] -> [T, out], through the exact GELU."""
        if not self._packed:
            return functional.gelu(functional.linear(x, self._weight, self.bias))
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self.bias, "gelu", [], "none")
        return y


def _packs_bfloat16() -> bool:
    """Whether oneDNN has bfloat16 on this CPU; elsewhere it is emulated, and only without its layouts."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
