"""The yardstick: TF-IDF (words 1-2, characters 3-5) and logistic regression on exactly the rows the house model saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlops.house.calibrate import Floats
from mlops.house.mixture import Batchable

_FEATURES = 120_000


def baseline_scores(stream: Batchable, columns: Sequence[int], texts: Sequence[str]) -> Floats:
    """Fit one model per column of `stream` and score `texts`: probabilities [texts, columns]."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    views = [
        TfidfVectorizer(
            ngram_range=(1, 2), min_df=2, max_features=_FEATURES, sublinear_tf=True, strip_accents="unicode"
        ),
        TfidfVectorizer(
            analyzer="char_wb",
            ngram_range=(3, 5),
            min_df=3,
            max_features=_FEATURES,
            sublinear_tf=True,
            strip_accents="unicode",
        ),
    ]
    seen = hstack([view.fit_transform(stream.texts) for view in views]).tocsr()
    asked = hstack([view.transform(texts) for view in views]).tocsr()
    scores = np.full((len(texts), len(columns)), 0.5)
    for at, column in enumerate(columns):
        known = np.flatnonzero(stream.weights[:, column] > 0)
        targets = stream.targets[known, column]
        if len(np.unique(targets)) < 2:
            continue
        model = LogisticRegression(C=4.0, solver="liblinear", max_iter=200)
        model.fit(seen[known], targets, sample_weight=stream.weights[known, column])
        scores[:, at] = model.predict_proba(asked)[:, 1]
    return scores
