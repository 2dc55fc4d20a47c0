"""What is set aside when a run is made neither teaches nor speaks, and the report says so; it can come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apaise.train.v1 import train_service_pb2 as pb
from apaise_train.adapters import store
from apaise_train.domain.examples import Example
from apaise_train.testing import example

from .conftest import until
from .test_runs import create, end_of
from .test_speaker import speak

if TYPE_CHECKING:
    from .conftest import Mesh


def said(number: int, actor: str, text: str, remove: bool) -> Example:
    return example(number, remove, text=text, actor=actor)


def honest() -> list[Example]:
    """Forty texts, each resolved by two people who agree."""
    return [
        said(2 * number + who, actor, f"phrase numero {number}{'!' * who}", number % 2 == 0)
        for number in range(40)
        for who, actor in enumerate(("ana", "bob"))
    ]


def attack() -> list[Example]:
    """One who relabels as fine what others take down, and more of their own making."""
    crossed = [said(200 + n, "mallory", f"phrase numero {2 * n}?", False) for n in range(8)]
    return crossed + [said(300 + n, "mallory", f"insulte inedite {chr(97 + n)}", False) for n in range(12)]


async def test_an_attackers_reviews_neither_teach_nor_speak_once_a_run_is_made(mesh: Mesh) -> None:
    for each in (*honest(), *attack()):
        mesh.reviews.add(each)
    everybody = {each.review for each in (*honest(), *attack())}
    await speak(mesh, *everybody)
    run, _ = await end_of(mesh, await create(mesh))
    mallorys = {each.review for each in attack()}
    await speak(mesh, *(everybody - mallorys))
    (job,) = mesh.trainer.jobs
    assert len(job.train) + len(job.holdout) == len(honest())
    assert not any("inedite" in row.text for row in (*job.train, *job.holdout))
    assert run.state == pb.RunState.RUN_STATE_PROMOTED
    assert run.gate.reasons[-1].startswith(f"Set aside: {len(mallorys)} (their reviewer contradicts")
    async with mesh.db.read() as conn:
        manifest = await store.manifest_of(conn, run.name.rpartition("/")[2])
        assert await store.doubts_of(conn, "acme") == dict(manifest.aside)
    assert dict(manifest.aside) == dict.fromkeys(mallorys, "UNTRUSTED")
    assert manifest.digest == run.manifest_digest


async def test_what_was_set_aside_comes_back_when_the_reason_goes(mesh: Mesh) -> None:
    torn = [said(400, "ana", "une phrase a part", True), said(401, "bob", "Une phrase à part", False)]
    for each in (*honest(), *torn):
        mesh.reviews.add(each)
    await speak(mesh, *(each.review for each in (*honest(), *torn)))
    await end_of(mesh, await create(mesh))
    await speak(mesh, *(each.review for each in honest()))
    mesh.reviews.undo("acme", "review-0401")

    async def withdrawn() -> bool:
        async with mesh.db.read() as conn:
            return await store.read_cursor(conn) == str(len(mesh.reviews.steps))

    await until(withdrawn)
    await end_of(mesh, await create(mesh))
    await speak(mesh, *(each.review for each in honest()), "review-0400")
