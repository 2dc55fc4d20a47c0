"""The house's safety suite, read by whoever is in the net."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from apaise_train.worker.net import BrandNet, Cached
from mlops.house import House

REMOVE = "remove"
_known: dict[str, Suite] = {}


@dataclass
class Suite:
    """Its messages, cached, what must be so of each, where the house decides its labels, what the house reads right."""

    cached: Cached
    must: Sequence[Mapping[str, bool]]
    labels: Sequence[str]
    decisions: Mapping[str, float]
    _by_house: tuple[bool, ...] | None = None

    @classmethod
    def of(cls, net: BrandNet, house: House) -> Suite:
        """The suite of a house; a process that learns brand after brand takes it through the lower layers once."""
        key = f"{house.encoder_digest} {house.thresholds_revision}"
        if key not in _known:
            _known.clear()
            _known[key] = cls.read(net, house)
        return _known[key]

    def house_right(self, net: BrandNet) -> tuple[bool, ...]:
        """What `right` says of the house; the net is the house now."""
        if self._by_house is None:
            self._by_house = self.right(net, self.decisions[REMOVE])
        return self._by_house

    @classmethod
    def read(cls, net: BrandNet, house: House) -> Suite:
        """The suite that ships; labels the house does not have are left out of what must be so."""
        lines = files("mlops.house").joinpath("safety.jsonl").read_text("utf-8").splitlines()
        rows = [row for row in map(json.loads, lines) if REMOVE in row["must"]]
        must = [{label: yes for label, yes in row["must"].items() if label in house.labels} for row in rows]
        decisions = {label: house.thresholds[label].decision for label in house.labels}
        return cls(net.cache([row["text"] for row in rows]), must, house.labels, decisions)

    @property
    def goes(self) -> tuple[bool, ...]:
        """Which messages must be taken down."""
        return tuple(one[REMOVE] for one in self.must)

    def right(self, net: BrandNet, threshold: float) -> tuple[bool, ...]:
        """Which messages the net takes down or leaves as it must, at that threshold of `remove`.

        The other labels keep the house's heads and thresholds, and what protects people beside `remove` rests on the
        three that matter most: a message of which `threat`, `hate` or `self_harm` must hold is right only if it does.
        """
        scores = net.scores(self.cached).sigmoid().double().numpy().round(3)
        at = {label: place for place, label in enumerate(self.labels)}
        cuts = {**self.decisions, REMOVE: threshold}
        return tuple(
            all(
                (row[at[label]] >= cuts[label]) == yes
                for label, yes in one.items()
                if label == REMOVE or _danger(label, yes)
            )
            for row, one in zip(scores, self.must, strict=True)
        )


def _danger(label: str, must_hold: bool) -> bool:
    return must_hold and label in ("threat", "hate", "self_harm")
