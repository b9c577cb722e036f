"""Print the report to a terminal; tables that are too wide are printed in parts."""

from dataclasses import replace

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regproxy.report.layout import Column, Document, TextTable

_GAP = 2  # characters between two columns


def print_report(document: Document, console: Console) -> None:
    """Print the report without its pictures. Texts are printed literally, never as rich markup."""
    for text in document.sentences:
        console.print(Text(text))
    for section in document.sections:
        if not (section.table or section.points or section.commands):
            continue
        console.print(Text(f"\n{section.title}", style="italic"))
        for text in (*section.sentences, *(f"- {point}" for point in section.points)):
            console.print(Text(text))
        for commands in section.commands:
            console.print(Text(commands))
        if section.table:
            for part in split(section.table, console.width):
                console.print(_rich_table(part))
            for note in section.table.notes:
                console.print(Text(note, style="dim"))


def split(table: TextTable, width: int) -> list[TextTable]:
    """Split a table into as few parts as possible of at most `width` characters; each repeats the labels.

    A part has at least one column beside the labels, even if it is then wider than `width`.
    """
    labels, parts, used = table.columns[: table.labels], [], width
    for column in table.columns[table.labels :]:
        if used + _width(column) > width:
            parts.append([*labels])
            used = _GAP + sum(map(_width, labels))
        parts[-1].append(column)
        used += _width(column)
    return [replace(table, columns=tuple(part)) for part in parts]


def _width(column: Column) -> int:
    return _GAP + max(cell_len(text) for text in (column.header, *column.texts))


def _rich_table(table: TextTable) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, header in enumerate(table.headers):
        justify = "left" if index < table.labels else "right"
        drawn.add_column(Text(header), justify=justify, overflow="fold")
    for index, line in enumerate(table.lines):
        texts = [Text(cell.text, style="bold" if cell.bold else "") for cell in line]
        drawn.add_row(*texts, end_section=index + 1 in table.breaks)
    return drawn
