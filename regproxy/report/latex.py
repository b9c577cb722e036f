"""Render the tables of the report as LaTeX, to be read into a paper with \\input."""

from regproxy.report.layout import Document, Entry, Section, TextTable

_SPECIALS = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "×": r"$\times$",
    "–": "--",
    "−": "$-$",
    "†": r"$^\dagger$",
    "✓": r"$\checkmark$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    "[": "{[}",  # after `\\` a bracket would start an optional argument
    "]": "{]}",
}
_ESCAPES = str.maketrans(_SPECIALS)


def latex(document: Document) -> str:
    """Return a table environment for every section with a table; comments at the top describe the runs."""
    comments = [document.title, *document.sentences, *_runs(document.runs)]
    comments.append(r"Preamble: \usepackage{booktabs,graphicx,amssymb}")
    blocks = ["\n".join("% " + " ".join(comment.split()) for comment in comments)]
    blocks += [_table(document.name, section) for section in document.sections if section.table]
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Return text on one line, with every special character escaped for LaTeX."""
    return " ".join(text.split()).translate(_ESCAPES)


def _runs(table: TextTable) -> list[str]:
    return [
        "; ".join(f"{header}: {entry.text}" for header, entry in zip(table.headers, line, strict=True))
        for line in table.lines
    ]


def _table(name: str, section: Section) -> str:
    table = section.table
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(section.title)}}}",
        rf"\label{{tab:{name}-{section.name}}}",
        # Shrink only tables that are wider than the text.
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{'l' * table.labels}{'r' * (len(table.columns) - table.labels)}}}",
        r"\toprule",
        _line([escape(header) for header in table.headers]),
        r"\midrule",
    ]
    for index, line in enumerate(table.lines):
        lines += [r"\midrule"] if index in table.breaks else []
        lines.append(_line([_entry(entry) for entry in line]))
    lines += [r"\bottomrule", r"\end{tabular}}"]
    texts = (*section.sentences, *table.notes)
    lines += [rf"\par\smallskip{{\footnotesize {escape(text)}\par}}" for text in texts]
    return "\n".join([*lines, r"\end{table}"])


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return rf"\textbf{{{text}}}" if entry.bold else text


def _line(texts: list[str]) -> str:
    return " & ".join(texts) + r" \\"
