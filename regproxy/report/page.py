"""Render the report as one HTML file that needs no other file: to read, to send, to print."""

import base64
import json
import re
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from regproxy.drawing.style import FAINT, INK
from regproxy.report.layout import Document, ExplorerImage, Picture

TEMPLATES = Path(__file__).parent / "templates"


def page(document: Document, directory: Path) -> str:
    """Return the report as HTML that contains its style, scripts and pictures.

    Args:
        document: its pictures are PNG files; an SVG file beside one is shown instead, in the page's colours.
        directory: folder of the report; paths of pictures are relative to it.
    """
    environment = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=FileSystemLoader(TEMPLATES),
    )
    environment.filters["code"] = _code
    environment.filters["image"] = lambda picture: _image(picture, directory)
    environment.filters["payload"] = _payload
    has_explorer = any(section.explorer for section in document.sections)
    scripts = ("tables.js", "explorer.js") if has_explorer else ("tables.js",)
    return environment.get_template("report.html.jinja").render(
        document=document,
        style=Markup(_read("report.css")),
        script=Markup("".join(map(_read, scripts))),
    )


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _code(sentence: str) -> Markup:
    return Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(escape(sentence))))  # backquotes as in Markdown


def _image(picture: Picture, directory: Path) -> Markup:
    """Return an inline SVG that follows the page's colours, or an <img> with the PNG."""
    file, label = directory / picture.path, escape(picture.caption)
    if not file.with_suffix(".svg").is_file():
        data = base64.b64encode(file.read_bytes()).decode()
        return Markup(f'<img src="data:image/png;base64,{data}" alt="{label}">')
    svg = file.with_suffix(".svg").read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :].replace(INK, "var(--ink)").replace(FAINT, "var(--rule)")
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def _payload(images: tuple[ExplorerImage, ...]) -> Markup:
    """Return the explorer's images as JSON that cannot end the script element it stands in."""
    text = json.dumps([asdict(image) for image in images], separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
