"""The report as one HTML file that needs nothing beside it: to read, to send, to print."""

import base64
import re
from html import escape
from pathlib import Path

from regproxy.report.layout import Document, Entry, Grid, Section

_STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d9d9d9, #444); --faint: light-dark(#666, #aaa); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 80rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
nav a { margin-right: 1.2em; } .note { color: var(--faint); font-size: .9em; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .8em; text-align: right; white-space: nowrap; } thead { border-bottom: 1px solid; }
th.label, td.label { text-align: left; white-space: normal; } tr.break { border-top: 1px solid var(--line); }
tbody tr:hover { background: color-mix(in srgb, currentColor 7%, transparent); }
figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; background: #fff; }
""".strip()


def page(document: Document, directory: Path) -> str:
    """Returns the report as HTML, style and pictures within.

    Args:
        document: its pictures are PNG files by their paths below `directory`.
        directory: where the report stands.
    """
    links = (f'<a href="#{escape(part.name)}">{escape(part.title)}</a>' for part in document.sections)
    blocks = [
        f"<h1>{escape(document.title)}</h1>",
        *map(_paragraph, document.sentences),
        _table(document.runs),
        f"<nav>{' '.join(links)}</nav>",
        *(block for section in document.sections for block in _section(section, directory)),
    ]
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{_STYLE}\n</style>"
    )
    body = "\n".join(blocks)
    return f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def _section(section: Section, directory: Path) -> list[str]:
    blocks = [f'<h2 id="{escape(section.name)}">{escape(section.title)}</h2>']
    blocks += map(_paragraph, section.sentences)
    if section.points:
        blocks.append("<ul>" + "".join(f"<li>{_text(point)}</li>" for point in section.points) + "</ul>")
    if section.grid:
        blocks.append(_table(section.grid))
        blocks += [f'<p class="note">{_text(note)}</p>' for note in section.grid.notes]
    return blocks + [_figure(directory / name) for name in section.pictures]


def _paragraph(sentence: str) -> str:
    return f"<p>{_text(sentence)}</p>"


def _text(sentence: str) -> str:
    return re.sub("`(.+?)`", r"<code>\1</code>", escape(sentence))  # as Markdown has it


def _table(grid: Grid) -> str:
    kinds = [' class="label"' if place < grid.labels else "" for place in range(len(grid.columns))]
    heads = "".join(f"<th{kind}>{escape(head)}</th>" for kind, head in zip(kinds, grid.header, strict=True))
    rows = []
    for index, line in enumerate(grid.lines):
        entries = "".join(f"<td{kind}>{_entry(one)}</td>" for kind, one in zip(kinds, line, strict=True))
        mark = ' class="break"' if index in grid.breaks else ""
        rows.append(f"<tr{mark}>{entries}</tr>")
    body = "\n".join(rows)
    head = f"<thead><tr>{heads}</tr></thead>"
    return f'<div class="wide"><table>\n{head}\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return f"<b>{text}</b>" if entry.bold else text


def _figure(path: Path) -> str:
    data, name = base64.b64encode(path.read_bytes()).decode(), escape(path.stem)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{name}">'
        f'<figcaption class="note">{name}</figcaption></figure>'
    )
