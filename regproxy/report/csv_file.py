"""Render the tables as CSV for programs: one line per row and data set, empty fields for missing values."""

import csv
import io
from typing import Any

from regproxy.config.profile import Profile, Row, Table
from regproxy.report.aggregate import Complexity, Score, Scores
from regproxy.report.layout import label_text

CSV_COLUMNS = (
    *("table", "row", "variant", "dataset", "metric", "seeds_found", "seeds_wanted"),
    *("median", "min", "max", "published", "difference"),
    *("params", "params_printed", "gflops", "gflops_printed", "gmacs"),
    *("boundary_iou", "region_entropy", "needs"),
)


def csv_text(profile: Profile, scores: Scores, complexity: Complexity) -> str:
    """Return the tables of a profile as CSV.

    mIoU, differences and `boundary_iou` are in percent, `params` is a count, `gflops` (counted as in the
    paper) and `gmacs` are in 10^9, `region_entropy` is in nats. `params_printed` and `gflops_printed` are the
    paper's own text. A row has no line for a data set that its variant does not run on, unless the paper has
    a value for it.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table in profile.tables:
        for row in table.rows:
            for data in profile.datasets:
                score = scores.get((row.variant, data.name))
                if score or row.needs or data.name in row.published:
                    writer.writerow(_fields(table, row, data.name, score, complexity))
    return text.getvalue()


def _fields(table: Table, row: Row, dataset: str, score: Score | None, costs: Complexity) -> dict[str, Any]:
    counts, published = costs.get(row.variant, {}), row.published.get(dataset)
    fields = {
        "table": table.name,
        "row": label_text(row.label),
        "variant": row.variant,
        "dataset": dataset,
        "metric": table.metric,
        "published": published,
        "params": counts.get("params"),
        "params_printed": row.params,
        "gflops": counts.get("gflops_paper"),
        "gflops_printed": row.gflops,
        "gmacs": counts.get("gmacs"),
        "needs": row.needs,
    }
    if score:
        fields |= {"seeds_found": len(score.values(table.metric)), "seeds_wanted": len(score.seeds)}
        median, low, high = score.summary(table.metric) or (None,) * 3
        difference = None if None in (median, published) else median - published
        numbers = {"median": median, "min": low, "max": high, "difference": difference}
        numbers |= {"boundary_iou": score.median("boundary_iou")}
        numbers |= {"region_entropy": score.median("region_entropy")}
        # Adding 0.0 turns -0.0 into 0.0.
        fields |= {name: round(value, 4) + 0.0 for name, value in numbers.items() if value is not None}
    return fields
