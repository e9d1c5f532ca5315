"""How alike texts are: TF-IDF vectors, as scikit-learn's defaults weigh them, and their cosines.

On scipy's sparse matrices, since these lines are less to keep than one more pinned package.
Similarities are rounded, so that the order of rows does not depend on a processor's arithmetic.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repro.data.leakage import Row, same_text
from repro.spec.tasks import Task

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]


def text_of(task: Task, row: Row) -> str:
    """The words of a row's input fields, whatever their case and marks."""
    return " ".join(same_text(row[field]) for field in task.fields)


def tfidf(texts: Sequence[str]) -> "csr_matrix":
    """A vector of length 1 a text: counts of words x (ln((1 + n) / (1 + texts with it)) + 1)."""
    from scipy.sparse import csr_matrix, diags  # slow to import

    vocabulary: dict[str, int] = {}
    rows, columns, counts = [], [], []
    for number, text in enumerate(texts):
        for word, count in Counter(text.split()).items():
            rows.append(number)
            columns.append(vocabulary.setdefault(word, len(vocabulary)))
            counts.append(float(count))
    n, size = len(texts), len(vocabulary)
    raw = csr_matrix((counts, (rows, columns)), shape=(n, max(1, size)))
    having = np.bincount(columns, minlength=max(1, size))
    weighted = raw @ diags(np.log((1 + n) / (1 + having)) + 1)
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return diags(1 / np.where(lengths > 0, lengths, 1)) @ weighted


def similarities(texts: Sequence[str], to: Sequence[str]) -> NDArray[np.float64]:
    """The mean cosine of each text with all of another set."""
    vectors = tfidf([*texts, *to])
    mean = np.asarray(vectors[len(texts) :].mean(axis=0)).ravel()
    return np.round(np.asarray(vectors[: len(texts)] @ mean), 9)
