"""One tiny house for the swap tests."""

from __future__ import annotations

import pytest
import torch

from apaise_classify.testing import TinyHouse, tiny_house
from mlops.house import House

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyHouse:
    return tiny_house(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def house(tiny: TinyHouse) -> House:
    return tiny.build()
