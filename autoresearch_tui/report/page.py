"""A report as blocks, written as Markdown and as HTML. An agent's text is always escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from autoresearch_tui.util.frozen import Frozen

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!&+$-])")


class Heading(Frozen):
    """`level` is 1 to 3."""

    level: int
    text: str


class Paragraph(Frozen):
    text: str


class Bullets(Frozen):
    items: tuple[str, ...]


class Grid(Frozen):
    """A table; `right` has the indices of the columns with figures."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


class Code(Frozen):
    text: str
    language: str = ""


class Image(Frozen):
    """A picture: a file beside the page in Markdown, embedded in HTML."""

    path: str
    text: str
    svg: str


Block = Heading | Paragraph | Bullets | Grid | Code | Image


def markdown(blocks: Iterable[Block]) -> str:
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {_plain(text)}"
        case Paragraph(text):
            return _plain(text)
        case Bullets(items):
            return "\n".join(f"- {_plain(item)}" for item in items)
        case Code(text, language):
            # Longer than any run of backticks inside.
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
            return f"{fence}{language}\n{text.rstrip()}\n{fence}"
        case Image(path, text):
            return f"![{_plain(text)}]({path})"
        case Grid(header, rows, right):
            ruler = ["---:" if place in right else "---" for place in range(len(header))]
            lines = [_cells(map(_plain, header)), _cells(ruler), *(_cells(map(_plain, row)) for row in rows)]
            return "\n".join(lines)


def _cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text on one line, escaped for Markdown; figures stay readable in the source."""
    line = " ".join(text.split())
    if re.fullmatch(r"[+-]?[\d.,:%]*[\d%]", line):
        return line
    escaped = _SPECIAL.sub(r"\\\1", line)
    # Hyphens and plus signs matter only where a list could begin, underscores not inside a name.
    escaped = re.sub(r"(?<=\w)\\_(?=\w)", "_", escaped)
    escaped = re.sub(r"(?<!^)\\([-+!])", r"\1", escaped)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)


def page(title: str, blocks: Iterable[Block]) -> str:
    """The report as one self-contained HTML file: no script, no font, no network."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Bullets(items):
            return "<ul>\n" + "\n".join(f"<li>{html.escape(item)}</li>" for item in items) + "\n</ul>"
        case Code(text, language):
            return f"<pre>{_diff_html(text) if language == 'diff' else html.escape(text)}</pre>"
        case Image(_, _, svg):
            return f"<figure>{svg}</figure>"
        case Grid(header, rows, right):
            lines = ["<table>", f"<thead>{_row(header, right, 'th')}</thead>", "<tbody>"]
            return "\n".join([*lines, *(_row(row, right, "td") for row in rows), "</tbody>", "</table>"])


def _row(cells: Iterable[str], right: frozenset[int], tag: str) -> str:
    return (
        "<tr>"
        + "".join(
            f"<{tag}{' class=r' if place in right else ''}>{html.escape(cell)}</{tag}>"
            for place, cell in enumerate(cells)
        )
        + "</tr>"
    )


def _diff_html(text: str) -> str:
    names = {"+": "a", "-": "d", "@": "h"}
    lines = []
    for line in text.rstrip("\n").split("\n"):
        name = names.get(line[:1])
        safe = html.escape(line)
        lines.append(f"<span class={name}>{safe}</span>" if name else safe)
    return "\n".join(lines)


_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: .9rem; display: block; overflow-x: auto; }
th, td { text-align: left; padding: .2rem .7rem .2rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
.r { text-align: right; font-variant-numeric: tabular-nums; }
pre { overflow-x: auto; padding: .7rem; background: #8881; font: .85rem/1.4 ui-monospace, monospace; }
.a { background: #2da44e33; } .d { background: #cf222e33; } .h { color: #6e7781; }
"""
