"""One tiny house for all of classify's unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from apaise_classify.testing import TinyHouse, random_adapter, tiny_house
from mlops.house import House

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyHouse:
    return tiny_house(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def house(tiny: TinyHouse) -> House:
    return tiny.build()


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory, house: House) -> dict[str, Path]:
    """Three good adapters of brand `acme`: r1 and r2 of rank 8, r3 of rank 3 with a label more."""
    root = tmp_path_factory.mktemp("adapters")
    for n, (rank, more) in enumerate([(8, ()), (8, ()), (3, ("banter",))], start=1):
        labels = ("remove", "praise", "toxic", "complaint", *more)
        random_adapter(root / f"r{n}", house, "acme", f"r{n}", seed=n, rank=rank, labels=labels)
    return {path.name: path for path in root.iterdir()}
