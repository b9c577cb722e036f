"""Run all benchmarks: `python -m benchmarks` (make bench).

They write benchmarks/RESULTS.md and results.json, on CUDA RESULTS-cuda.md and results-cuda.json.
"""

import json
from pathlib import Path

from benchmarks import loader, loss, paint, predict, predict_files, prepare, scaling, train_step
from benchmarks.measure import machine, settings_of


def main() -> None:
    settings = settings_of(__doc__)
    modules = (loss, paint, train_step, predict, predict_files, loader, prepare, scaling)
    measured_on = machine(settings)
    sections = []
    for module in modules:
        print(f"\n{module.__name__}", flush=True)
        sections.append(module.run(settings))
    about = ", ".join(f"{key} {value}" for key, value in measured_on.items())
    suffix = "-cuda" if settings.on_cuda else ""
    folder = Path("benchmarks")
    text = "\n".join(section.markdown() for section in sections)
    page = (
        f"# Benchmarks\n\n`make bench`: {about}.\n\n"
        f"Ratios are medians over rounds in which the methods take turns in one process.\n\n{text}"
    )
    record = {"machine": measured_on, "sections": {section.title: section.rows for section in sections}}
    for path, content in (
        (folder / f"RESULTS{suffix}.md", page),
        (folder / f"results{suffix}.json", json.dumps(record, indent=1) + "\n"),
    ):
        path.write_text(content, encoding="utf-8")
        print(f"-> {path}")


if __name__ == "__main__":
    main()
