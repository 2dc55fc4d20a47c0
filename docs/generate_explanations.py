"""Write docs/explanations.md: twenty decisions of the default charter, explained in French and in English.

Every explanation is what `decide()` really says; a test fails when the page is out of date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from apaise_route.adapters.charter_yaml import compile_charter, default_source
from apaise_route.domain.charter import CompiledCharter
from apaise_route.domain.decide import decide
from apaise_route.domain.model import Absence, Audience, ChannelKind, Moderation
from apaise_route.testing import START, entry, reading

PAGE: Final = Path(__file__).with_name("explanations.md")
_NOBODY: Final = 0.999  # drawn for no audit

_HEAD: Final = """\
# Explanations

Written by `docs/generate_explanations.py` from what the code decides; a test fails when it is out of date.

A decision explains itself in three lines at most, in the language of the charter: *what and why*, with the strongest
label read; *who does what next*, and within what time; *what else* to know: how a hold ends, what a rule of the mesh
softened, a chosen silence, who else hears of it. Twenty messages under the default charter and an addition to it:

```yaml
{extra}```
"""

_EXTRA: Final = """\
autonomy: {delete: never}
quota: {actions: 60, per: 1m}
clauses:
  - id: counterfeit
    when: message.text.contains('contrefaçon')
    visibility: DELETE
    explain: {fr: Vente de contrefaçons, en: Counterfeits for sale}
  - id: bait
    when: yes.provocation && yes.political && !yes.complaint
    priority: 80
    silence: {reason: pas de politique / no politics, reviewer: Léa}
    explain: {fr: Provocation politique, en: Political bait}
  - id: contest
    when: yes.joy && yes.suggestion
    visibility: KEEP
    priority: 30
    queue: marketing
    reply_posture: light_humour
    notify: [product]
    explain: {fr: Idée joyeuse pour le concours, en: A cheerful idea for the contest}
"""


class Case(NamedTuple):
    """A message and how it was read."""

    text: str
    yes: Sequence[str] = ()
    at: Mapping[str, float] = {}
    unsure: Sequence[str] = ()
    spent: int = 0
    absence: Absence = Absence.NONE
    more: Mapping[str, Any] = {}


_PRE: Final = {"moderation": Moderation.PRE, "kind": ChannelKind.COMMENT}
_PRIVATE: Final = {"audience": Audience.PRIVATE, "kind": ChannelKind.PRIVATE_MESSAGE}
CASES: Final = (
    Case("Bonsoir tout le monde"),
    Case("Merci à l'équipe, soirée géniale !", at={"praise": 0.97}),
    Case("Il reste des places pour samedi ?", at={"buying_intent": 0.88, "question": 0.91}),
    Case("Ça plante dès que je lance la vidéo", at={"bug_report": 0.9}),
    Case("Trois semaines sans colis, répondez !", at={"complaint": 0.94, "anger": 0.9}),
    Case("Où en est mon remboursement ?", at={"care_request": 0.86}),
    Case("Remboursez-moi, bande d'incapables", at={"complaint": 0.71, "insult": 0.9, "remove": 0.8}),
    Case("Remboursez-moi, bande d'incapables", at={"complaint": 0.71, "insult": 0.9, "remove": 0.8}, more=_PRE),
    Case("Quel abruti celui-là", at={"insult": 0.93, "remove": 0.9}),
    Case("Retourne d'où tu viens", at={"hate": 0.95}),
    Case("Je sais où tu habites", at={"threat": 0.97}),
    Case("(menace contre un groupe)", at={"hate": 0.98, "threat": 0.98}),
    Case("Et si on votait pour le nom de la mascotte !", at={"joy": 0.9, "suggestion": 0.85}),
    Case("Hmm, d'accord…", unsure=["remove"], more=_PRE),
    Case("Je n'en peux plus, laissez-moi crever", at={"self_harm": 0.84, "remove": 0.7}),
    Case("Vous êtes des voleurs et des c…", at={"insult": 0.9, "remove": 0.9}, more=_PRIVATE),
    Case("n.t.m", absence=Absence.UNAVAILABLE),
    Case("Belle contrefaçon à vendre"),
    Case("Et votre député, il en dit quoi ?", at={"provocation": 0.8, "political": 0.9}),
    Case("Quel abruti celui-là", at={"insult": 0.93, "remove": 0.9}, spent=60),
)


def charter(language: str) -> CompiledCharter:
    """The default charter with the addition, speaking a language."""
    before, clauses = default_source().split("\nclauses:\n")
    added, more = _EXTRA.split("clauses:\n")
    source = f"{before}\n{added}clauses:\n{more}{clauses}".replace("language: fr", f"language: {language}")
    return compile_charter(source, "brands/docs/charters/1")


def explained(case: Case, compiled: CompiledCharter) -> str:
    """What a moderator reads."""
    assessment = None if case.absence else reading(case.yes, case.unsure, case.at)
    given = entry(assessment, case.absence, text=case.text, **case.more)
    return decide(given, compiled, START, _NOBODY, case.spent).ruling.explanation


def page() -> str:
    """The whole page."""
    charters = {language: charter(language) for language in ("fr", "en")}
    parts = [_HEAD.format(extra=_EXTRA)]
    for number, case in enumerate(CASES, 1):
        said = "\n\n".join(explained(case, compiled) for compiled in charters.values())
        parts.append(f"{number}. « {case.text} »{_where(case)}\n\n```text\n{said}\n```\n")
    return "\n".join(parts)


def _where(case: Case) -> str:
    if case.more is _PRE:
        return ", before it shows"
    if case.more is _PRIVATE:
        return ", in private"
    if case.absence:
        return ", while the model does not answer"
    return ", once 60 messages were taken down within a minute" if case.spent else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
