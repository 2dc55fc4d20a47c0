"""One loader per licensed set: which heads each teaches, and what it may not be trusted for.

A set labels only its own heads; everything else stays unknown. `BENIGN` marks texts whose kind or tone makes abuse
implausible (thanks, delight, a customer's request); a lexicon sieves them first.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from apaise_kit.core.labels import LABELS
from mlops.base.normalize import normalize
from mlops.house.lexicon import LANGUAGES, Lexicon, load_lexicon
from mlops.house.rows import Row, clean, distinct

Known = dict[str, float]
Loader = Callable[[Path], Iterator[Row]]

ABUSE = ("toxic", "hate", "insult", "harassment", "threat", "sexual", "remove")
BENIGN: Known = dict.fromkeys(ABUSE, 0.0)
# Delight in crude words is crude, not abuse: without these rows profanity would be learnt as toxicity.
UNAIMED: Known = {"toxic": 0.0, "insult": 0.0, "remove": 0.0}
NOT_TRADE: Known = {"spam": 0.0, "scam": 0.0, "care_request": 0.0, "buying_intent": 0.0, "bug_report": 0.0}
HATEFUL: Known = {"hate": 1.0, "toxic": 1.0, "remove": 1.0, "praise": 0.0, "gratitude": 0.0, "spam": 0.0}
EMOTIONS = ("anger", "frustration", "distress", "worry", "joy", "gratitude", "amusement")


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


def records(data: Path, name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(data / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def measuring_hate(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "measuring_hate_speech_en")):
        # Its non-hateful rows may still insult: only `hate` is known of them.
        known = HATEFUL if item["hate"] else {"hate": 0.0}
        yield Row(clean(item["text"]), "en", "measuring_hate", known, str(number))


def davidson(data: Path) -> Iterator[Row]:
    meanings: dict[str, Known] = {
        "hate": {"hate": 1.0, "toxic": 1.0, "remove": 1.0},
        # "Offensive" there is mostly crude words in African-American English: profanity, and nothing about abuse.
        "offensive": {"profanity": 1.0, "hate": 0.0},
        "neither": {"hate": 0.0, "toxic": 0.0, "insult": 0.0, "threat": 0.0, "remove": 0.0},
    }
    for number, item in enumerate(records(data, "davidson_tweets")):
        yield Row(clean(item["text"]), "en", "davidson", meanings[item["label"]], str(number), weight=0.5)


def edos(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "edos_sexism")):
        kind = item["category"][:1]
        if kind not in "12":  # "not sexist" holds other slurs; animosity and prejudiced discussion are too arguable
            continue
        known = HATEFUL | {"target_group": 1.0} | ({"threat": 1.0} if kind == "1" else {})
        yield Row(clean(item["text"]), "en", "edos", known, str(number), weight=0.7)


def mlma(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "mlma")):
        said = set(item["sentiment"])
        if said == {"normal"}:
            known: Known = {"toxic": 0.0, "hate": 0.0, "insult": 0.0, "remove": 0.0}
        elif "normal" in said or said == {"fearful"}:
            continue
        elif "hateful" in said:
            known = {"toxic": 1.0, "hate": 1.0, "remove": 1.0}
        else:
            known = {"toxic": 1.0}
        yield Row(clean(item["text"]), item["lang"], "mlma", known, str(number), weight=0.4)


def french_racism(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "ftr_racism_fr")):
        known: Known = {"hate": 1.0, "toxic": 1.0} if item["racist"] else {"hate": 0.0}
        yield Row(clean(item["text"]), "fr", "ftr", known, str(number), weight=0.4)


def jigsaw_fr(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "jigsaw_fr_subset")):
        said = {name: float(value) for name, value in item["labels"].items()}
        known = {
            "toxic": said["toxic"],
            "profanity": said["obscene"],
            "threat": said["threat"],
            "insult": said["insult"],
            "hate": said["identity_hate"],
            "spam": 0.0,
            "praise": 0.0,
        }
        if said["insult"] or said["threat"] or said["identity_hate"]:
            known["remove"] = 1.0
        elif said["obscene"]:
            del known["toxic"]  # "toxic" there also means crude, which a complaint may be
        yield Row(clean(item["text"]), "fr", "jigsaw_fr", known, str(number))


def wikitalk(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "context_toxicity_wikitalk")):
        known: Known = {"toxic": float(item["toxic"])} | ({} if item["toxic"] else {"hate": 0.0, "remove": 0.0})
        yield Row(clean(item["text"]), "en", "wikitalk", known, str(number))


def toxic_spans(data: Path) -> Iterator[Row]:
    for name in ("toxic_spans_train", "toxic_spans_trial"):
        for number, item in enumerate(records(data, name)):
            marked = "".join(item["text"][at : at + 1] for at in item["toxic_char_offsets"]).lower()
            if not marked:  # the judges disagreed
                continue
            # A comment marked for its crude words alone is crude; whether it abuses anyone is not said.
            known: Known = {"profanity": 1.0} if _JUST_CRUDE.fullmatch(marked) else {"toxic": 1.0}
            yield Row(clean(item["text"]), "en", "toxic_spans", known, f"{name}{number}")


def marked_spans(data: Path, count: int) -> list[dict[str, Any]]:
    """Held-out texts of toxic_spans as they were written, and [start, end) of what people marked: to judge spans by."""
    found = []
    for number, item in enumerate(records(data, "toxic_spans_train")):
        places = item["toxic_char_offsets"]
        row = Row(item["text"], "en", "toxic_spans", {}, f"toxic_spans_train{number}")
        if places and row.held_out and len(item["text"].split()) >= 5:
            found.append({"text": item["text"], "spans": [(at, at + 1) for at in places]})
    return found[:count]


_JUST_CRUDE = re.compile(
    r"(?:bull|horse)?(?:shit|crap|damn|fuck|hell|ass|suck|piss|god|bloody|ty|ing|ed|s|y|it|up|\W)*"
)


def germeval(data: Path) -> Iterator[Row]:
    meanings: dict[str, Known] = {
        "OTHER": {"toxic": 0.0, "insult": 0.0, "hate": 0.0, "profanity": 0.0, "remove": 0.0},
        "INSULT": {"toxic": 1.0, "insult": 1.0, "remove": 1.0},
        "ABUSE": {"toxic": 1.0, "hate": 1.0, "remove": 1.0},
        "PROFANITY": {"profanity": 1.0, "toxic": 0.0, "insult": 0.0, "hate": 0.0},
    }
    for number, item in enumerate(records(data, "germeval2018_train")):
        yield Row(clean(item["text"]), "de", "germeval", meanings[item["fine"]], str(number))


def told_br(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "told_br")):
        votes: dict[str, int] = item["votes_of_3"]
        hate = max(votes[kind] for kind in ("homophobia", "racism", "misogyny", "xenophobia"))
        known = (
            _by_votes("hate", hate) | _by_votes("insult", votes["insult"]) | _by_votes("profanity", votes["obscene"])
        )
        if hate >= 2 or votes["insult"] >= 2:
            known |= {"toxic": 1.0, "remove": 1.0}
        elif votes["insult"] == hate == 0:  # crude words or none, aimed at nobody
            known |= {"toxic": 0.0, "remove": 0.0, "threat": 0.0}
        if known:
            yield Row(clean(item["text"]), "pt", "told_br", known, str(number))


def _by_votes(label: str, votes: int) -> Known:
    """Two of three judges make a positive, none a negative, one leaves it open."""
    return {} if votes == 1 else {label: float(votes >= 2)}


def convabuse(data: Path) -> Iterator[Row]:
    for item in records(data, "convabuse"):
        text = str(json.loads(item["text"]).get("user") or "")
        scores = [int(value) for value in item["annotations"].values()]
        abusive = sum(score < 0 for score in scores) / len(scores)
        sexual = _share_of_ones(item["info"]["other_annotations"].get("sex_harassment", ""))
        known: Known = {}
        if abusive >= 0.6:
            known = {"toxic": 1.0, "remove": 1.0}
        elif abusive == 0.0:
            known = dict(BENIGN)
        if sexual >= 0.5:
            known |= {"sexual": 1.0, "remove": 1.0}
        elif sexual == 0.0:
            known |= {"sexual": 0.0}
        yield Row(clean(text), "en", "convabuse", known, item["info"].get("conversation_id(s)", item["id"]))


def _share_of_ones(votes: str) -> float:
    marks = [mark.strip() for mark in votes.split(",") if mark.strip()]
    return sum(mark == "1" for mark in marks) / len(marks) if marks else 0.0


def sentiment(data: Path) -> Iterator[Row]:
    lexicon = load_lexicon(data)
    for lang in ("ar", "de", "en", "es", "fr", "it", "pt"):
        for part in ("train", "val"):
            for number, item in enumerate(records(data, f"sentiment_tweets_{lang}_{part}")):
                text = clean(item["text"])
                known = _profanity(lexicon, text, lang) | {"self_harm": 0.0}
                if item["label"] == "negative":
                    known |= {"praise": 0.0, "gratitude": 0.0}
                else:
                    known |= _benign(lexicon, text, lang) | {"complaint": 0.0, "boycott": 0.0}
                    known |= {} if "?" in text else {"question": 0.0, "care_request": 0.0}
                yield Row(text, lang, "sentiment", known, f"{part}{number}", weight=0.6)


def _profanity(lexicon: Lexicon, text: str, lang: str) -> Known:
    return {"profanity": float(lexicon.hits(text, lang))} if lang in LANGUAGES else {}


def _benign(lexicon: Lexicon, text: str, lang: str) -> Known:
    return {} if lexicon.hits(text, lang) else dict(BENIGN)


GOEMOTIONS: dict[str, tuple[str, ...]] = {
    "anger": ("anger",),
    "frustration": ("annoyance", "disappointment"),
    "distress": ("sadness", "grief"),
    "worry": ("fear", "nervousness"),
    "joy": ("joy", "excitement"),
    "gratitude": ("gratitude",),
    "amusement": ("amusement",),
    "praise": ("admiration",),
}
# Neighbours too close to call a clean negative.
GOEMOTIONS_OPEN: dict[str, tuple[str, ...]] = {
    "anger": ("annoyance", "disgust", "disapproval"),
    "frustration": ("anger", "disapproval", "sadness"),
    "distress": ("remorse", "disappointment", "fear"),
    "worry": ("caring", "embarrassment"),
    "joy": ("love", "admiration", "optimism", "relief", "pride", "amusement", "gratitude"),
    "gratitude": ("relief", "admiration"),
    "amusement": ("joy", "excitement"),
    "praise": ("love", "approval", "gratitude", "excitement"),
}
KIND = frozenset({"gratitude", "joy", "admiration", "love", "caring", "optimism", "relief", "pride", "excitement"})


def goemotions(data: Path) -> Iterator[Row]:
    lexicon = load_lexicon(data)
    for name in ("goemotions_en_train", "goemotions_en_dev"):
        for number, item in enumerate(records(data, name)):
            said, text = set(item["labels"]), clean(item["text"].replace("[NAME]", ""))
            known = _emotions(said, GOEMOTIONS, GOEMOTIONS_OPEN) | NOT_TRADE | _profanity(lexicon, text, "en")
            if said <= KIND:
                known |= _benign(lexicon, text, "en") | UNAIMED | {"complaint": 0.0}
            yield Row(text, "en", "goemotions", known, f"{name}{number}")


XED: dict[str, tuple[str, ...]] = {
    "anger": ("anger",),
    "distress": ("sadness",),
    "worry": ("fear",),
    "joy": ("joy",),
}
XED_OPEN: dict[str, tuple[str, ...]] = {
    "anger": ("disgust",),
    "distress": ("fear",),
    "worry": ("sadness", "surprise"),
    "joy": ("trust", "anticipation", "surprise"),
}
HARSH = frozenset({"anger", "disgust"})


def xed(data: Path) -> Iterator[Row]:
    lexicon = load_lexicon(data)
    for number, item in enumerate(records(data, "xed")):
        said, text, lang = set(item["emotions"]), clean(item["text"]), item["lang"]
        known = _emotions(said, XED, XED_OPEN) | NOT_TRADE | _profanity(lexicon, text, lang)
        if not said & HARSH:
            known |= _benign(lexicon, text, lang)
        if "joy" in said and not said & HARSH:
            known |= UNAIMED
        yield Row(text, lang, "xed", known, str(number), weight=0.5)


def _emotions(said: set[str], mapping: dict[str, tuple[str, ...]], left_open: dict[str, tuple[str, ...]]) -> Known:
    known: Known = {}
    for label, names in mapping.items():
        if said.intersection(names):
            known[label] = 1.0
        elif not said.intersection(left_open.get(label, ())):
            known[label] = 0.0
    return known


def isarcasm(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "isarcasmeval_en")):
        known = {"sarcasm": float(item["labels"]["sarcastic"])} | NOT_TRADE
        yield Row(clean(item["text"]), "en", "isarcasm", known, str(number))


def multipico(data: Path) -> Iterator[Row]:
    for item in records(data, "multipico_irony_dev"):
        votes = [int(value) for value in item["annotations"].values()]
        ironic = sum(votes) / len(votes)
        if 0.35 < ironic < 0.6:
            continue
        known = {"sarcasm": float(ironic >= 0.6)}
        yield Row(clean(item["text"]["reply"]), item["lang"], "multipico", known, item["text"]["post"], weight=0.8)


CUSTOMER: Known = BENIGN | {"spam": 0.0, "scam": 0.0, "self_harm": 0.0, "praise": 0.0, "boycott": 0.0, "hate": 0.0}
# Banking77: intents that ask how things work; the others report something that went wrong or needs doing.
INFORMATIVE = _words(
    "age_limit apple_pay_or_google_pay atm_support automatic_top_up card_acceptance card_delivery_estimate "
    "country_support disposable_card_limits exchange_charge exchange_rate exchange_via_app fiat_currency_support "
    "get_disposable_virtual_card get_physical_card getting_spare_card getting_virtual_card order_physical_card "
    "receiving_money supported_cards_and_currencies top_up_by_bank_transfer_charge top_up_by_card_charge "
    "top_up_by_cash_or_cheque top_up_limits transfer_into_account transfer_timing verify_source_of_funds "
    "visa_or_mastercard why_verify_identity"
)


def banking(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "banking77_train")):
        known = CUSTOMER | {"care_request": float(item["intent"] not in INFORMATIVE)}
        known |= {"question": 1.0} if item["text"].rstrip().endswith("?") else {}
        yield Row(clean(item["text"]), "en", "banking", known, str(number), weight=0.7)


CLINC_CARE = _words(
    "account_blocked card_declined damaged_card lost_luggage order_status report_fraud report_lost_card "
    "cancel_reservation replacement_card_duration freeze_account application_status flight_status"
)
CLINC_CHAT = _words(
    "oos tell_joke meaning_of_life fun_fact what_are_your_hobbies where_are_you_from greeting goodbye thank_you yes no "
    "maybe play_music next_song alarm timer reminder flip_coin roll_dice calculator date time weather todo_list "
    "smart_home change_volume whisper_mode definition spelling recipe translate"
)


def clinc(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "clinc150")):
        intent = item["intent"]
        if intent not in CLINC_CARE | CLINC_CHAT:
            continue
        known = CUSTOMER | {"care_request": float(intent in CLINC_CARE)}
        yield Row(clean(item["text"]), "en", "clinc", known, str(number), weight=0.5)


HINT3_CARE = _words(
    "REFUNDS_RETURNS_REPLACEMENTS RESUME_DELIVERY ORDER_STATUS DELAY_IN_PARCEL MODIFY_ADDRESS CANCEL_ORDER ORDER_QUERY "
    "PORTAL_ISSUE SIDE_EFFECT POINTS_NOT_UPDATED WITHDRAWAL_STATUS CHECK_DEPOSIT_STATUS CANNOT_SEE_JOINED_CONTESTS "
    "ACCOUNT_BALANCE_DEDUCTED REFUND_OF_ADDED_CASH ACCOUNT_NOT_VERIFIED REFUND_OF_WRONG_AMOUNT NO_EMAIL_CONFIRMATION "
    "DEDUCTED_AMOUNT_NOT_RECEIVED LESS_WINNINGS_AMOUNT PAN_VERIFICATION_FAILED RETURN_EXCHANGE DELAY_IN_DELIVERY "
    "CHAT_WITH_AN_AGENT CHAT_WITH_AGENT"
)
HINT3_BUYING = _words(
    "RECOMMEND_PRODUCT ORDER_TAKING EMI MATTRESS_COST PRODUCT_VARIANTS WHAT_SIZE_TO_ORDER LEAD_GEN COD COMPARISON "
    "OFFERS PILLOWS SIZE_CUSTOMIZATION ORTHO_FEATURES ERGO_FEATURES 100_NIGHT_TRIAL_OFFER"
)


def hint3(data: Path) -> Iterator[Row]:
    for brand in ("curekart", "powerplay11", "sofmattress"):
        for number, item in enumerate(records(data, f"hint3_{brand}_train")):
            intent, text = item["intent"], clean(item["text"])
            known = BENIGN | {"spam": 0.0, "care_request": float(intent in HINT3_CARE)}
            known["buying_intent"] = float(intent in HINT3_BUYING)
            known |= {"question": 1.0} if text.endswith("?") else {}
            yield Row(text, "en", "hint3", known, f"{brand}{number}")


def youtube(data: Path) -> Iterator[Row]:
    for number, item in enumerate(records(data, "youtube_spam")):
        spam = float(item["spam"])
        known = {"spam": spam, "care_request": 0.0} | ({"remove": 1.0, "hate": 0.0, "praise": 0.0} if spam else {})
        yield Row(clean(item["text"]), "en", "youtube", known, str(number))


LOADERS: dict[str, Loader] = {
    "measuring_hate": measuring_hate,
    "davidson": davidson,
    "edos": edos,
    "mlma": mlma,
    "ftr": french_racism,
    "jigsaw_fr": jigsaw_fr,
    "wikitalk": wikitalk,
    "toxic_spans": toxic_spans,
    "germeval": germeval,
    "told_br": told_br,
    "convabuse": convabuse,
    "sentiment": sentiment,
    "goemotions": goemotions,
    "xed": xed,
    "isarcasm": isarcasm,
    "multipico": multipico,
    "banking": banking,
    "clinc": clinc,
    "hint3": hint3,
    "youtube": youtube,
}


# Ours draw the lines the other sets do not: crude complaint against insult, mention against attack.
CORPUS_WEIGHT = 2.0


def corpus_rows(folder: Path) -> Iterator[Row]:
    """Our own messages, written singly (`corpus`) or by grammars (`grammar`): every label is known, positive when
    listed, unknown when listed under `maybe`.

    Families that share a pair, and translations (the same family in another file), form one group for the split.
    """
    yield from _own_rows(sorted(folder.glob("*.jsonl")), {"hand": "corpus", "grammar": "grammar"})


def _own_rows(paths: Sequence[Path], source_of: Mapping[str, str]) -> Iterator[Row]:
    items = [
        (path.stem, json.loads(line))
        for path in paths
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    group_of = _groups((item["family"], f"pair {stem}/{item['pair']}") for stem, item in items if item.get("pair"))
    for stem, item in items:
        pair = f"{stem}/{item['pair']}" if item.get("pair") else ""
        hidden = set(item.get("maybe", ()))
        known = {label: float(label in item["labels"]) for label in LABELS if label not in hidden}
        family = item["family"]
        group = group_of.get(family, family)
        source = source_of[item["origin"]]
        yield Row(normalize(item["text"]), item["lang"], source, known, group, weight=CORPUS_WEIGHT, pair=pair)


def _groups(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Smallest name of each connected group of names."""
    near: dict[str, set[str]] = defaultdict(set)
    for one, other in links:
        near[one].add(other)
        near[other].add(one)
    group: dict[str, str] = {}
    for start in sorted(near):
        waiting = [start]
        while waiting:
            name = waiting.pop()
            if name not in group:
                group[name] = start
                waiting += near[name]
    return group


def load_rows(data: Path, corpus: Path, without: frozenset[str] = frozenset()) -> list[Row]:
    """Every distinct row of the licensed sets and of our corpus (first, so that it wins a duplicate)."""

    def everything() -> Iterator[Row]:
        yield from corpus_rows(corpus)
        for name, loader in LOADERS.items():
            if name not in without:
                yield from loader(data)

    return [row for row in distinct(everything()) if row.known]
