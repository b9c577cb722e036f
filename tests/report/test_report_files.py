"""The report as Markdown, LaTeX, CSV, HTML and on the terminal."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser
from pathlib import Path

from report_records import COSTS, ROWS, gather, rows, texts, write_seeds
from rich.console import Console

from regproxy.config.profile import Profile, Row, Trend
from regproxy.report.data_files import CSV_COLUMNS, classes_csv, curves_csv, metrics
from regproxy.report.document import Figures, compose, write_report
from regproxy.report.latex import escape, latex
from regproxy.report.layout import Picture, row_label
from regproxy.report.markdown import markdown
from regproxy.report.page import page
from regproxy.report.tables import table_section
from regproxy.report.terminal import print_report, split

FIGURES = Figures(curves=[Picture("figures/a.png", "What one sees.")])


def test_csv_round_trip(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "region-4x4", (0.401234, 0.38, 0.41))
    lines = rows(profile, gather(profile, tmp_path))
    assert tuple(lines[0]) == CSV_COLUMNS
    assert [(line["variant"], line["dataset"]) for line in lines] == [
        (variant, data) for variant in ("linear", "region-4x4") for data in ("ade20k", "cityscapes")
    ]
    assert lines[2] == {
        "table": "t1",
        "row": "RegProxy 4×4",
        "variant": "region-4x4",
        "dataset": "ade20k",
        "metric": "miou",
        "seeds_found": "3",
        "seeds_wanted": "3",
        "median": "40.1234",
        "min": "38.0",
        "max": "41.0",
        "published": "40.0",
        "difference": "0.1234",
        "params": "5779494",
        "params_printed": "",
        "gflops": "3.8871",
        "gflops_printed": "",
        "gmacs": "10.5528",
        "boundary_iou": "",
        "region_entropy": "",
        "needs": "",
    }


def test_markdown_has_no_broken_tables(profile: Profile, tmp_path: Path) -> None:
    lines = (Row(label=("a|b", ""), needs="two\nlines"), *ROWS)
    table = dataclasses.replace(profile.tables[0], rows=lines)
    profile = dataclasses.replace(profile, tables=(table,), notes=("a note",))
    text = markdown(compose(profile, gather(profile, tmp_path), COSTS, FIGURES))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 2
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1
    assert "| a\\|b |" in text and "not run: needs two lines" in text
    assert "- a note" in text and "![What one sees.](figures/a.png)\n\nWhat one sees.\n" in text


def test_latex_is_balanced_and_escaped(profile: Profile, tmp_path: Path) -> None:
    assert escape("50 % of_a & {b}, 4×4 – −1 † ✓\\") == (
        r"50 \% of\_a \& \{b\}, 4$\times$4 -- $-$1 $^\dagger$ $\checkmark$\textbackslash{}"
    )
    trend = Trend(claim="4×4 above linear", better="region-4x4", than="linear")
    grouped = tuple(dataclasses.replace(row, group=row.variant) for row in ROWS)
    table = dataclasses.replace(profile.tables[0], title="Strides & more", rows=grouped)
    profile = dataclasses.replace(profile, tables=(table,), trends=(trend,))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38))
    text = latex(compose(profile, gather(profile, tmp_path), COSTS))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3  # table, trends, how it ran
    assert text.count(r"\midrule") == 4
    assert r"\caption{Strides \& more}" in text and r"\label{tab:p-t1}" in text
    assert "% data set: ADE20K layout; scored runs: 2 of 6; steps: 8;" in text
    assert text.count("{") == text.count("}")
    for body, columns in zip(re.findall(r"\\toprule(.*?)\\bottomrule", text, re.S), (11, 3, 8), strict=True):
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {columns}
    assert all(ord(char) < 128 for char in text.split(r"\begin{table}", 1)[1])


class Page(HTMLParser):
    """Check that elements are closed in order; collect the texts of each table and all pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.pictures: list[bytes] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            head, data = dict(attrs)["src"].split(",")
            assert head == "data:image/png;base64"
            self.pictures.append(base64.b64decode(data, validate=True))
        if tag in ("img", "meta"):
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def test_page_is_complete_in_one_file(profile: Profile, tmp_path: Path) -> None:
    lines = (Row(label=("<b>a&b", ""), needs="weights"), *ROWS)
    table = dataclasses.replace(profile.tables[0], title="Strides <i>", rows=lines)
    profile = dataclasses.replace(profile, tables=(table,), notes=("a <note> of `code`",))
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/a.png").write_bytes(b"\x89not really a PNG")
    document = compose(profile, gather(profile, tmp_path), COSTS, FIGURES)
    text = page(document, tmp_path)
    shown = Page(text)
    tables = [document.runs, *(section.table for section in document.sections if section.table)]
    assert shown.tables == [[table.headers, *texts(table)] for table in tables]
    assert shown.pictures == [b"\x89not really a PNG"]
    assert "a &lt;note&gt; of <code>code</code>" in text and "Strides &lt;i&gt;" in text
    assert not re.search(r"(?:src|href)=.(?!data:|#)|url\(|@import", text)


def test_files_are_complete(profile: Profile, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    document = write_report(profile, gather(profile, tmp_path), COSTS, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "classes.csv",
        "curves.csv",
        "metrics.json",
        "report.html",
        "tables.csv",
        "tables.md",
        "tables.tex",
    ]
    assert (out / "tables.md").read_text(encoding="utf-8") == markdown(document)
    assert (out / "tables.tex").read_text(encoding="utf-8") == latex(document)
    assert (out / "report.html").read_text(encoding="utf-8") == page(document, out)


def test_numbers_for_dvc(profile: Profile, tmp_path: Path) -> None:
    classes = profile.variants[0].data.classes
    iou = {"iou_per_class": [0.25, *[None] * (len(classes) - 1)], "classes": list(classes)}
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40), boundary_iou=0.3, **iou)
    write_seeds(tmp_path, "ade20k", "region-4x4", (0.41, 0.38))
    scores = gather(profile, tmp_path)
    assert metrics(scores) == {"ade20k.linear.miou": 40.0, "ade20k.linear.boundary_iou": 30.0}
    curve = curves_csv(scores).splitlines()
    assert curve[0] == "dataset,variant,step,loss,val_miou"
    assert curve[1] == "ade20k,linear,2,1.0," and curve[4] == "ade20k,linear,8,0.2,40.0"
    assert classes_csv(scores).splitlines()[1:3] == [
        f"ade20k,linear,{classes[0]},25.0",
        f"ade20k,linear,{classes[1]},",
    ]


def test_terminal_prints_texts_literally(profile: Profile, tmp_path: Path) -> None:
    lines = (Row(label=("[red]x", ""), needs="[bold]y"), *ROWS)
    table = dataclasses.replace(profile.tables[0], rows=lines)
    profile = dataclasses.replace(profile, tables=(table,), notes=("[i]note",))
    console = Console(file=io.StringIO(), width=200)
    print_report(
        compose(profile, gather(profile, tmp_path), COSTS, FIGURES),
        console,
    )
    shown = console.file.getvalue()
    assert all(text in shown for text in ("[red]x", "needs [bold]y", "- [i]note", "Output strides", "75.08"))
    assert "a.png" not in shown


def test_a_narrow_terminal_splits_wide_tables(profile: Profile, tmp_path: Path) -> None:
    write_seeds(tmp_path, "ade20k", "linear", (0.41, 0.38, 0.40))
    table = table_section(profile, profile.tables[0], gather(profile, tmp_path), COSTS).table
    assert split(table, 200) == [table]
    parts = split(table, 60)
    assert sum((part.columns[2:] for part in parts), ()) == table.columns[2:]
    assert all(part.columns[:2] == table.columns[:2] for part in parts)
    console = Console(file=io.StringIO(), width=60)
    print_report(compose(profile, gather(profile, tmp_path), COSTS), console)
    assert "40.00 (38.00–41.00)" in console.file.getvalue()
    assert split(table, 1)[0].columns == table.columns[:3]  # one column per part, although it is too wide


def test_pictures_label_a_variant_as_the_tables_do(profile: Profile) -> None:
    assert row_label(profile, "linear") == "ViT"
    assert row_label(profile, "region-4x4") == "RegProxy 4×4"
    assert row_label(profile, "unlisted") == "unlisted"
