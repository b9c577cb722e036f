"""Render the report as Markdown."""

from regproxy.report.layout import Document, Section, TextTable


def markdown(document: Document) -> str:
    """Return the report as Markdown with pipe tables."""
    blocks = [f"# {document.title}", *document.sentences, _table(document.runs)]
    for section in document.sections:
        if not section.explorer:
            blocks += _section(section)
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> list[str]:
    blocks = [f"## {section.title}", *section.sentences]
    if section.points:
        blocks.append("\n".join(f"- {point}" for point in section.points))
    blocks += [f"```\n{commands}\n```" for commands in section.commands]
    if section.table:
        blocks += [_table(section.table), *section.table.notes]
    for picture in section.pictures:
        blocks += [f"![{_escape(picture.caption)}]({picture.path})", picture.caption]
    return blocks


def _table(table: TextTable) -> str:
    rule = ["---"] * table.labels + ["---:"] * (len(table.columns) - table.labels)
    headers, *lines = table.grid(_escape, bold="**{}**")
    return "\n".join("| " + " | ".join(line) + " |" for line in (headers, rule, *lines))


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
