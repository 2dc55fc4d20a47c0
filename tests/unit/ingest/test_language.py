"""Languages of chat lines."""

import pytest

from apaise_ingest.adapters.language import UNDETERMINED, LanguageReader


@pytest.fixture(scope="module")
def reader() -> LanguageReader:
    return LanguageReader()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("vous livrez quand en belgique svp", "fr"),
        ("where is my order, it has been three weeks", "en"),
        ("hola, cuánto cuesta el envío a España?", "es"),
        ("wann kommt mein paket endlich an", "de"),
        ("quando arriva il mio ordine per favore", "it"),
        ("أين طلبي من فضلكم", "ar"),
        ("お問い合わせはどこですか", "ja"),
    ],
)
def test_a_sentence_is_recognised(reader: LanguageReader, text: str, language: str) -> None:
    ((code, confidence),) = reader.read([(text, "", "")])
    assert code == language
    assert 0.5 <= confidence <= 1


@pytest.mark.parametrize("text", ["😂😂😂", "ok", "!!!", "12345", "gg"])
def test_too_little_to_tell_is_undetermined(reader: LanguageReader, text: str) -> None:
    assert reader.read([(text, "fr", "fr")])[0][0] == UNDETERMINED


def test_the_platform_and_the_brand_settle_a_doubtful_line(reader: LanguageReader) -> None:
    doubtful = "trop bien ce live"
    alone, hinted, branded = reader.read([(doubtful, "", ""), (doubtful, "fr-FR", ""), (doubtful, "", "fr")])
    assert hinted[0] == branded[0] == "fr"
    assert hinted[1] > alone[1]


def test_a_wrong_hint_does_not_win_against_a_clear_sentence(reader: LanguageReader) -> None:
    ((code, _),) = reader.read([("wann kommt mein paket endlich an, ich warte schon seit drei wochen", "fr", "fr")])
    assert code == "de"
