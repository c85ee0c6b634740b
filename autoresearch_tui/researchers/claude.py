"""Claude as a researcher, or any server that speaks the Messages API.

One call makes one request, and up to three more to have an unusable answer mended. It repeats nothing else: the loop
that calls it does the waiting. An answer is used only when it arrived whole.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from autoresearch_tui.parts import RESULT, part
from autoresearch_tui.researchers import claude_client, claude_errors, claude_models, claude_prices, claude_tool
from autoresearch_tui.researchers.base import Brief, Proposal, ResearcherError, Usage
from autoresearch_tui.researchers.claude_stream import Answer, Collector
from autoresearch_tui.researchers.claude_watch import GivenUp, watched
from autoresearch_tui.researchers.prompt import TOOL_NAME, Prompt, build
from autoresearch_tui.settings import ResearcherSettings
from autoresearch_tui.text import clean_text

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

REPAIRS = 3
_SHORTER = 0.25
_CANCELLED = "cancelled"
_NO_LIST = {400, 404, 405, 422, 501}


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for one request: in all, and without anything but pings. `tick` is how often they are looked at."""

    wall: float
    silence: float
    tick: float = 0.1


@dataclass
class _Call:
    """One proposal on its way. `began` and `heard` belong to the request that is being made."""

    brief: Brief
    say: Callable[[str], None]
    cancelled: threading.Event
    clock: Callable[[], float]
    began: float = 0.0
    heard: float = 0.0
    over: bool = False
    usage: Usage = field(default_factory=Usage)

    def hear(self, text: str = "") -> None:
        """Something came in."""
        self.heard = self.clock()
        if text and not self.over:
            self.say(clean_text(text))

    def begin(self) -> None:
        """A new request."""
        self.began = self.heard = self.clock()


class Claude:
    """Proposes through the Messages API, streamed. Called from one worker thread at a time."""

    def __init__(
        self,
        settings: ResearcherSettings,
        *,
        environ: Mapping[str, str] = os.environ,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted = settings.model
        self._style = claude_models.Style(settings.effort, settings.thinking)
        self._environ = dict(environ)
        self._limits = limits or Limits(settings.timeout_seconds, settings.silence_seconds)
        self._clock = clock
        self._redact = claude_client.redactor(self._environ)
        self._host = claude_client.host(self._environ)
        self._prices = claude_prices.load(self._environ)
        self._dialect: claude_models.Dialect | None = None
        self._unbilled = Usage()
        self._last: tuple[int, Mapping[str, str]] = (-1, {})

    def propose(self, brief: Brief, say: Callable[[str], None], cancelled: threading.Event) -> Proposal | None:
        """One proposal, or None where it was cancelled. Raises ResearcherError, with what it cost."""
        if cancelled.is_set():
            return None
        # read in this thread, as the repository is not for the other one, which may be left behind
        brief = replace(brief, files_at=cache(brief.files_at))
        number, files = self._last
        refused = files if number == brief.number else {}
        prompt = build(brief, refused=refused)
        call = _Call(brief, lambda text: say(self._redact(text)), cancelled, self._clock)
        call.begin()
        try:
            work = partial(self._converse, call, prompt, refused)
            proposal = watched(work, partial(self._trouble, call), self._limits.tick)
        except GivenUp as reason:
            if str(reason) == _CANCELLED:
                self._unbilled += call.usage
                return None
            raise self._failed(ResearcherError(str(reason)), call) from None
        except ResearcherError as error:
            if error.fatal:
                # the model is chosen anew when asked again
                self._dialect = None
            raise self._failed(error, call) from None
        finally:
            call.over = True
        self._last = (brief.number, proposal.files)
        return replace(proposal, usage=self._bill(call))

    def _trouble(self, call: _Call) -> str:
        now = self._clock()
        if call.cancelled.is_set():
            return _CANCELLED
        if now - call.began > self._limits.wall:
            return f"{self._host} took longer than {self._limits.wall:g} s"
        if now - call.heard > self._limits.silence:
            return f"{self._host} sent nothing for {self._limits.silence:g} s"
        return ""

    def _failed(self, error: ResearcherError, call: _Call) -> ResearcherError:
        text = clean_text(self._redact(str(error)))
        return ResearcherError(text, fatal=error.fatal, retry_after=error.retry_after, usage=self._bill(call))

    def _bill(self, call: _Call) -> Usage:
        """What to report: this call, and calls before it that were cancelled."""
        usage, self._unbilled = self._unbilled + call.usage, Usage()
        return usage

    async def _converse(self, call: _Call, prompt: Prompt, refused: Mapping[str, str]) -> Proposal:
        async with claude_client.connect(self._environ, self._limits.wall) as client:
            if self._dialect is None:
                call.begin()
                self._dialect = await self._introduce(client)
            try:
                return await self._rounds(client, call, prompt)
            except claude_errors.TooLong:
                call.hear("\n[too long: once more with a shorter history]\n")
                return await self._rounds(client, call, build(call.brief, refused=refused, history_share=_SHORTER))

    async def _introduce(self, client: AsyncAnthropic) -> claude_models.Dialect:
        """The model to use and what it can do, as the server tells."""
        import anthropic

        info: claude_models.Info | None = None
        try:
            if self._wanted:
                info = (await client.models.retrieve(self._wanted)).to_dict()
            else:
                page = await client.models.list(limit=1000)
                info = claude_models.choose([model.to_dict() for model in page.data or ()])
        except anthropic.APIStatusError as error:
            if error.status_code not in _NO_LIST:
                raise self._translated(error, self._wanted) from None
            if not self._wanted:
                raise ResearcherError(
                    f"{self._host} does not list its models; set researcher.model", fatal=True
                ) from None
        except Exception as error:
            raise self._translated(error, self._wanted) from None
        return claude_models.dialect(self._wanted or str(info and info["id"]), info, self._style)

    async def _rounds(self, client: AsyncAnthropic, call: _Call, prompt: Prompt) -> Proposal:
        """Asks, and has what cannot be used mended."""
        rounds: list[tuple[Answer, str]] = []
        reason = ""
        for _ in range(REPAIRS + 1):
            answer = await self._ask(client, call, prompt, rounds)
            try:
                return _proposal(answer, call.brief.files)
            except claude_tool.RefusedInput as refused:
                reason = str(refused)
            call.hear(f"\n{part(RESULT, f'sent back: {reason}')}\n")
            rounds.append((answer, reason))
        raise ResearcherError(f"no usable proposal in {REPAIRS + 1} answers; the last one: {reason}")

    async def _ask(
        self, client: AsyncAnthropic, call: _Call, prompt: Prompt, rounds: list[tuple[Answer, str]]
    ) -> Answer:
        """One answer; a server that does not know a parameter is asked again in the plain dialect, from then on."""
        assert self._dialect is not None
        plain = claude_models.Dialect(self._dialect.model)
        try:
            return await self._stream(client, call, claude_models.request(self._dialect, prompt, rounds))
        except claude_errors.UnknownParameter as error:
            if self._dialect == plain:
                raise
            call.hear(f"\n[{error}; going on in the plain dialect]\n")
        self._dialect = plain
        return await self._stream(client, call, claude_models.request(plain, prompt, rounds))

    async def _stream(self, client: AsyncAnthropic, call: _Call, body: dict[str, object]) -> Answer:
        collector = Collector()
        call.begin()
        try:
            stream = await client.messages.create(**body)  # type: ignore[call-overload]
            async with stream:
                async for event in stream:
                    call.hear(collector.feed(event.to_dict(warnings=False)))
            answer = collector.answer()
        except Exception as error:
            raise self._translated(error, str(body["model"])) from None
        finally:
            spent = self._cost(collector.tokens)
            call.usage += spent
            call.hear(_said(spent))
        return _whole(answer, collector.complete)

    def _translated(self, error: Exception, model: str) -> ResearcherError:
        return claude_errors.translate(error, model, self._host, self._redact)

    def _cost(self, tokens: claude_prices.Tokens) -> Usage:
        rates = claude_prices.find(self._prices, self._dialect.model if self._dialect else "")
        usd = rates.cost(tokens) if rates else None if tokens != claude_prices.Tokens() else 0.0
        return Usage(tokens.all_input, tokens.output, usd)


def _said(spent: Usage) -> str:
    """What a request took, for whoever watches."""
    usd = "" if spent.usd is None else f" · ${spent.usd:.4f}"
    return f"\n── {spent.input_tokens:,} tokens in, {spent.output_tokens:,} out{usd} ──\n" if spent.input_tokens else ""


def _whole(answer: Answer, complete: bool) -> Answer:
    """The answer, where it ended as an answer should. Raises ResearcherError."""
    match answer.stop_reason:
        case "tool_use" | "end_turn" | "stop_sequence" if complete:
            return answer
        case "max_tokens":
            raise ResearcherError("the answer was cut off at its length limit (max_tokens)")
        case "model_context_window_exceeded":
            raise claude_errors.TooLong("the request leaves the model no room for an answer", fatal=True)
        case "refusal":
            raise ResearcherError("the model declined to answer (refusal)")
        case None:
            raise ResearcherError("the answer ended before it was whole")
        case other:
            raise ResearcherError(f"the answer ended with {other}, and not as a proposal")


def _proposal(answer: Answer, files: Mapping[str, str]) -> Proposal:
    given = answer.call(TOOL_NAME)
    if given is None:
        raise claude_tool.RefusedInput("There is no complete call of the tool.")
    return claude_tool.read(given, files)
