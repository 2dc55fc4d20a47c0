"""The sentence a moderator reads: why, in the brand's language."""

from __future__ import annotations

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
_RULES: Final = {
    "fr": {
        rules.CAP: "Peut-être une réclamation : jamais masquée en silence",
        rules.DISTRESS: "Signe de détresse : une personne d'abord",
        rules.PRIVATE: "Message privé : rien à masquer",
        rules.FAILURE: "Pas encore lu par le modèle : politique de panne de la charte",
        rules.DEFAULT: "Aucune règle de la charte ne s'applique",
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
        rules.EXPIRY: "The hold ended and nobody had looked",
        rules.GONE: "Deleted by its author, or erased",
        rules.HUMAN: "A person's decision",
    },
}


def explain(ruling: Ruling, charter: Charter) -> str:
    """One sentence, and one more when somebody owes a step: « Insulte envers une personne (0,93) : masqué. »"""
    language = charter.language if charter.language in _DONE else "en"
    why = _RULES[language].get(ruling.clause) or _words_of(ruling.clause, charter, language)
    strength = _strength(ruling.reasons[0], language) if ruling.reasons else ""
    colon = " : " if language == "fr" else ": "
    sentence = f"{why}{strength}{colon}{_DONE[language][ruling.visibility]}."
    return f"{sentence} {_TO[language][ruling.queue]}." if ruling.queue else sentence


def _words_of(clause_id: str, charter: Charter, language: str) -> str:
    for clause in charter.clauses:
        if clause.id == clause_id:
            return clause.explain.get(language) or next(iter(clause.explain.values()), clause_id)
    return clause_id


def _strength(reason: Reason, language: str) -> str:
    if not reason.evidence:
        return ""
    number = f"{max(reason.evidence.values()):.2f}"
    return f" ({number.replace('.', ',') if language == 'fr' else number})"
