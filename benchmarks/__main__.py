"""All benchmarks, one after the other: `python -m benchmarks` (make bench).

Writes benchmarks/RESULTS.md and benchmarks/results.json, on CUDA RESULTS-cuda.md and results-cuda.json.
"""

import json
from pathlib import Path

from benchmarks import loader, loss, paint, predict, prepare, scaling, train_step
from benchmarks.measure import machine, settings_of


def main() -> None:
    settings = settings_of(__doc__)
    parts = (loss, paint, train_step, predict, loader, prepare, scaling)
    taken_on = machine(settings)
    sections = []
    for part in parts:
        print(f"\n{part.__name__}", flush=True)
        sections.append(part.run(settings))
    about = ", ".join(f"{key} {value}" for key, value in taken_on.items())
    suffix = "-cuda" if settings.on_cuda else ""
    folder = Path("benchmarks")
    text = "\n".join(section.markdown() for section in sections)
    page = (
        f"# Benchmarks\n\n`make bench`: {about}.\n\n"
        f"Ratios are medians over rounds in which the ways take turns in one process.\n\n{text}"
    )
    record = {"machine": taken_on, "sections": {section.title: section.rows for section in sections}}
    for path, content in (
        (folder / f"RESULTS{suffix}.md", page),
        (folder / f"results{suffix}.json", json.dumps(record, indent=1) + "\n"),
    ):
        path.write_text(content, encoding="utf-8")
        print(f"-> {path}")


if __name__ == "__main__":
    main()
