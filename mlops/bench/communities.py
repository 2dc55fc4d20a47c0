"""Stand-in communities, to measure the offline door with: people and rules that decide differently about texts.

    APAISE_DATA=DIR python -m mlops.bench.communities --corrections 300 --json

builds `FOLDER/<brand>/{corrections,holdout}.jsonl`, lets `apaise_train.offline --many` learn each, and prints how many
beat the house, by how much, and whether losers were refused. They are development data: the house learnt from some of
the same texts, so its own figures on them flatter it, and gains on them are smaller than they would be elsewhere.

Judges of ConvAbuse and MultiPICo and brands of HINT3 are what stands for communities; the others (one video's comments,
one rule about tone) are rules a community might have, over texts of one kind. No set kept for examinations is read.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlops.house.rows import clean, folded, stable_number

Decision = tuple[str, bool]
HOLDOUT: Final = 300
MIN_HOLDOUT: Final = 100
LOSS: Final = 0.005
"""A candidate this much below the house on the holdout is a loser the gate should have refused."""

CALM: Final = frozenset({"anger", "annoyance", "disgust", "disapproval"})
SOBER: Final = frozenset({"amusement", "joy", "excitement", "love"})
NO_QUESTIONS: Final = frozenset({"curiosity", "confusion", "surprise"})
ORDERS: Final = frozenset(
    {"ORDER_STATUS", "RESUME_DELIVERY", "DELAY_IN_PARCEL", "MODIFY_ADDRESS", "REFUNDS_RETURNS_REPLACEMENTS"}
)
SHOPPING: Final = frozenset({"MATTRESS_COST", "EMI", "PRODUCT_VARIANTS", "WHAT_SIZE_TO_ORDER", "COD", "LEAD_GEN"})
WALLET: Final = frozenset(
    {
        "OFFERS_AND_REFERRALS",
        "CHECK_DEPOSIT_STATUS",
        "WITHDRAWAL_STATUS",
        "WITHDRAWAL_INTRO",
        "WINNINGS",
        "CHECK_WALLET_BALANCE",
    }
)


@dataclass(frozen=True)
class Community:
    """Who decides about which texts; `read` gives every decision there is, in any order."""

    name: str
    read: Callable[[Path], Iterator[Decision]]


def _records(data: Path, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def convabuse(judge: str) -> Community:
    """One of the named judges: what they call abuse toward a bot goes."""

    def read(data: Path) -> Iterator[Decision]:
        for row in _records(data, "convabuse"):
            if judge in row["annotations"]:
                yield str(json.loads(row["text"]).get("user") or ""), float(row["annotations"][judge]) < 0

    return Community(f"convabuse-{judge.lower()}", read)


def multipico(panel: int) -> Community:
    """One of two panels of English judges: no judge has read enough alone, so one of the panel decides each text."""

    def read(data: Path) -> Iterator[Decision]:
        for row in _records(data, "multipico_irony_dev"):
            votes = row["annotations"]
            mine = sorted(judge for judge in votes if int(judge.removeprefix("Ann")) % 2 == panel)
            if row["lang"] == "en" and mine:
                yield row["text"]["reply"], votes[mine[stable_number(row["id"]) % len(mine)]] == "1"

    return Community(f"multipico-panel-{panel}", read)


def ruled(name: str, source: str, rule: Callable[[Mapping[str, Any]], bool | None]) -> Community:
    """Texts of one set under one rule, which answers None about what it does not decide."""

    def read(data: Path) -> Iterator[Decision]:
        for row in _records(data, source):
            if (decision := rule(row)) is not None:
                yield row["text"], decision

    return Community(name, read)


def hint3(brand: str, intents: frozenset[str]) -> Community:
    """A brand whose channel is not for these intents."""
    return ruled(f"hint3-{brand}", f"hint3_{brand}_train", lambda row: row["intent"] in intents)


def video(name: str) -> Community:
    """The comments under one video, without advertising."""
    return ruled(
        f"video-{name[10:].lower()}", "youtube_spam", lambda row: row["spam"] == 1 if row["video"] == name else None
    )


def tone(name: str, unwanted: frozenset[str]) -> Community:
    """Forum comments where a tone is unwanted; a comment with it and another is somebody's call, and not taken."""

    def rule(row: Mapping[str, Any]) -> bool | None:
        has = set(row["labels"]) & unwanted
        return bool(has) if not has or set(row["labels"]) <= unwanted else None

    return ruled(f"tone-{name}", "goemotions_en_train", rule)


COMMUNITIES: Final = (
    *map(convabuse, ("Ann1", "Ann4", "Ann5", "Ann7")),
    multipico(0),
    multipico(1),
    hint3("curekart", ORDERS),
    hint3("powerplay11", WALLET),
    hint3("sofmattress", SHOPPING),
    video("Youtube03-LMFAO"),
    video("Youtube04-Eminem"),
    tone("calm", CALM),
    tone("sober", SOBER),
    tone("no-questions", NO_QUESTIONS),
    ruled("talk-pages", "context_toxicity_wikitalk", lambda row: bool(row["toxic"])),
    ruled("no-hate", "measuring_hate_speech_en", lambda row: row["hate"] == 1),
    ruled("no-sexism", "edos_sexism", lambda row: bool(row["sexist"])),
    ruled("no-crude-words", "davidson_tweets", lambda row: row["label"] == "offensive"),
    ruled("no-negativity", "sentiment_tweets_en_train", lambda row: row["label"] == "negative"),
    ruled("no-sarcasm", "isarcasmeval_en", lambda row: bool(row["labels"]["sarcastic"])),
)


def decided(community: Community, data: Path) -> list[Decision]:
    """Its decisions, each text once, in an order that depends on the texts alone; a quarter to a half go."""
    seen: dict[str, Decision] = {}
    for text, remove in community.read(data):
        text = clean(text)
        if len(key := folded(text).strip()) >= 2:
            seen.setdefault(key, (text, remove))
    shuffled = _shuffled(seen.values(), community.name)
    gone, left = ([row for row in shuffled if row[1] is side] for side in (True, False))
    # Rare decisions would leave a holdout of a dozen, and frequent ones are not what moderators are asked about.
    kept = gone[: len(left)] + left[: 3 * len(gone)]
    return _shuffled(kept, f"{community.name}, kept")


def _shuffled(rows: Iterable[Decision], salt: str) -> list[Decision]:
    return sorted(rows, key=lambda row: stable_number(f"{salt}/{row[0]}"))


def build(folder: Path, data: Path, corrections: int) -> list[str]:
    """Write the files of every community that has `corrections` and a holdout of 100 or more; their names."""
    names = []
    for community in COMMUNITIES:
        rows = decided(community, data)
        # The holdout comes first: it is the same whatever the number of corrections.
        held = min(HOLDOUT, max(MIN_HOLDOUT, len(rows) - corrections))
        if len(rows) < held + corrections:
            continue
        home = folder / community.name
        home.mkdir(parents=True, exist_ok=True)
        _write(home / "holdout.jsonl", rows[:held])
        _write(home / "corrections.jsonl", rows[held : held + corrections])
        names.append(community.name)
    return names


def _write(path: Path, rows: Iterable[Decision]) -> None:
    path.write_text("".join(json.dumps({"text": text, "remove": remove}) + "\n" for text, remove in rows))


def learnt(folder: Path, out: Path) -> list[dict[str, Any]]:
    """What the offline door prints of every community in `folder`."""
    command = [sys.executable, "-m", "apaise_train.offline", "--many", str(folder), "--out", str(out)]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def by_others(folder: Path, documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The documents, each with `anothers_auc`: the AUC on its holdout of the next trained brand's adapter.

    An adapter that is good for everybody has learnt the task, not the brand.
    """
    from mlops.eval.figures import auc
    from mlops.house import build_house
    from mlops.house.reader import adapter_reader

    house = build_house()
    trained = [one for one in documents if one["candidate"]]
    after = dict(zip((one["brand"] for one in trained), [*trained[1:], *trained[:1]], strict=True))
    found = []
    for one in documents:
        value = None
        if len(trained) > 1 and one["candidate"]:
            rows = [json.loads(line) for line in (folder / one["brand"] / "holdout.jsonl").read_text().splitlines()]
            reader = adapter_reader(house, Path(after[one["brand"]]["artefact"]))
            scores = reader.probabilities([row["text"] for row in rows])[:, reader.labels.index("remove")]
            value = auc(scores, np.array([row["remove"] for row in rows]))
        found.append({**one, "anothers_auc": value})
    return found


def summary(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Wins over the house, mean gain, mean margin over the rival, and the losers: all, and those promoted."""
    trained = [one for one in documents if one["candidate"]]
    gains = [one["gain_auc"] for one in trained]
    losers = [one for one in trained if one["gain_auc"] < -LOSS]
    return {
        "communities": len(documents),
        "trained": len(trained),
        "better_than_house": sum(gain > 0 for gain in gains),
        "mean_gain_auc": round(statistics.mean(gains), 4) if gains else None,
        "mean_margin_over_rival": _mean(one["candidate"]["auc"] - one["rival_auc"] for one in trained),
        "mean_margin_over_anothers": _mean(
            one["candidate"]["auc"] - one["anothers_auc"] for one in trained if one.get("anothers_auc") is not None
        ),
        "worse_than_anothers": sum(one["candidate"]["auc"] < (one.get("anothers_auc") or 0.0) for one in trained),
        "promoted": sum(one["gate"]["promoted"] for one in trained),
        "losers": len(losers),
        "losers_promoted": sum(one["gate"]["promoted"] for one in losers),
        "winners_refused": sum(one["gain_auc"] > LOSS and not one["gate"]["promoted"] for one in trained),
        "seconds": _mean(one["seconds"] for one in documents),
    }


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(statistics.mean(found), 4) if found else None


def table(documents: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, one community a row."""
    lines = [
        "| community | house | candidate | gain | TF-IDF | another's | gate | seconds |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    for one in documents:
        verdict = "promoted" if one["gate"]["promoted"] else "refused"
        candidate = one["candidate"] or {"auc": None}
        figures = [one["house"]["auc"], candidate["auc"], one["gain_auc"], one["rival_auc"], one.get("anothers_auc")]
        shown = " | ".join("-" if value is None else f"{value:.3f}" for value in figures)
        lines.append(f"| {one['brand']} | {shown} | {verdict} | {one['seconds']:.0f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, learn, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m mlops.bench.communities", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("APAISE_DATA"), help="folder of the licensed sets")
    parser.add_argument("--folder", type=Path, default=Path(".apaise/communities"))
    parser.add_argument("--corrections", type=int, default=300)
    parser.add_argument("--build", action="store_true", help="write the files and stop")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error("give --data or APAISE_DATA")
    folder = options.folder / str(options.corrections)
    build(folder / "in", Path(options.data), options.corrections)
    if options.build:
        return 0
    documents = by_others(folder / "in", learnt(folder / "in", folder / "out"))
    found = {"corrections": options.corrections, **summary(documents)}
    whole = json.dumps({**found, "brands": documents})
    sys.stdout.write(f"{whole}\n" if options.json else f"{table(documents)}\n\n{json.dumps(found)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
