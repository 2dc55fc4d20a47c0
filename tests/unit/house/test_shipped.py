"""The weights that ship: on the right base, small, better than the yardstick, and sane on plain cases."""

from __future__ import annotations

import json

import pytest
import torch

from mlops.base.build import WHEEL_READER
from mlops.base.cache import combined_digest, file_digest
from mlops.base.encoder import highest, load_encoder
from mlops.base.wheel import wheel_file
from mlops.house import build_house, load_heads, weights_dir
from mlops.house.build import read_record

# Each line of a pair has the label more than the other.
PAIRS = [
    ("insult", "t'es qu'un pauvre abruti", "t'es un vrai champion"),
    ("toxic", "You are a worthless idiot, shut up", "You are a wonderful host, thank you"),
    ("remove", "votre animatrice est une grosse truie", "votre friteuse est une grosse merde"),
    ("hate", "les musulmans sont tous des parasites", "les musulmans du quartier fêtent l'Aïd"),
    ("hate", "gay people are disgusting, they should disappear", "gay people run my favourite bakery"),
    ("threat", "je vais venir te casser les dents", "je vais venir te voir avec des fleurs"),
    ("profanity", "putain quelle soirée de dingue", "oh là là quelle soirée de dingue"),
    ("complaint", "le four est arrivé cassé, deuxième fois", "le four est arrivé, il est superbe"),
    ("question", "vous livrez en Corse ?", "vous livrez vite, bravo"),
    ("praise", "Great quality, I recommend this shop", "Poor quality, I avoid this shop"),
    ("spam", "gagnez 500 euros par jour, cliquez sur mon profil", "j'ai payé 500 euros, j'aime mon nouveau profil"),
    ("gratitude", "merci infiniment pour votre aide", "aucune aide de votre part"),
]


def test_they_fit_the_wheels_encoder_and_stay_small() -> None:
    shipped = weights_dir()
    record = read_record(shipped)
    assert record["base_digest"] == combined_digest([WHEEL_READER, file_digest(wheel_file())])
    assert sum(path.stat().st_size for path in shipped.iterdir()) <= 8_000_000
    weight, bias = load_heads(shipped / "heads.safetensors")
    assert weight.shape == (len(record["labels"]), 384)
    assert bias.shape == (len(record["labels"]),)
    assert set(record["thresholds"]) == set(record["labels"])
    assert all(
        0.0 <= pair["no"] <= pair["yes"] <= 1.0 and 0.0 < pair["decision"] < 1.0
        for pair in record["thresholds"].values()
    )


def test_they_hold_the_promised_labels_and_beat_their_rivals() -> None:
    promised = {
        *("toxic", "hate", "insult", "profanity", "threat", "sexual", "spam", "sarcasm", "complaint", "question"),
        *("praise", "remove", "anger", "frustration", "distress", "worry", "joy", "gratitude", "amusement"),
    }
    assert promised <= set(read_record(weights_dir())["labels"])
    means = json.loads((weights_dir() / "figures.json").read_text())["means"]
    for rival in ("first model", "TF-IDF", "word list"):
        assert means["house"]["auc"] > means[rival]["auc"]
    # Not the first model's macro-F1: thresholds placed for balanced accuracy find more and are wrong more often.
    for rival in ("TF-IDF", "word list"):
        assert means["house"]["macro_f1"] > means[rival]["macro_f1"]


@pytest.fixture(scope="module")
def probabilities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Probability per text and label, from the merged encoder as a replica serves it."""
    house = build_house(tmp_path_factory.mktemp("cache"))
    encoder = load_encoder(house.path)
    weight, bias = load_heads(house.heads)
    texts = sorted({text for _, *pair in PAIRS for text in pair})
    windows = encoder.windows(texts)
    scores = torch.sigmoid(highest(encoder.pooled(windows.ids) @ weight.T + bias, windows.owners, len(texts)))
    return {text: dict(zip(house.labels, row, strict=True)) for text, row in zip(texts, scores.tolist(), strict=True)}


@pytest.mark.parametrize(("label", "has", "has_not"), PAIRS)
def test_they_tell_plain_cases_apart(
    probabilities: dict[str, dict[str, float]], label: str, has: str, has_not: str
) -> None:
    assert probabilities[has][label] > probabilities[has_not][label] + 0.1
