"""The yardstick: TF-IDF (words 1-2, characters 3-5) and logistic regression on exactly the rows the house model saw."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops.house.calibrate import Floats
from mlops.house.mixture import Batchable

_FEATURES = 120_000


@dataclass(frozen=True)
class Baseline:
    """One linear model per column of the stream it was fitted on; None where a column has one side only."""

    views: Sequence[Any]
    models: Sequence[Any]

    @classmethod
    def fit(cls, stream: Batchable) -> Baseline:
        """Fit every column on the rows that know it, by their weights."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        plain: dict[str, Any] = {"max_features": _FEATURES, "sublinear_tf": True, "strip_accents": "unicode"}
        views = [
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, **plain),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=3, **plain),
        ]
        seen = _joined([view.fit_transform(stream.texts) for view in views])

        def fitted(column: int) -> Any:
            known = np.flatnonzero(stream.weights[:, column] > 0)
            targets, weights = stream.targets[known, column], stream.weights[known, column]
            if len(np.unique(targets)) < 2:
                return None
            model = LogisticRegression(C=4.0, solver="liblinear", max_iter=200)
            return model.fit(seen[known], targets, sample_weight=weights)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return cls(views, list(pool.map(fitted, range(stream.targets.shape[1]))))

    def scores(self, texts: Sequence[str]) -> Floats:
        """Probabilities [texts, columns]; 0.5 where nothing could be fitted."""
        asked = _joined([view.transform(texts) for view in self.views])
        columns = [np.full(len(texts), 0.5) if m is None else m.predict_proba(asked)[:, 1] for m in self.models]
        return np.stack(columns, axis=1)


def _joined(parts: Sequence[Any]) -> Any:
    from scipy.sparse import hstack

    return hstack(parts).tocsr()
