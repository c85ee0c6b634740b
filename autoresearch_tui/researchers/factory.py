"""Makes researchers, critics and authors from settings. Settings that cannot work fail here, before a session
begins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from autoresearch_tui.lab.settings import ResearcherSettings, Settings, critic_as_researcher
from autoresearch_tui.researchers.base import Author, Brief, Critic, Criticism, Proposal, Researcher, ResearcherError
from autoresearch_tui.util.errors import UserError

if TYPE_CHECKING:
    from autoresearch_tui.researchers.agents.program import Program
    from autoresearch_tui.researchers.claude.api import Api

DIGEST_SECONDS = 300.0
"""The limit for the digest, after which the session ends."""

_NO_KEY_FOR_CRITIC = 'the critic has no API key: set ANTHROPIC_API_KEY, or choose `review.critic` = { kind = "search" }'

Wrap = Callable[[Sequence[str], Path], Sequence[str]]


def make(settings: Settings, environ: Mapping[str, str], *, wrap: Wrap | None = None) -> Researcher:
    """The researcher of `settings.researcher.kind`. Raises UserError if it could not propose anything.

    `wrap` puts an agent's command into a sandbox: from the command and its working folder to the command to start. The
    API's package takes seconds to import and is not imported here.
    """
    chosen = settings.researcher
    if chosen.kind == "claude":
        from autoresearch_tui.researchers.claude.researcher import Claude

        return Claude(_api(chosen, environ))
    if chosen.kind == "command":
        from autoresearch_tui.researchers.agents.researcher import Command

        return Command(_program(chosen, environ, wrap, "researcher.command"))
    from autoresearch_tui.researchers.search.researcher import Search

    return Search()


def make_critic(settings: Settings, environ: Mapping[str, str], *, wrap: Wrap | None = None) -> Critic | None:
    """The critic of `settings.review.critic`, if there is one. Raises UserError if it could not judge anything.

    `wrap` as in :func:`make`, for the critic's own command.
    """
    kind = settings.review.critic.kind
    if not kind:
        return None
    chosen = critic_as_researcher(settings)
    if kind == "claude":
        from autoresearch_tui.researchers.claude.critic import ClaudeCritic

        return ClaudeCritic(_api(chosen, environ, _NO_KEY_FOR_CRITIC))
    if kind == "command":
        from autoresearch_tui.researchers.agents.critic import CommandCritic

        return CommandCritic(_program(chosen, environ, wrap, "review.critic.command"))
    from autoresearch_tui.researchers.search.critic import RuleCritic

    return RuleCritic()


def make_author(settings: Settings, environ: Mapping[str, str], *, wrap: Wrap | None = None) -> Author:
    """The author of the digest: the researcher. Raises UserError if it cannot write one."""
    chosen = replace(settings.researcher, timeout_seconds=min(settings.researcher.timeout_seconds, DIGEST_SECONDS))
    if chosen.kind == "claude":
        from autoresearch_tui.researchers.claude.author import ClaudeAuthor

        return ClaudeAuthor(_api(chosen, environ))
    if chosen.kind == "command":
        from autoresearch_tui.researchers.agents.author import CommandAuthor

        return CommandAuthor(_program(chosen, environ, wrap, "researcher.command"))
    return offline_author()


def offline_author() -> Author:
    from autoresearch_tui.researchers.search.author import TemplateAuthor

    return TemplateAuthor()


def problem(settings: Settings, environ: Mapping[str, str]) -> str:
    """Why no researcher can propose anything, and the remedy; empty if one can."""
    try:
        make(settings, environ)
    except UserError as error:
        return str(error)
    return ""


def make_or_missing(settings: Settings, environ: Mapping[str, str], *, wrap: Wrap | None = None) -> Researcher:
    """:func:`make`, or, if that fails, a researcher that raises the reason, so that the loop pauses with it."""
    why = problem(settings, environ)
    return MissingResearcher(why) if why else make(settings, environ, wrap=wrap)


class MissingResearcher:
    """In place of a researcher or critic that cannot work: raises the reason, while the baseline runs."""

    def __init__(self, why: str) -> None:
        self._why = why

    def propose(self, _brief: Brief, _say: Callable[[str], None], _cancelled: threading.Event) -> Proposal | None:
        raise ResearcherError(f"{self._why}; quit with q, fix it, and come back", fatal=True)

    def judge(self, *_: object) -> Criticism | None:
        raise ResearcherError(f"{self._why}; quit with q, fix it, and come back", fatal=True)


class ByFront:
    """A researcher that asks the one of the brief's front."""

    def __init__(self, usual: Researcher, own: Mapping[int, Researcher]) -> None:
        """`own`: by front, from 0; `usual` proposes for the others."""
        self._usual, self._own = usual, own

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        front = brief.front.number if brief.front is not None else 0
        return self._own.get(front, self._usual).propose(brief, say, cancelled)


def _api(chosen: ResearcherSettings, environ: Mapping[str, str], no_key: str = "") -> Api:
    """Raises UserError if no request could be made; `no_key` is the message without a key."""
    from autoresearch_tui.researchers.claude.api import Api
    from autoresearch_tui.researchers.claude.client import NO_KEY, STAND_IN, has_credentials

    if environ.get("ANTHROPIC_BASE_URL") == STAND_IN:
        from autoresearch_tui.researchers.claude import stand_in

        environ = {**environ, "ANTHROPIC_BASE_URL": stand_in.url()}
    if not has_credentials(environ):
        raise UserError(no_key or NO_KEY)
    return Api(chosen, environ=environ)


def _program(chosen: ResearcherSettings, environ: Mapping[str, str], wrap: Wrap | None, key: str) -> Program:
    """The program of `chosen.command`. Raises UserError with the settings' key if it cannot be started."""
    from autoresearch_tui.researchers.agents.process import Limits
    from autoresearch_tui.researchers.agents.program import Program, find

    if not chosen.command:
        raise UserError(f"`{key}` is empty", 'for example ["claude", "-p"]')
    if find(chosen.command, environ) is None:
        raise UserError(f"`{key}`: {chosen.command[0]!r} is not on PATH", "install it, or give its whole path")
    limits = Limits(chosen.timeout_seconds, chosen.silence_seconds)
    return Program(chosen.command, environ=environ, limits=limits, wrap=wrap, keys=chosen.env)
