"""Claude as the author of a digest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from msgspec.structs import replace

from autoresearch_tui.researchers import digest_prompt
from autoresearch_tui.researchers.base import Brief, Page
from autoresearch_tui.researchers.claude.api import SHORTER, Api, Question
from autoresearch_tui.researchers.claude.tool import RefusedInput

TOOL: Mapping[str, Any] = {
    "name": digest_prompt.TOOL_NAME,
    "description": "Hand in the page.",
    "input_schema": {
        "type": "object",
        "properties": {"text": {"type": "string", "description": "The page, in Markdown."}},
        "required": ["text"],
    },
}


class ClaudeAuthor:
    """Writes through the Messages API. Called from one worker thread at a time."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def write(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Page | None:
        """Returns the page, or None if cancelled. Raises ResearcherError, with its cost."""
        ask = partial(digest_prompt.build, replace(brief, files_at=cache(brief.files_at)))
        question = Question(ask(), partial(ask, history_share=SHORTER), TOOL, _read)
        answered = self._api.ask(question, say, cancelled)
        return Page(*answered) if answered is not None else None


def _read(given: object) -> str:
    if text := digest_prompt.read(given):
        return text
    raise RefusedInput("`text` must be the page.")
