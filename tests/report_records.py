"""Write records of a small profile for the tests of the report, and read the tables made from them."""

import csv
import io
import json
from pathlib import Path

import numpy as np

from regproxy.config.profile import Profile, Row
from regproxy.config.profile_file import load_profile
from regproxy.eval.image_confusions import SparseMatrix, pack
from regproxy.report.aggregate import Score, collect
from regproxy.report.data_files import csv_text
from regproxy.report.layout import TextTable

VARIANTS = {(variant.name, variant.data.name): variant for variant in load_profile("smoke").variants}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = (
    Row(label=("ViT", "-"), variant="linear", published={"ade20k": 38.76}),
    Row(label=("RegProxy", "4×4"), variant="region-4x4", published={"ade20k": 40.0, "cityscapes": 75.08}),
)
COSTS = {
    "linear": {"params": 5_712_342, "gflops_paper": 3.8179, "gmacs": 10.4629},
    "region-4x4": {"params": 5_779_494, "gflops_paper": 3.8871, "gmacs": 10.5528},
}


def write(root: Path, name: str, miou: float, *, run: dict | None = None, **changes: object) -> Path:
    """Write the records of the trial `<data set>/<variant>/<seed>`; return the file of the result record."""
    dataset, variant, seed = name.split("/")
    result = {
        "format": 1,
        "run_fingerprint": "run",
        "dataset": dataset,
        "variant": variant,
        "seed": int(seed),
        "miou": miou,
        "num_images": 4,
        **changes,
    }
    record = {
        "format": 1,
        "fingerprint": "run",
        "variant": VARIANTS[variant, dataset].to_dict() if (variant, dataset) in VARIANTS else {},
        "steps": 8,
        "workers": 1,
        "data_manifest": "d" * 64,
        "git_commit": f"{COMMIT}-dirty",
        **(run or {}),
    }
    result_file, run_dir = root / f"results/p/{name}.json", root / "runs/p" / name
    for path, content in ((result_file, result), (run_dir / "run.json", record)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    lines = [{"step": step, "loss": 2.0 / step, "learning_rate": 1e-3} for step in (2, 4, 6)]
    lines.append({"step": 8, "loss": 0.2, "val_miou": miou})
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return result_file


def gather(profile: Profile, root: Path) -> dict[tuple[str, str], Score]:
    return collect(profile, results_dir=root / "results", runs_dir=root / "runs")


def write_seeds(root: Path, dataset: str, variant: str, mious: tuple[float, ...], **changes: object) -> None:
    for seed, miou in enumerate(mious):
        write(root, f"{dataset}/{variant}/{seed}", miou, **changes)


def image_matrices(ious: tuple[float, ...], num_images: int = 12) -> dict[str, object]:
    """Return the keys of a result record whose classes have these IoUs, in every image alike but for noise.

    Row k of a matrix has 1000 pixels of class k; the wrong ones are predicted as a last class without pixels.
    """
    random, size = np.random.default_rng(0), len(ious) + 1
    matrices = []
    for _ in range(num_images):
        correct = np.rint(1000 * (np.array(ious) + random.normal(0, 0.002, len(ious)))).astype(np.int64)
        matrix = np.diag(np.append(correct, 0))
        matrix[:-1, -1] = 1000 - correct
        matrices.append(SparseMatrix.of(matrix))
    return {
        "num_images": num_images,
        "classes": [f"class {k}" for k in range(size)],
        "confusion_per_image": pack(matrices, size),
    }


def texts(table: TextTable) -> list[list[str]]:
    return [[cell.text for cell in line] for line in table.lines]


def bold(table: TextTable, header: str) -> list[bool]:
    index = table.headers.index(header)
    return [line[index].bold for line in table.lines]


def rows(profile: Profile, scores: dict[tuple[str, str], Score]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(profile, scores, COSTS))))
