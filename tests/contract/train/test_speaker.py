"""What counts of each message speaks as a precedent, and nothing else, whatever is away meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apaise_kit.core.caller import acting_as, system_caller
from apaise_kit.core.errors import InvalidArgument, Unavailable
from apaise_train.adapters import store
from apaise_train.testing import example, examples

from .conftest import until

if TYPE_CHECKING:
    from .conftest import Mesh


async def speak(mesh: Mesh, *reviews: str, brand: str = "acme") -> None:
    """Wait until exactly these speak and nothing is owed."""

    async def settled() -> bool:
        async with mesh.db.read() as conn:
            caught_up = (await store.read_cursor(conn) or "0") == str(len(mesh.reviews.steps))
            owed = await store.owed_precedents(conn, 1)
        return caught_up and not owed

    await until(settled)
    assert set(mesh.precedents.speaking.get(brand, {})) == set(reviews)


async def test_a_review_speaks_until_it_is_taken_back(mesh: Mesh) -> None:
    mesh.reviews.add(example(1, True, "un texte"))
    mesh.reviews.add(example(2, False, brand="other"))
    await speak(mesh, "review-0001")
    assert mesh.precedents.speaking["acme"] == {"review-0001": "un texte"}
    mesh.reviews.undo("acme", "review-0001")
    await speak(mesh)
    await speak(mesh, "review-0002", brand="other")


async def test_the_last_word_on_a_message_replaces_the_first_and_gives_it_back(mesh: Mesh) -> None:
    mesh.reviews.add(example(1, True))
    mesh.reviews.add(example(2, False, message="message-0001"))
    await speak(mesh, "review-0002")
    mesh.reviews.undo("acme", "review-0002")
    await speak(mesh, "review-0001")


async def test_a_blanked_message_speaks_no_more(mesh: Mesh) -> None:
    mesh.reviews.add(example(1, True))
    await speak(mesh, "review-0001")
    mesh.reviews.blank("acme", "message-0001")
    await speak(mesh)


async def test_what_is_owed_waits_for_classify_and_survives_a_restart(mesh: Mesh) -> None:
    mesh.precedents.down = Unavailable("away")
    mesh.reviews.add(example(1, True))

    async def owed() -> bool:
        async with mesh.db.read() as conn:
            return len(await store.owed_precedents(conn, 9)) == 1

    await until(owed)
    await mesh.stop()
    mesh.precedents.down = None
    await mesh.start()
    await speak(mesh, "review-0001")


async def test_one_that_is_refused_holds_nobody_up(mesh: Mesh) -> None:
    mesh.precedents.refuses = {"review-0002": InvalidArgument("no")}
    mesh.precedents.down = Unavailable("away")
    for number in (1, 2, 3):
        mesh.reviews.add(example(number, True))
    await mesh.stop()
    mesh.precedents.down = None
    await mesh.start()
    await speak(mesh, "review-0001", "review-0003")


async def test_another_encoder_gets_everything_again_and_no_more_than_counts(mesh: Mesh) -> None:
    for each in examples(5):
        mesh.reviews.add(each)
    mesh.reviews.undo("acme", "review-0004")
    await speak(mesh, *(f"review-{number:04}" for number in range(4)))
    mesh.precedents.speaking.clear()
    with acting_as(system_caller("test")):
        await mesh.speaker.compare_encoders()
    assert not mesh.precedents.speaking, "the same encoder needs nothing"
    mesh.precedents.reads_with = "encoder-2"
    with acting_as(system_caller("test")):
        await mesh.speaker.compare_encoders()
    mesh.speaker.nudge()
    await speak(mesh, *(f"review-{number:04}" for number in range(4)))


async def test_of_a_brand_only_the_newest_are_sent_again(mesh: Mesh) -> None:

    async def compared() -> bool:
        async with mesh.db.read() as conn:
            return bool(await store.read_cursor(conn, store.ENCODER))

    await until(compared)
    await mesh.teach(examples(6))
    with acting_as(system_caller("test")):
        async with mesh.db.write() as tx:
            await store.owe_all_precedents(tx.conn, per_brand=2)
    mesh.speaker.nudge()
    await speak(mesh, "review-0004", "review-0005")
