"""A product is the linear map it is made of, whatever the machine makes of it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from apaise_classify.serving.product import Product


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 6e-2)])
@pytest.mark.parametrize("rows", [1, 7, 64])
def test_it_computes_what_torch_does_in_float32(dtype: torch.dtype, tolerance: float, rows: int) -> None:
    chance = torch.Generator().manual_seed(rows)
    weight, bias = torch.randn(48, 32, generator=chance) / 6, torch.randn(48, generator=chance)
    x, residual = torch.randn(rows, 32, generator=chance), torch.randn(rows, 48, generator=chance)
    product = Product(weight.to(dtype), bias.to(dtype))
    given = x.to(dtype), residual.to(dtype)
    plain = functional.linear(x, weight, bias)
    for found, expected in (
        (product(given[0]), plain),
        (product.plus(*given), plain + residual),
        (product.gelu(given[0]), functional.gelu(plain)),
    ):
        assert found.dtype is dtype
        torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=tolerance)
