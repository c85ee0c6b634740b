"""Checks of the terminal, its clipboard, and tmux around it."""

from __future__ import annotations

from collections.abc import Mapping

from autoresearch_tui.doctor.item import Item, ok, warning
from autoresearch_tui.doctor.machine import ask

LEAST_COLUMNS, LEAST_LINES = 80, 24
_SLOW_ESCAPE = 50
# `set-clipboard external`, tmux's default, does not pass text copied inside it (OSC 52) to the terminal.
_WANTED = {"mouse": "on", "focus-events": "on", "set-clipboard": "on"}


def terminal(environ: Mapping[str, str], size: tuple[int, int] | None, encoding: str) -> Item:
    """Kind, colours, locale and size (columns, lines; None if the output is no terminal)."""
    kind = environ.get("TERM", "")
    found, remedies = [], []
    if kind in ("", "dumb", "unknown"):
        found.append(f"TERM={kind or '(not set)'}: no cockpit can be drawn")
        remedies.append("export TERM=xterm-256color, or use --headless")
    else:
        found.append(kind)
        colours, remedy = _colours(environ, kind)
        found.append(colours)
        remedies += [remedy] if remedy else []
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    words = (locale or encoding).lower().replace("-", "")
    found.append(f"locale {locale}" if locale else f"no locale, {encoding}")
    if "utf8" not in words:
        remedies.append("export LANG=C.UTF-8: lines and curves need UTF-8")
    if size is None:
        found.append("the output is no terminal now")
    else:
        found.append(f"{size[0]}×{size[1]}")
        if size[0] < LEAST_COLUMNS or size[1] < LEAST_LINES:
            remedies.append(f"make the window {LEAST_COLUMNS}×{LEAST_LINES} or larger")
    text = ", ".join(found)
    return warning("terminal", text, "; ".join(remedies)) if remedies else ok("terminal", text)


def _colours(environ: Mapping[str, str], kind: str) -> tuple[str, str]:
    if environ.get("NO_COLOR"):
        return "no colours (NO_COLOR)", ""
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") or kind.endswith("-direct"):
        return "16 million colours", ""
    if "256" in kind or kind.startswith(("alacritty", "foot", "ghostty", "kitty", "wezterm")):
        return "256 colours", ""
    return "16 colours", "export COLORTERM=truecolor if your terminal has more colours"


def clipboard(environ: Mapping[str, str]) -> Item:
    """Whether the terminal takes copied text (OSC 52)."""
    name = "clipboard"
    program = environ.get("TERM_PROGRAM", "")
    if program == "Apple_Terminal":
        return warning(
            name, "Terminal.app takes nothing from programs", "use iTerm2, Ghostty, kitty or WezTerm to copy"
        )
    if environ.get("VTE_VERSION"):
        text = "a terminal of GNOME's kind takes nothing from programs"
        return warning(name, text, "use Ghostty, kitty, foot, Alacritty or WezTerm to copy, or hold Shift and select")
    if environ.get("STY"):
        return warning(name, "screen keeps what is copied to itself", "use tmux, or no multiplexer: none is needed")
    if program == "iTerm.app":
        return ok(name, "iTerm2, where Settings > General > Selection lets applications access the clipboard")
    kind = environ.get("TERM", "")
    known = ("kitty", "wezterm", "alacritty", "foot", "ghostty")
    if kind.removeprefix("xterm-").startswith(known) or environ.get("WT_SESSION") or program in ("WezTerm", "ghostty"):
        return ok(name, "this terminal takes what is copied")
    return ok(name, "by OSC 52, where your terminal takes it; it does not say whether it does")


def tmux(environ: Mapping[str, str]) -> Item:
    """Settings of the surrounding tmux."""
    if not environ.get("TMUX"):
        return ok("tmux", "not in it, and not needed: the loop continues when the terminal goes away")
    options: dict[str, str] = {}
    for scope in ("-s", "-g", "-gw"):
        code, output = ask(["tmux", "show-options", scope], environ)
        if code != 0:
            return warning("tmux", f"does not answer: {output}", "check that `tmux` is on PATH and its server runs")
        options |= dict(line.split(" ", 1) for line in output.splitlines() if " " in line)
    shown = [*_WANTED, "allow-passthrough", "escape-time"]
    found = ", ".join(f"{name} {options[name]}" for name in shown if name in options)
    lines = [f"set -g {name} {value}" for name, value in _WANTED.items() if options.get(name) != value]
    delay = options.get("escape-time", "")
    if delay.isdigit() and int(delay) > _SLOW_ESCAPE:
        lines.append("set -g escape-time 10")
    if not lines:
        return ok("tmux", found)
    wanted = "; ".join(f"`{line}`" for line in lines)
    return warning("tmux", found, f"for mouse, copying and a quick Escape put into ~/.tmux.conf: {wanted}")
