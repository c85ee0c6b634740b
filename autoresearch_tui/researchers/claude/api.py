"""One question to Claude, or to any server with the Messages API, answered through a tool.

One call makes one request, and up to three more to have an unusable answer fixed. It retries nothing else: the loop
that calls it does the waiting. Only a complete answer is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct, field

from autoresearch_tui.lab.settings import ResearcherSettings
from autoresearch_tui.researchers.base import ResearcherError, Usage
from autoresearch_tui.researchers.claude import client as claude_client
from autoresearch_tui.researchers.claude import errors, models, prices
from autoresearch_tui.researchers.claude.stream import Collector, Reply
from autoresearch_tui.researchers.claude.tool import RefusedInput
from autoresearch_tui.researchers.prompt import Prompt
from autoresearch_tui.session.stream_marks import RESULT, part
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_text

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

T = TypeVar("T")

REPAIRS = 3
SHORTER = 0.25
"""The share of the history in a question's short form."""
_CANCELLED = "cancelled"
_NO_LIST = {400, 404, 405, 422, 501}


class Limits(Frozen):
    """Seconds for one request: in total, and with nothing but pings. `tick` is how often they are checked."""

    wall: float
    silence: float
    tick: float = 0.1


class Question(Frozen, Generic[T]):
    """The prompt, and the `tool` to be called; `cut` makes the prompt for a server with less room.

    `read` turns the tool's input into the answer, or raises RefusedInput.
    """

    prompt: Prompt
    cut: Callable[[], Prompt]
    tool: Mapping[str, Any]
    read: Callable[[object], T]


class _Call(Struct):
    """One question on its way. `began` and `last_event` belong to the current request."""

    say: Callable[[str], None]
    cancelled: threading.Event
    clock: Callable[[], float]
    began: float = 0.0
    last_event: float = 0.0
    over: bool = False
    usage: Usage = field(default_factory=Usage)

    def on_event(self, text: str = "") -> None:
        self.last_event = self.clock()
        if text and not self.over:
            self.say(clean_text(text))

    def begin(self) -> None:
        self.began = self.last_event = self.clock()


class Api:
    """The Messages API, streamed. Called from one worker thread at a time."""

    def __init__(
        self,
        settings: ResearcherSettings,
        *,
        environ: Mapping[str, str] = os.environ,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wanted = settings.model
        self._style = models.Style(settings.effort, settings.thinking)
        self._environ = dict(environ)
        self._limits = limits or Limits(settings.timeout_seconds, settings.silence_seconds)
        self._clock = clock
        self._redact = claude_client.redactor(self._environ)
        self._host = claude_client.host(self._environ)
        self._prices = prices.load(self._environ)
        self._dialect: models.Dialect | None = None
        self._unbilled = Usage()

    def ask(
        self, question: Question[T], say: Callable[[str], None], cancelled: threading.Event
    ) -> tuple[T, Usage] | None:
        """The answer and its cost, or None if cancelled. Raises ResearcherError, with its cost."""
        if cancelled.is_set():
            return None
        call = _Call(lambda text: say(self._redact(text)), cancelled, self._clock)
        call.begin()
        try:
            work = partial(self._converse, call, question)
            answer = watched(work, partial(self._trouble, call), self._limits.tick)
        except GivenUp as reason:
            if str(reason) == _CANCELLED:
                self._unbilled += call.usage
                return None
            raise self._failed(ResearcherError(str(reason), outage=True), call) from None
        except ResearcherError as error:
            if error.fatal:
                # the next attempt chooses the model again
                self._dialect = None
            raise self._failed(error, call) from None
        finally:
            call.over = True
        return answer, self._bill(call)

    def _trouble(self, call: _Call) -> str:
        now = self._clock()
        if call.cancelled.is_set():
            return _CANCELLED
        if now - call.began > self._limits.wall:
            return f"{self._host} took longer than {self._limits.wall:g} s"
        if now - call.last_event > self._limits.silence:
            return f"{self._host} sent nothing for {self._limits.silence:g} s"
        return ""

    def _failed(self, error: ResearcherError, call: _Call) -> ResearcherError:
        text = clean_text(self._redact(str(error)))
        usage = self._bill(call)
        return ResearcherError(text, fatal=error.fatal, retry_after=error.retry_after, usage=usage, outage=error.outage)

    def _bill(self, call: _Call) -> Usage:
        """The cost of this call, and of earlier calls that were cancelled."""
        usage, self._unbilled = self._unbilled + call.usage, Usage()
        return usage

    async def _converse(self, call: _Call, question: Question[T]) -> T:
        async with claude_client.connect(self._environ, self._limits.wall) as client:
            if self._dialect is None:
                call.begin()
                self._dialect = await self._introduce(client)
            try:
                return await self._rounds(client, call, question, question.prompt)
            except errors.TooLong:
                call.on_event("\n[too long: once more with a shorter history]\n")
                return await self._rounds(client, call, question, question.cut())

    async def _introduce(self, client: AsyncAnthropic) -> models.Dialect:
        """The model to use and its capabilities, as the server reports them."""
        import anthropic

        info: models.Info | None = None
        try:
            if self._wanted:
                info = (await client.models.retrieve(self._wanted)).to_dict()
            else:
                page = await client.models.list(limit=1000)
                info = models.choose([model.to_dict() for model in page.data or ()])
        except anthropic.APIStatusError as error:
            if error.status_code not in _NO_LIST:
                raise self._translated(error, self._wanted) from None
            if not self._wanted:
                raise ResearcherError(
                    f"{self._host} does not list its models; set researcher.model", fatal=True
                ) from None
        except Exception as error:
            raise self._translated(error, self._wanted) from None
        return models.dialect(self._wanted or str(info and info["id"]), info, self._style)

    async def _rounds(self, client: AsyncAnthropic, call: _Call, question: Question[T], prompt: Prompt) -> T:
        """Asks, and asks again for a fix if the answer cannot be used."""
        rounds: list[tuple[Reply, str]] = []
        reason = ""
        for _ in range(REPAIRS + 1):
            answer = await self._ask(client, call, prompt, question.tool, rounds)
            try:
                return _read(answer, question)
            except RefusedInput as refused:
                reason = str(refused)
            call.on_event(f"\n{part(RESULT, f'sent back: {reason}')}\n")
            rounds.append((answer, reason))
        raise ResearcherError(f"no usable answer in {REPAIRS + 1}; the last one: {reason}")

    async def _ask(
        self,
        client: AsyncAnthropic,
        call: _Call,
        prompt: Prompt,
        tool: Mapping[str, Any],
        rounds: list[tuple[Reply, str]],
    ) -> Reply:
        """One answer; for a server that does not know a parameter, switches to the plain dialect."""
        assert self._dialect is not None
        plain = models.Dialect(self._dialect.model)
        try:
            return await self._stream(client, call, models.request(self._dialect, prompt, tool, rounds))
        except errors.UnknownParameter as error:
            if self._dialect == plain:
                raise
            call.on_event(f"\n[{error}; continuing in the plain dialect]\n")
        self._dialect = plain
        return await self._stream(client, call, models.request(plain, prompt, tool, rounds))

    async def _stream(self, client: AsyncAnthropic, call: _Call, body: dict[str, object]) -> Reply:
        collector = Collector()
        call.begin()
        try:
            stream = await client.messages.create(**body)  # type: ignore[call-overload]
            async with stream:
                async for event in stream:
                    call.on_event(collector.feed(event.to_dict(warnings=False)))
            answer = collector.answer()
        except Exception as error:
            raise self._translated(error, str(body["model"])) from None
        finally:
            spent = self._cost(collector.tokens)
            call.usage += spent
            call.on_event(_cost_line(spent))
        return _whole(answer, collector.complete)

    def _translated(self, error: Exception, model: str) -> ResearcherError:
        return errors.translate(error, model, self._host, self._redact)

    def _cost(self, tokens: prices.Tokens) -> Usage:
        model = self._dialect.model if self._dialect else ""
        usd = prices.cost(self._prices, model, tokens) if tokens != prices.Tokens() else 0.0
        return Usage(tokens.all_input, tokens.output, usd)


def _cost_line(spent: Usage) -> str:
    """The cost of a request, for the stream on the screen."""
    usd = "" if spent.usd is None else f" · ${spent.usd:.4f}"
    return f"\n── {spent.input_tokens:,} tokens in, {spent.output_tokens:,} out{usd} ──\n" if spent.input_tokens else ""


def _whole(answer: Reply, complete: bool) -> Reply:
    """Returns the answer if it ended properly. Raises ResearcherError otherwise."""
    match answer.stop_reason:
        case "tool_use" | "end_turn" | "stop_sequence" if complete:
            return answer
        case "max_tokens":
            raise ResearcherError("the answer was cut off at its length limit (max_tokens)")
        case "model_context_window_exceeded":
            raise errors.TooLong("the request leaves the model no room for an answer", fatal=True)
        case "refusal":
            raise ResearcherError("the model declined to answer (refusal)")
        case None:
            raise ResearcherError("the answer ended before it was whole", outage=True)
        case other:
            raise ResearcherError(f"the answer ended with {other}, and not with a call of the tool")


def _read(answer: Reply, question: Question[T]) -> T:
    given = answer.call(question.tool["name"])
    if given is None:
        raise RefusedInput("There is no complete call of the tool.")
    return question.read(given)


_ENDING = 0.3


class GivenUp(Exception):
    """The work was abandoned; the text says why."""


class _Work(Generic[T]):
    """Runs the work in its own thread and event loop. It is abandoned, not joined, if a name lookup hangs."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._given_up = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self.done = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = asyncio.run(self._main())
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()

    async def _main(self) -> T:
        with self._lock:
            if self._given_up:
                raise asyncio.CancelledError
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        return await self._work()

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True
            loop, task = self._loop, self._task
        if loop is not None and task is not None:
            # closed because it has ended
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)


def watched(work: Callable[[], Coroutine[Any, Any, T]], trouble: Callable[[], str], tick: float) -> T:
    """The result of `work`. Calls `trouble` each tick, and raises GivenUp if it returns a text."""
    running = _Work(work)
    threading.Thread(target=running.run, name="researcher", daemon=True).start()
    while not running.done.wait(tick):
        reason = trouble()
        if reason:
            running.give_up()
            running.done.wait(_ENDING)
            raise GivenUp(reason)
    if running.error is not None:
        raise running.error
    return running.result  # type: ignore[return-value]
