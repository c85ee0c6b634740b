"""From settings to a researcher. What cannot work is said here, before a session begins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autoresearch_tui.errors import UserError
from autoresearch_tui.researchers.base import Brief, Proposal, Researcher, ResearcherError
from autoresearch_tui.settings import Settings

Wrap = Callable[[Sequence[str], Path], Sequence[str]]


def make(settings: Settings, environ: Mapping[str, str], *, wrap: Wrap | None = None) -> Researcher:
    """The researcher of `settings.researcher.kind`. Raises UserError where it could not propose anything.

    `wrap` puts an agent's command into a sandbox: the command and the folder that it works in, to the command to
    start. The API's package takes seconds to import and is not imported here.
    """
    chosen = settings.researcher
    if chosen.kind == "claude":
        return _claude(settings, environ)
    if chosen.kind == "command":
        return _command(settings, environ, wrap)
    from autoresearch_tui.researchers.search import Search

    return Search()


def problem(settings: Settings, environ: Mapping[str, str]) -> str:
    """Why nobody could propose anything, and the remedy; empty where somebody can."""
    try:
        make(settings, environ)
    except UserError as error:
        return str(error)
    return ""


def make_or_say(settings: Settings, environ: Mapping[str, str], *, wrap: Wrap | None = None) -> Researcher:
    """:func:`make`; where nobody can propose, a researcher that says so instead, so that the loop pauses with it."""
    why = problem(settings, environ)
    return Nobody(why) if why else make(settings, environ, wrap=wrap)


class Nobody:
    """Has no proposal and says why: the baseline runs, and the human sees what to do next."""

    def __init__(self, why: str) -> None:
        self._why = why

    def propose(self, _brief: Brief, _say: Callable[[str], None], _cancelled: threading.Event) -> Proposal | None:
        """Raises ResearcherError."""
        raise ResearcherError(f"{self._why}; leave with q, mend that, and come back", fatal=True)


def _claude(settings: Settings, environ: Mapping[str, str]) -> Researcher:
    from autoresearch_tui.researchers.claude import Claude
    from autoresearch_tui.researchers.claude_client import NO_KEY, STAND_IN, has_credentials

    if environ.get("ANTHROPIC_BASE_URL") == STAND_IN:
        from autoresearch_tui.researchers import stand_in

        environ = {**environ, "ANTHROPIC_BASE_URL": stand_in.url()}
    if not has_credentials(environ):
        raise UserError(NO_KEY)
    return Claude(settings.researcher, environ=environ)


def _command(settings: Settings, environ: Mapping[str, str], wrap: Wrap | None) -> Researcher:
    from autoresearch_tui.researchers.command import Command, find
    from autoresearch_tui.researchers.command_run import Limits

    command = settings.researcher.command
    if not command:
        raise UserError('`researcher.command` is empty; for example ["claude", "-p"]')
    if find(command, environ) is None:
        raise UserError(f"`researcher.command`: {command[0]!r} is not on PATH; install it, or give its whole path")
    limits = Limits(settings.researcher.timeout_seconds, settings.researcher.silence_seconds)
    return Command(command, environ=environ, limits=limits, wrap=wrap, keys=settings.researcher.env)
