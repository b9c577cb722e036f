"""The section on a search: which trial is the best, and what its table and its plot show."""

import dataclasses
from pathlib import Path

from smoke_profile import SMOKE_VARIANTS

from regproxy.config.profile_file import load_profile
from regproxy.config.search import Dimension
from regproxy.figures.search import search_section
from regproxy.report.document import Figures, write_report
from regproxy.runs.search_record import SearchTrial, read_result, write_result

SPACE = {
    "learning_rate": Dimension(low=1.0e-5, high=1.0, log=True),
    "region": Dimension(choices=((2, 2), (4, 4))),
    "warmup_steps": Dimension(low=0, high=4),
}
TRIALS = [
    SearchTrial(
        number=number,
        values={"learning_rate": rate, "region": [2, 2], "warmup_steps": number},
        fingerprint="f",
        state=state,
        steps=8,
        validations=((8, miou),) if miou else (),
        error=error,
    )
    for number, (rate, state, miou, error) in enumerate(
        [
            (1.0e-5, "finished", 0.2, None),
            (0.01, "finished", 0.4, None),
            (0.1, "stopped early", 0.5, None),
            (1.0, "failed", None, "the loss is nan | see"),
        ]
    )
]


def test_table_and_plot_show_every_trial(tmp_path: Path) -> None:
    profile = load_profile("smoke")
    search = dataclasses.replace(profile.search, space=SPACE, datasets=None)
    starts = [SMOKE_VARIANTS[name, "region-4x4"] for name in ("ade20k", "cityscapes")]
    trials = {"ade20k": TRIALS, "cityscapes": TRIALS[:1]}
    write_result(tmp_path / "result.json", "smoke", search, starts, trials)
    figures = tmp_path / "figures"
    figures.mkdir()
    section = search_section(profile, read_result(tmp_path / "result.json"), figures)
    assert section.table.headers == ["data set", "end", "trial", *SPACE, "steps", "mIoU"]
    texts = [[cell.text for cell in line] for line in section.table.lines]
    assert texts[1] == ["ADE20K layout", "finished", "1", "0.01", "2×2", "1", "8", "40.00"]
    assert texts[3][-1] == "–" and section.table.lines[3][1].detail == "the loss is nan | see"
    assert [index for index, line in enumerate(section.table.lines) if line[-1].bold] == [1, 4]
    assert section.table.breaks == (4,)
    assert "learning_rate from 1e-05 to 1, logarithmic; region in 2×2, 4×4" in section.sentences[0]
    assert "trial 1 with learning_rate 0.01, region 2×2, warmup_steps 1" in section.sentences[1]

    svg = (figures / "search.svg").read_text()
    assert ">1e−03<" in svg and "mathdefault" not in svg, "the axis has plain numbers"
    assert ">4×4<" in svg and ">warmup_steps<" in svg
    write_report(profile, {}, {}, tmp_path, figures=Figures(search=section))
    page = (tmp_path / "report.html").read_text()
    assert 'id="table-search" class="sortable"' in page and 'href="#search"' in page
    assert "| ADE20K layout | failed | 3 | 1 |" in (tmp_path / "tables.md").read_text()


def test_a_profile_without_a_search_has_no_section(tmp_path: Path) -> None:
    write_result(tmp_path / "result.json", "smoke")
    assert search_section(load_profile("smoke"), read_result(tmp_path / "result.json"), tmp_path) is None
