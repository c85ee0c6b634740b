"""Claude as a researcher."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache, partial

from msgspec.structs import replace

from autoresearch_tui.lab.editable import Change
from autoresearch_tui.researchers.base import Brief, Proposal
from autoresearch_tui.researchers.claude import tool
from autoresearch_tui.researchers.claude.api import SHORTER, Api, Question
from autoresearch_tui.researchers.prompt import build


class Claude:
    """Proposes through the Messages API. Called from one worker thread at a time."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._last: tuple[int, Change] = (-1, {})

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """Returns one proposal, or None if cancelled. Raises ResearcherError, with its cost."""
        if cancelled.is_set():
            return None
        # read in this thread, as the repository is not for the other one, which may be left behind
        brief = replace(brief, files_at=cache(brief.files_at))
        number, files = self._last
        ask = partial(build, brief, refused=files if number == brief.number else {})
        definition = tool.definition(brief.editable)
        question = Question(
            ask(),
            partial(ask, history_share=SHORTER),
            definition,
            lambda given: tool.read(given, brief.files, brief.editable),
        )
        answered = self._api.ask(question, say, cancelled)
        if answered is None:
            return None
        proposal, usage = answered
        self._last = (brief.number, proposal.files)
        return replace(proposal, usage=usage)
