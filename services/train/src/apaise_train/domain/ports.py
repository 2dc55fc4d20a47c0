"""What the use cases need from outside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from apaise_train.domain.corrections import Correction
from apaise_train.domain.examples import Example, Manifest
from apaise_train.domain.health import Health
from apaise_train.domain.jobs import Job, Outcome, Update
from apaise_train.domain.runs import Revision, Run
from apaise_train.domain.trust import Tally


class ReviewKind(StrEnum):
    """What a followed review means to train."""

    EXAMPLE = "EXAMPLE"
    UNDO = "UNDO"
    NOTHING = "NOTHING"


@dataclass(frozen=True, slots=True)
class Followed:
    """One step of the stream of reviews: the cursor after it, and what it brought.

    `undoes` is the review taken back, for UNDO; `gone` names a message (brand, id) whose text was blanked;
    `correction` is the record of the review itself, whether or not it teaches.
    """

    cursor: str
    kind: ReviewKind = ReviewKind.NOTHING
    example: Example | None = None
    undoes: tuple[str, str] | None = None
    gone: tuple[str, str] | None = None
    correction: Correction | None = None


class Reviews(Protocol):
    """The stream of resolved reviews."""

    def follow(self, cursor: str) -> AsyncGenerator[Followed, None]:
        """Every review after the cursor ("" for the oldest kept), for ever.

        Raises:
            ApaiseError: the stream broke; follow again from the last cursor. CURSOR_EXPIRED: from "".
        """
        ...


class Trainer(Protocol):
    """Something that can run a training job."""

    def train(self, job: Job) -> AsyncGenerator[Update, None]:
        """Run a job; the last update is an `Outcome` or `Broken`. Closing the iterator stops the job.

        Raises:
            Unavailable: the machines that train do not answer; the same job may be sent again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tracked:
    """Where a run is in MLflow."""

    experiment: str
    run: str


class Registry(Protocol):
    """Experiments, model versions and aliases. Never given a message's text.

    Every method raises `Unavailable` when it does not answer.
    """

    async def begin(self, run: Run) -> Tracked:
        """Open a tracked run; an earlier attempt of the same run is closed as failed."""
        ...

    async def publish(self, run: Run, tracked: Tracked, outcome: Outcome, card: str, manifest: Manifest) -> str:
        """Log everything, register a version, make it the `candidate`; gives the version.

        The manifest leads from the revision back to the reviews it was learnt from.
        """
        ...

    async def finish(self, tracked: Tracked, status: str, tags: Mapping[str, str]) -> None:
        """Close a tracked run: FINISHED, FAILED or KILLED."""
        ...

    async def set_champion(self, brand: str, version: str | None) -> None:
        """Point the brand's `champion` at a version, or at none for the house model."""
        ...


class Serving(Protocol):
    """What reads messages with adapters."""

    async def serve(self, brand: str, revision: Revision | None, request_id: str) -> None:
        """Have a brand read with a revision, or with the house model; done when it is so.

        Raises:
            FailedPrecondition: it was refused (ADAPTER_…); what served before still does.
            Unavailable: no answer; ask again.
        """
        ...


class Goldens(Protocol):
    """What is known of reviewers from golden items."""

    async def of(self, brand: str) -> Mapping[str, Tally]:
        """How a brand's reviewers answered them in the last three months, by reviewer.

        Raises:
            ApaiseError: refused, or (Unavailable) no answer.
        """
        ...


class Precedents(Protocol):
    """Where resolved messages decide their near-duplicates at once, long before a model has learnt from them."""

    async def put(self, brand: str, examples: Sequence[Example]) -> str:
        """Have these speak; gives the digest of the encoder they are compared with.

        Raises:
            ApaiseError: refused, or (Unavailable) no answer.
        """
        ...

    async def take_back(self, brand: str, reviews: Sequence[str]) -> None:
        """Have these speak no more; those that did not are passed over.

        Raises:
            ApaiseError: as `put`.
        """
        ...

    async def encoder(self) -> str:
        """Digest of the encoder that reads now.

        Raises:
            ApaiseError: as `put`.
        """
        ...


class Trying(Protocol):
    """What has a revision read a share of a brand's messages."""

    async def trial(self, brand: str, revision: Revision | None, share: float, request_id: str) -> None:
        """Have a revision read that share, or none; done when it is so.

        Raises:
            FailedPrecondition: it was refused (ADAPTER_…).
            Unavailable: no answer; ask again.
        """
        ...

    async def health(self, brand: str) -> Health | None:
        """How the brand's canary fares beside what reads the rest; None without one.

        Raises:
            Unavailable: no answer; ask again.
        """
        ...


class Shelf(Protocol):
    """Where adapters' files are kept for serving to fetch."""

    async def put(self, revision: str, brand: str, digest: str, files: Mapping[str, bytes]) -> str:
        """Keep a folder of files, complete or not at all; gives its URI. The same again changes nothing."""
        ...

    async def get(self, uri: str) -> dict[str, bytes]:
        """The files of a folder, by name.

        Raises:
            Unavailable: it cannot be read now.
        """
        ...
