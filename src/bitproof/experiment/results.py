"""What an experiment gives back: cells, and views on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitproof import metrics
from bitproof.diagnosis import Diagnosis
from bitproof.records import Cell
from bitproof.report import write_report
from bitproof.store import export

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Result:
    """The cells of one experiment and everything that follows from them.

    Attributes:
        cells: one a model and condition, example by example.
        reference: name of the model that the others are compared with.
        computed, reused: how many cells this run computed and how many the store held already.
        environments: what the cells were computed on, one entry a run of the store.
        diagnoses: of masked gradients, one a model, where they were asked for.
    """

    cells: Sequence[Cell]
    reference: str
    computed: int
    reused: int
    environments: Sequence[dict[str, Any]]
    diagnoses: Sequence[Diagnosis] = ()

    def table(self) -> "pd.DataFrame":
        """One row a model and condition: accuracy with its 95% Wilson interval, the paired difference from the
        reference with its bootstrap interval, exact McNemar p-values (raw and Holm-corrected), passes an example."""
        import pandas as pd

        return pd.DataFrame(metrics.compare(self.cells, self.reference))

    def summary(self) -> "pd.DataFrame":
        """One row a model and metric (ACC, AR, AAI, WCAR, mNR, NCI, SR, SNI, ASR), each with a 95% interval."""
        import pandas as pd

        return pd.DataFrame(metrics.summary(self.cells))

    def transfer(self, *, tuned: str | None = None) -> "pd.DataFrame":
        """One row an attack, source and target of `evaluate(..., transfer=)`; see `bitproof.metrics.transfer`."""
        import pandas as pd

        return pd.DataFrame(metrics.transfer(self.cells, tuned=tuned))

    def distances(self) -> "pd.DataFrame":
        """One row a model and attack without a budget; see `bitproof.metrics.distances`."""
        import pandas as pd

        return pd.DataFrame(metrics.distances(self.cells))

    def same_pixels(self) -> "pd.DataFrame":
        """One row a condition that showed the models pixels that an earlier one had shown already: `like` which, and on
        how many (`equal`) of the `n` images. Empty where all conditions differ on all images."""
        import pandas as pd

        return pd.DataFrame(metrics.same_pixels(self.cells), columns=["condition", "like", "equal", "n"])

    def report(self, path: str | Path = "report.html") -> Path:
        """Write the self-contained HTML report; returns its path."""
        return write_report(
            self.cells, path, reference=self.reference, environments=self.environments, diagnoses=self.diagnoses
        )

    def export(self, path: str | Path) -> int:
        """Write every example's prediction to a .parquet or .csv file; returns the number of rows."""
        return export(self.cells, path)
