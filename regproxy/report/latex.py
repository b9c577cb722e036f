"""Render the tables of the report as LaTeX, to be read into a paper with \\input."""

from regproxy.report.layout import Document, Section

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{char: f"\\{char}" for char in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "×": r"$\times$",
        "–": "--",
        "−": "$-$",
        "†": r"$^\dagger$",
        "✓": r"$\checkmark$",
        **{char: f"${char}$" for char in "<>|"},
        **{char: f"{{{char}}}" for char in "[]"},  # after `\\` a bracket would start an optional argument
    }
)


def latex(document: Document) -> str:
    """Return a table environment for every section with a table; comments at the top describe the runs."""
    comments = [document.title, *document.sentences]
    for line in document.runs.lines:
        pairs = zip(document.runs.headers, line, strict=True)
        comments.append("; ".join(f"{header}: {cell.text}" for header, cell in pairs))
    comments.append(r"Preamble: \usepackage{booktabs,graphicx,amssymb}")
    blocks = ["\n".join("% " + " ".join(comment.split()) for comment in comments)]
    blocks += [_table(document.name, section) for section in document.sections if section.table]
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Return text on one line, with every special character escaped for LaTeX."""
    return " ".join(text.split()).translate(_ESCAPES)


def _table(name: str, section: Section) -> str:
    table = section.table
    headers, *lines = (" & ".join(texts) + r" \\" for texts in table.grid(escape, bold=r"\textbf{{{}}}"))
    for index in reversed(table.breaks):
        lines.insert(index, r"\midrule")
    texts = (*section.sentences, *table.notes)
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{escape(section.title)}}}",
            rf"\label{{tab:{name}-{section.name}}}",
            # Shrink only tables that are wider than the text.
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{'l' * table.labels}{'r' * (len(table.columns) - table.labels)}}}",
            r"\toprule",
            headers,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            *(rf"\par\smallskip{{\footnotesize {escape(text)}\par}}" for text in texts),
            r"\end{table}",
        ]
    )
