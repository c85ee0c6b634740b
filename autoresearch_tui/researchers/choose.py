"""From settings to a researcher. What cannot work is said here, before a session begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autoresearch_tui.errors import UserError
from autoresearch_tui.researchers.base import Researcher
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


def _claude(settings: Settings, environ: Mapping[str, str]) -> Researcher:
    from autoresearch_tui.researchers.claude import Claude
    from autoresearch_tui.researchers.claude_client import NO_KEY, has_credentials

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
