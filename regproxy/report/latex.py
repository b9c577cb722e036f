"""The tables as LaTeX, for a paper to \\input."""

from regproxy.report.layout import Document, Entry, Grid, Section

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
    "[": "{[}",  # after a line's end it would open that command's option
    "]": "{]}",
}
_ESCAPES = str.maketrans(_SPECIALS)


def latex(document: Document) -> str:
    """Returns a table environment for every grid of the report; what was run stands in comments above."""
    comments = [document.title, *document.sentences, *_runs(document.runs)]
    comments.append(r"Preamble: \usepackage{booktabs,graphicx,amssymb}")
    blocks = ["\n".join("% " + " ".join(comment.split()) for comment in comments)]
    blocks += [_table(document.name, section) for section in document.sections if section.grid]
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Returns text that LaTeX prints as it stands, on one line."""
    return " ".join(text.split()).translate(_ESCAPES)


def _runs(grid: Grid) -> list[str]:
    return [
        "; ".join(f"{head}: {entry.text}" for head, entry in zip(grid.header, line, strict=True))
        for line in grid.lines
    ]


def _table(name: str, section: Section) -> str:
    grid = section.grid
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape(section.title)}}}",
        rf"\label{{tab:{name}-{section.name}}}",
        # Wide tables shrink to the line, others keep their size.
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{'l' * grid.labels}{'r' * (len(grid.columns) - grid.labels)}}}",
        r"\toprule",
        _line([escape(head) for head in grid.header]),
        r"\midrule",
    ]
    for index, line in enumerate(grid.lines):
        lines += [r"\midrule"] if index in grid.breaks else []
        lines.append(_line([_entry(entry) for entry in line]))
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\smallskip{{\footnotesize {escape(text)}\par}}" for text in _texts(section)]
    return "\n".join([*lines, r"\end{table}"])


def _texts(section: Section) -> tuple[str, ...]:
    return (*section.sentences, *section.grid.notes)


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    return rf"\textbf{{{text}}}" if entry.bold else text


def _line(texts: list[str]) -> str:
    return " & ".join(texts) + r" \\"
