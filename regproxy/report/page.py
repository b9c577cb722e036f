"""Render the report as one HTML file that needs no other file: to read, to send, to print."""

import base64
import re
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup, escape

from regproxy.report.layout import Document

_TEMPLATE = """{%- macro table(table) %}
<div class="wide"><table>
<thead><tr>
{%- for header in table.headers %}<th{{ label(loop, table) }}>{{ header }}</th>{% endfor -%}
</tr></thead>
<tbody>
{% for line in table.lines %}
<tr{% if loop.index0 in table.breaks %} class="break"{% endif %}>
{%- for text, bold in line %}<td{{ label(loop, table) }}>
{%- if bold %}<b>{{ text }}</b>{% else %}{{ text }}{% endif %}</td>{% endfor -%}
</tr>
{% endfor %}
</tbody>
</table></div>
{% endmacro -%}
{% macro label(loop, table) %}{% if loop.index0 < table.labels %} class="label"{% endif %}{% endmacro -%}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ document.title }}</title>
<style>
:root { color-scheme: light dark; --line: light-dark(#d9d9d9, #444); --faint: light-dark(#666, #aaa); }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 80rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
nav a { margin-right: 1.2em; } .note { color: var(--faint); font-size: .9em; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .8em; text-align: right; white-space: nowrap; } thead { border-bottom: 1px solid; }
th.label, td.label { text-align: left; white-space: normal; } tr.break { border-top: 1px solid var(--line); }
tbody tr:hover { background: color-mix(in srgb, currentColor 7%, transparent); }
figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; background: #fff; }
</style>
</head>
<body>
<h1>{{ document.title }}</h1>
{% for text in document.sentences %}<p>{{ text | code }}</p>{% endfor %}
{{ table(document.runs) }}
<nav>
{%- for section in document.sections %}<a href="#{{ section.name }}">{{ section.title }}</a> {% endfor -%}
</nav>
{% for section in document.sections %}
<h2 id="{{ section.name }}">{{ section.title }}</h2>
{% for text in section.sentences %}<p>{{ text | code }}</p>{% endfor %}
{% if section.points %}
<ul>{% for text in section.points %}<li>{{ text | code }}</li>{% endfor %}</ul>
{% endif %}
{% if section.table %}
{{ table(section.table) }}
{% for text in section.table.notes %}<p class="note">{{ text | code }}</p>{% endfor %}
{% endif %}
{% for picture in section.pictures %}
<figure><img src="data:image/png;base64,{{ picture.path | base64 }}" alt="{{ picture.caption }}">
<figcaption class="note">{{ picture.caption | code }}</figcaption></figure>
{% endfor %}
{% endfor %}
</body>
</html>
"""


def page(document: Document, directory: Path) -> str:
    """Return the report as HTML that contains its style and pictures.

    Args:
        document: its pictures are PNG files, with paths relative to `directory`.
        directory: folder of the report.
    """
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["code"] = _code
    environment.filters["base64"] = lambda path: base64.b64encode((directory / path).read_bytes()).decode()
    return environment.from_string(_TEMPLATE).render(document=document)


def _code(sentence: str) -> Markup:
    return Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(escape(sentence))))  # backquotes as in Markdown
