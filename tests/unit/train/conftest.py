"""One tiny house for all of train's unit tests."""

from __future__ import annotations

import pytest
import torch

from apaise_train.domain.jobs import HouseSource
from apaise_train.testing import tiny_house

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> HouseSource:
    return tiny_house(tmp_path_factory.mktemp("tiny"))
