"""Claude as a critic."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

from msgspec.structs import replace

from autoresearch_tui.researchers import critic_prompt
from autoresearch_tui.researchers.base import Brief, Criticism, Proposal
from autoresearch_tui.researchers.claude.api import SHORTER, Api, Question
from autoresearch_tui.researchers.claude.tool import RefusedInput
from autoresearch_tui.session.ends import Opinion

TOOL: Mapping[str, Any] = {
    "name": critic_prompt.TOOL_NAME,
    "description": "Give your opinion on the proposal. Nothing else that you write is read.",
    "input_schema": {
        "type": "object",
        "properties": {
            "opinion": {"type": "string", "enum": [*critic_prompt.OPINIONS]},
            "reasons": {"type": "string", "description": "Why, in at most three sentences of plain text."},
        },
        "required": ["opinion", "reasons"],
    },
}


class ClaudeCritic:
    """Judges through the Messages API. Called from one worker thread at a time."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def judge(
        self,
        brief: Brief,
        proposal: Proposal,
        risks: Sequence[str],
        say: Callable[[str], None],
        cancelled: threading.Event,
    ) -> Criticism | None:
        """Returns an opinion, or None if cancelled. Raises ResearcherError, with its cost."""
        if too_long := critic_prompt.too_long(brief, proposal):
            return Criticism(Opinion.UNSURE, too_long)
        brief = replace(brief, files_at=cache(brief.files_at))
        ask = partial(critic_prompt.build, brief, proposal, risks)
        answered = self._api.ask(Question(ask(), partial(ask, history_share=SHORTER), TOOL, _read), say, cancelled)
        if answered is None:
            return None
        criticism, usage = answered
        return replace(criticism, usage=usage)


def _read(given: object) -> Criticism:
    found = critic_prompt.read(given)
    if isinstance(found, str):
        raise RefusedInput(found)
    return found
