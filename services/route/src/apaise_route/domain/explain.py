"""The three lines a moderator reads, in the brand's language: what and why, who does what next, what else."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from apaise_route.domain import charter as rules
from apaise_route.domain.charter import Charter
from apaise_route.domain.model import Queue, Reason, Ruling, Visibility

_DONE: Final = {
    "fr": {
        Visibility.KEEP: "laissé",
        Visibility.HOLD: "retenu jusqu'à relecture",
        Visibility.HIDE: "masqué",
        Visibility.DELETE: "supprimé",
    },
    "en": {
        Visibility.KEEP: "kept",
        Visibility.HOLD: "held until someone reads it",
        Visibility.HIDE: "hidden",
        Visibility.DELETE: "deleted",
    },
}
_TO: Final = {
    "fr": {
        Queue.MODERATOR: "À la modération",
        Queue.CARE: "Au service client",
        Queue.LEGAL: "Au juridique",
        Queue.MARKETING: "Au marketing",
        Queue.SALES: "À la vente",
        Queue.PRODUCT: "Au produit",
        Queue.CRISIS: "À la cellule de crise",
        Queue.ANIMATION: "À l'animation",
    },
    "en": {
        Queue.MODERATOR: "To moderators",
        Queue.CARE: "To customer care",
        Queue.LEGAL: "To legal",
        Queue.MARKETING: "To marketing",
        Queue.SALES: "To sales",
        Queue.PRODUCT: "To product",
        Queue.CRISIS: "To the crisis cell",
        Queue.ANIMATION: "To community animation",
    },
}
_TEAMS: Final = {
    "fr": {
        Queue.MODERATOR: "modération",
        Queue.CARE: "service client",
        Queue.LEGAL: "juridique",
        Queue.MARKETING: "marketing",
        Queue.SALES: "vente",
        Queue.PRODUCT: "produit",
        Queue.CRISIS: "cellule de crise",
        Queue.ANIMATION: "animation",
    },
    "en": {queue: queue.name.lower().replace("crisis", "crisis cell") for queue in Queue if queue},
}
_RULES: Final = {
    "fr": {
        rules.CAP: "Peut-être une réclamation : jamais masquée en silence",
        rules.DISTRESS: "Signe de détresse : une personne d'abord",
        rules.PRIVATE: "Message privé : rien à masquer",
        rules.FAILURE: "Pas encore lu par le modèle : politique de panne de la charte",
        rules.DEFAULT: "Aucune règle de la charte ne s'applique",
        rules.AUTONOMY: "La machine ne fait pas cela seule",
        rules.QUOTA: "Quota de retraits automatiques atteint",
        rules.EXPIRY: "Fin de la retenue sans relecture",
        rules.GONE: "Message supprimé par son auteur ou effacé",
        rules.HUMAN: "Décision d'une personne",
    },
    "en": {
        rules.CAP: "Maybe a complaint: never hidden in silence",
        rules.DISTRESS: "Sign of distress: a person first",
        rules.PRIVATE: "Private message: nothing to hide",
        rules.FAILURE: "Not read by the model yet: the charter's failure policy",
        rules.DEFAULT: "No rule of the charter applies",
        rules.AUTONOMY: "The machine does not do this alone",
        rules.QUOTA: "The quota of automatic removals is used up",
        rules.EXPIRY: "The hold ended and nobody had looked",
        rules.GONE: "Deleted by its author, or erased",
        rules.HUMAN: "A person's decision",
    },
}
_POSTURES: Final = {
    "fr": {
        "reassure": "rassurer",
        "explain": "expliquer",
        "solve": "régler le problème",
        "apologise": "présenter des excuses",
        "light_humour": "répondre avec un peu d'humour",
        "none": "ne pas répondre",
    },
    "en": {
        "reassure": "reassure",
        "explain": "explain",
        "solve": "solve the problem",
        "apologise": "apologise",
        "light_humour": "answer with a little humour",
        "none": "do not answer",
    },
}
_UNITS: Final = ((86_400, {"fr": "j", "en": "d"}), (3600, {"fr": "h", "en": "h"}), (60, {"fr": "min", "en": "min"}))
_WORDS: Final = {
    "fr": {
        "within": ", sous {}",
        "step": "{} : {}.",
        "unread": "Sans relecture dans {} : {}.",
        "shown": "le message paraît",
        "raised": "relancé en tête de file, puis {}",
        "asked": "« {} » demandait : {}.",
        "silence": "Silence choisi ({}) : {}.",
        "told": "Prévenir aussi : {}.",
    },
    "en": {
        "within": ", within {}",
        "step": "{}: {}.",
        "unread": "If nobody reads it within {}: {}.",
        "shown": "it shows",
        "raised": "put first in the queue, then {}",
        "asked": "“{}” asked for: {}.",
        "silence": "Silence by choice ({}): {}.",
        "told": "Tell as well: {}.",
    },
}
MAX_LINES: Final = 3
_LONGEST_REASON: Final = 80


def explain(ruling: Ruling, charter: Charter, now: datetime | None = None, within: timedelta | None = None) -> str:
    """Up to three lines: what and why; who does what next; what else to know.

    « Insulte envers une personne (0,93) : masqué. »

    Args:
        ruling: what is decided.
        charter: in whose words and language.
        now: when; the end of a hold is told from it.
        within: the delay the next step has.
    """
    language = charter.language if charter.language in _DONE else "en"
    lines = [
        _what_and_why(ruling, charter, language),
        _next_step(ruling, language, within),
        _what_else(ruling, charter, language, now),
    ]
    return "\n".join(line for line in lines if line)


def _what_and_why(ruling: Ruling, charter: Charter, language: str) -> str:
    why = _RULES[language].get(ruling.clause) or _words_of(ruling.clause, charter, language)
    strength = _strength(ruling.reasons[0], language) if ruling.reasons else ""
    colon = " : " if language == "fr" else ": "
    return f"{why}{strength}{colon}{_DONE[language][ruling.visibility]}."


def _next_step(ruling: Ruling, language: str, within: timedelta | None) -> str:
    if not ruling.queue:
        return ""
    words = _WORDS[language]
    whom = _TO[language][ruling.queue] + (words["within"].format(_long(within, language)) if within else "")
    posture = _POSTURES[language].get(ruling.reply_posture)
    return words["step"].format(whom, posture) if posture else f"{whom}."


def _what_else(ruling: Ruling, charter: Charter, language: str, now: datetime | None) -> str:
    """The one other thing worth a line: a hold's end, a chosen silence, what a rule softened, who hears."""
    words = _WORDS[language]
    if ruling.hold_expire_time is not None and now is not None:
        left = _long(ruling.hold_expire_time - now, language)
        return words["unread"].format(left, _ending(ruling, language))
    if ruling.silence is not None:
        return words["silence"].format(ruling.silence.reviewer, ruling.silence.reason)
    if ruling.clause in rules.MESH_RULES and ruling.clause not in (rules.HUMAN, rules.EXPIRY):
        softened = next((r for r in ruling.reasons[1:] if r.visibility > ruling.visibility), None)
        if softened is not None:
            name = _RULES[language].get(softened.clause) or _words_of(softened.clause, charter, language)
            return words["asked"].format(name, _DONE[language][softened.visibility])
    if ruling.notify:
        return words["told"].format(", ".join(_TEAMS[language][queue] for queue in ruling.notify))
    return ""


def _ending(ruling: Ruling, language: str) -> str:
    """What a hold becomes."""
    words, then = _WORDS[language], ruling.hold_then
    if then is Visibility.HOLD:
        final = ruling.hold_finally
        return words["raised"].format(words["shown"] if final is Visibility.KEEP else _DONE[language][final])
    return words["shown"] if then <= Visibility.KEEP else _DONE[language][then]


def _long(length: timedelta, language: str) -> str:
    seconds = max(0, round(length.total_seconds()))
    for size, names in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {names[language]}"
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


def _words_of(clause_id: str, charter: Charter, language: str) -> str:
    for clause in charter.clauses:
        if clause.id == clause_id:
            words = clause.explain.get(language) or next(iter(clause.explain.values()), clause_id)
            return words if len(words) <= _LONGEST_REASON else words[: _LONGEST_REASON - 1] + "…"
    return clause_id


def _strength(reason: Reason, language: str) -> str:
    if not reason.evidence:
        return ""
    number = f"{max(reason.evidence.values()):.2f}"
    return f" ({number.replace('.', ',') if language == 'fr' else number})"
