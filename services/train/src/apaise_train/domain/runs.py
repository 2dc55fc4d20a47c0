"""Runs, revisions and the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from apaise_train.domain.gate import GateReport

GATE_ACTOR: Final = "apaise"


class RunState(StrEnum):
    """Where a run stands; the names are the contract's."""

    QUEUED = "QUEUED"
    TRAINING = "TRAINING"
    EVALUATING = "EVALUATING"
    PROMOTING = "PROMOTING"
    PROMOTED = "PROMOTED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CANARY = "CANARY"


# The runner works on these, and only these can still be stopped.
WORKING: Final = frozenset({RunState.QUEUED, RunState.TRAINING, RunState.EVALUATING})
ACTIVE: Final = WORKING | {RunState.PROMOTING}


@dataclass(frozen=True)
class Run:
    """One fine-tune of one brand. `version` grows with every move; `number` counts the brand's runs from 1."""

    brand: str
    id: str
    number: int
    version: int
    state: RunState
    progress: float
    n_corrections: int
    n_holdout: int
    manifest_digest: str
    attempts: int
    create_actor: str
    create_time: datetime
    end_time: datetime | None = None
    revision: str | None = None
    mlflow_experiment: str | None = None
    mlflow_run: str | None = None
    model_version: str | None = None
    gate: GateReport | None = None
    failure: str | None = None
    canary_standing: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not move again."""
        return self.state not in ACTIVE


@dataclass(frozen=True, slots=True)
class Revision:
    """A trained adapter: its files, where they are, and whether the gate let it through."""

    brand: str
    id: str
    run: str
    artifact_uri: str
    digest: str
    encoder: str
    model_version: str
    passed: bool


def revision_id(number: int, manifest_digest: str) -> str:
    """A revision's id: the brand's run it came from, and what it learnt from. No dots: PEFT forbids them."""
    return f"r{number}-{manifest_digest[:8]}"


class LedgerKind(StrEnum):
    """What a ledger entry records; the names are the contract's."""

    PROMOTED = "PROMOTED"
    REFUSED = "REFUSED"
    ROLLED_BACK = "ROLLED_BACK"
    CANARY = "CANARY"
    CANARY_ENDED = "CANARY_ENDED"


# What changes who is champion.
MOVES: Final = frozenset({LedgerKind.PROMOTED, LedgerKind.ROLLED_BACK})


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of a brand's ledger; `revision` and `previous` are None for the house model."""

    brand: str
    sequence: int
    kind: LedgerKind
    revision: str | None
    previous: str | None
    actor: str
    time: datetime
    reason: str
    run: str | None


@dataclass(frozen=True, slots=True)
class Wish:
    """What should serve a brand since a ledger entry, and which steps toward it are still owed."""

    brand: str
    revision: str | None
    entry: int
    alias_owed: bool
    serving_owed: bool


@dataclass(frozen=True, slots=True)
class Canary:
    """What reads a share of a brand's messages since a ledger entry; `revision` None: nothing any more.

    `owed`: serving has not been told yet.
    """

    brand: str
    revision: str | None
    run: str | None
    share: float
    entry: int
    start_time: datetime
    owed: bool


def champions(ledger: Sequence[LedgerEntry]) -> list[str | None]:
    """The brand's line of succession, the house first, the champion last, from its ledger in order.

    A promotion adds to the line; a rollback cuts it back to the revision it went to. So rolling back twice goes two
    champions back, and never forward to the one just given up.
    """
    line: list[str | None] = [None]
    for entry in ledger:
        if entry.kind is LedgerKind.PROMOTED:
            line.append(entry.revision)
        elif entry.kind is LedgerKind.ROLLED_BACK:
            if entry.revision in line:
                del line[len(line) - line[::-1].index(entry.revision) :]
            else:
                line.append(entry.revision)
    return line
