"""Runs that start by themselves: those that are due, each brand once, the one that waited longest first."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from apaise_kit.core.caller import acting_as, system_caller
from apaise_train.adapters import store
from apaise_train.app import Train
from apaise_train.domain.policy import Policy
from apaise_train.promoter import Promoter
from apaise_train.runner import Collaborators, Runner
from apaise_train.scheduler import start_due
from apaise_train.testing import example, examples

from .test_runs import create, end_of

if TYPE_CHECKING:
    from .conftest import Mesh


def train(mesh: Mesh) -> Train:
    promoter = Promoter(mesh.db, mesh.registry, mesh.serving)
    others = Collaborators(mesh.trainer, mesh.registry, None, promoter)  # type: ignore[arg-type]
    return Train(mesh.db, Runner(mesh.db, others), promoter, mesh.goldens)


async def started(mesh: Mesh, policy: Policy) -> list[str]:
    with acting_as(system_caller("train")):
        return await start_due(train(mesh), policy)


async def test_brands_that_are_due_get_one_run_each(mesh: Mesh) -> None:
    mesh.trainer.hold = asyncio.Event()
    await mesh.teach([*examples(60), *examples(60, brand="beta"), *examples(45, brand="gamma")])
    await mesh.teach([example(n, True, brand="delta") for n in range(60)])  # never the other decision
    policy = Policy(reviews=50)
    assert await started(mesh, policy) == ["acme", "beta"]
    assert await started(mesh, policy) == [], "theirs is under way, and the next one has to wait its time"
    mesh.trainer.hold.set()


async def test_what_a_run_has_seen_is_not_new_any_more(mesh: Mesh) -> None:
    await mesh.teach(examples(60))
    await end_of(mesh, await create(mesh))
    async with mesh.db.read() as conn:
        (standing,) = await store.standings(conn)
    assert (standing.reviews, standing.new) == (60, 0)
    assert standing.last_run is not None
    late = standing.last_run + timedelta(minutes=1)
    await mesh.teach([example(100 + n, True, review_time=late) for n in range(3)])
    async with mesh.db.read() as conn:
        (standing,) = await store.standings(conn)
    assert (standing.reviews, standing.new) == (63, 3)


async def test_by_default_nothing_starts_by_itself(mesh: Mesh) -> None:
    await mesh.teach(examples(100))
    assert await started(mesh, Policy()) == []
