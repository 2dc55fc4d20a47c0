"""Any labelled file against the house model or a brand's adapter, in process."""

from mlops.eval.figures import Figures, figures
from mlops.eval.files import Columns, Examples, FileProblem, read_examples

__all__ = ["Columns", "Examples", "Figures", "FileProblem", "figures", "read_examples"]
