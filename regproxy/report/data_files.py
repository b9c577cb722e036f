"""The report's numbers for programs: the tables as CSV, and the files that DVC shows and compares.

A field of a CSV file is empty where there is no value.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from regproxy.config.profile import Profile, Row, Table
from regproxy.report.aggregate import Complexity, Metric, Score, Scores
from regproxy.report.classes import class_summaries
from regproxy.report.layout import label_text
from regproxy.runs.history import read_history

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
    lines = []
    for table in profile.tables:
        for row in table.rows:
            for data in profile.datasets:
                score = scores.get((row.variant, data.name))
                if score or row.needs or data.name in row.published:
                    lines.append(_fields(table, row, data.name, score, complexity))
    return _csv(CSV_COLUMNS, lines)


def metrics(scores: Scores) -> dict[str, float]:
    """Return the medians in percent by `<data set>.<variant>.<metric>`; only of variants with all seeds."""
    names: tuple[Metric, ...] = ("miou", "boundary_iou")
    return {
        f"{dataset}.{variant}.{name}": round(median, 4)
        for (variant, dataset), score in scores.items()
        for name in names
        if (median := score.median(name)) is not None
    }


def curves_csv(scores: Scores) -> str:
    """Return loss and validation mIoU (percent) of each variant's median seed against the step, as CSV."""
    lines = []
    for (variant, dataset), score in scores.items():
        if not score.trials:
            continue
        for entry in read_history(score.trials[score.median_seed].run_dir / "metrics.jsonl"):
            miou = round(100 * entry["val_miou"], 4) if "val_miou" in entry else None
            values = {"step": entry["step"], "loss": entry.get("loss"), "val_miou": miou}
            lines.append({"dataset": dataset, "variant": variant, **values})
    return _csv(("dataset", "variant", "step", "loss", "val_miou"), lines)


def classes_csv(scores: Scores) -> str:
    """Return the IoU of each class, median over the scored seeds in percent, for every variant, as CSV."""
    lines = [
        {"dataset": dataset, "variant": variant, "class": name, "iou": summary and round(summary[0], 4)}
        for (variant, dataset), score in scores.items()
        for name, summary in zip(score.variant.data.classes, class_summaries(score), strict=False)
    ]
    return _csv(("dataset", "variant", "class", "iou"), lines)


def _csv(columns: Sequence[str], lines: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
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
