"""Drawings as SVG inside a page: no styles of their own, unique names, colours of the page."""

import re
from html import escape

_COLOURS = {"#000000": "currentColor", "#ffffff": "var(--paper)", "#dddddd": "var(--rule)"}
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.DOTALL)
_STYLE = re.compile(r' style="([^"]*)"')
_NAMES = re.compile(r'(?<= id=")|(?<=xlink:href="#)|(?<=url\(#)')


def inline_svg(drawing: str, *, prefix: str, title: str, text: str) -> str:
    """A drawing of matplotlib as an element for a page whose policy forbids inline styles.

    Args:
        drawing: the SVG document.
        prefix: made part of every id, since a page holds many drawings.
        title, text: its name and description, for those who do not see it.
    """
    body = _DROPPED.sub("", drawing[drawing.index("<svg") :])
    head, body = body.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    body = _STYLE.sub(_as_attributes, body)
    for colour, own in _COLOURS.items():
        body = body.replace(f'"{colour}"', f'"{own}"')
    body = _NAMES.sub(f"{prefix}-", body)
    body = re.sub(r"\s*\n\s*", " ", body).replace("> <", "><").strip()
    names = f'aria-labelledby="{prefix}-title" aria-describedby="{prefix}-text"'
    return (
        f'<svg {box[0] if box else ""} role="img" {names} focusable="false" '
        'fill="currentColor">'
        f'<title id="{prefix}-title">{escape(title)}</title>'
        f'<desc id="{prefix}-text">{escape(text)}</desc>{body}'
    )


def _as_attributes(match: re.Match[str]) -> str:
    pairs = (item.split(":", 1) for item in match[1].split(";") if ":" in item)
    kept = ((name.strip(), value.strip()) for name, value in pairs)
    return "".join(f' {name}="{value}"' for name, value in kept if name != "font-family")
