"""The model card of a revision: what it is, from what, how well. No message's text, no person."""

from __future__ import annotations

from apaise_train.domain.gate import GateReport
from apaise_train.domain.jobs import Outcome
from apaise_train.domain.runs import Run


def model_card(run: Run, outcome: Outcome, report: GateReport) -> str:
    """The card, in Markdown."""
    scores = "\n".join(
        f"| {score.who} | {score.adapter} | {'–' if score.auc is None else f'{score.auc:.3f}'} "
        f"| {score.macro_f1:.3f} | {score.accuracy:.3f} |"
        for score in report.scores
    )
    reasons = "\n".join(f"- {reason}" for reason in report.reasons)
    return f"""# {run.brand}, revision {run.revision}

A LoRA adapter and linear heads over the Apaise house encoder, learnt from one brand's own resolved reviews. It reads
what this brand's moderators would take down (`remove`); its other labels stay close to the house model's.

- **Learnt from** {run.n_corrections} reviews, judged on {run.n_holdout} later ones that no text of it resembles
- **Manifest** `{run.manifest_digest}`
- **House encoder** `{outcome.encoder}`
- **Adapter digest** `{outcome.digest}`
- **Threshold of `remove`** {outcome.candidate.threshold:.3f}
- **Mean change of the other labels** {outcome.metrics.get("drift_other_labels", 0.0):.4f}

| | adapter | AUC | macro-F1 | accuracy |
|---|---|---|---|---|
{scores}

**Gate: {"promoted" if report.promoted else "refused"}**

{reasons}

Limits: it knows one community at one time, and only what its moderators looked at. It is not to be used for another
brand, nor to judge people. It loads with `PeftModel.from_pretrained` on the exported house encoder.
"""
