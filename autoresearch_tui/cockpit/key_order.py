"""Keys take effect in the order in which they arrive, even if many come in one packet."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message_pump import MessagePump

T = TypeVar("T")

# A key waits at most this long for the effects of the previous one.
_PATIENCE_SECONDS = 10.0
# Keys with less time than this between them are typed together.
_BREATH_SECONDS = 0.5
# A key is done after this many passes through the queues without a change of screen or focus.
_CALM = 2


class _Passage:
    """A callback that a pump reaches when it has handled the queue before it.

    It is a method, because Textual computes the signature of a new function or a partial every time.
    """

    def __init__(self, callback: Callable[..., object] | None, args: tuple[object, ...]) -> None:
        self.passed = asyncio.Event()
        self._callback, self._args = callback, args

    async def reached(self) -> None:
        try:
            if self._callback is not None:
                done = self._callback(*self._args)
                if asyncio.iscoroutine(done):
                    await done
        finally:
            self.passed.set()


class KeysInOrder(App[T], Generic[T]):
    """An App that passes a key on only when the previous one is done.

    Textual queues keys for the focused widget. Letters are inserted there at once, while bindings (Backspace, arrows,
    Enter, a screen's own keys) first travel up to the app. Over a slow line many keys arrive in one packet: the letters
    overtake the bindings, and keys meant for a dialog reach the screen below it. Here a key waits until the queues
    between the focus and the app are empty and screen and focus have settled. Consecutive letters into one field need
    no such wait.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrived: deque[events.Event] = deque()
        self._typing: asyncio.Task[None] | None = None
        self._unsettled = False
        self._field: DOMNode | None = None
        self._last: events.Event | None = None
        self._refused: events.Key | None = None

    def ignore_words(self) -> None:
        """Ignores text that is typed together with the current key, because that opened no dialog for it.

        The letters of a reason would run as keys. The same key again counts, and so do arrows and Escape.
        """
        self._refused = self._last if isinstance(self._last, events.Key) else None

    async def on_event(self, event: events.Event) -> None:
        """Queues keys and pastes. Mouse events are queued only behind earlier keys."""
        if event.is_forwarded or not isinstance(event, events.InputEvent | events.Paste):
            await super().on_event(event)
        elif isinstance(event, events.Key | events.Paste) or self._typing is not None:
            self._arrived.append(event)
            if self._typing is None:
                self._typing = asyncio.create_task(self._type())
        else:
            self._unsettled = True
            await super().on_event(event)

    async def _type(self) -> None:
        try:
            while self._arrived and not self._exit:
                field = self._text_field(self._arrived[0])
                if self._unsettled and (field is None or field is not self._field):
                    await self._settle()
                    field = self._text_field(self._arrived[0])
                self._unsettled, self._field = True, field
                await self._pass_through(self, self._take)
        finally:
            self._typing = None

    async def _take(self) -> None:
        """Handles the next event, and the text that follows it into the same field."""
        while not self._exit:
            event = self._arrived.popleft()
            if not self._is_refused(event):
                self._last = event
                await super().on_event(event)
            if not event.is_forwarded:
                # It was a binding, not text.
                self._field = None
            if self._field is None or not self._arrived or self._text_field(self._arrived[0]) is not self._field:
                return

    def _is_refused(self, event: events.Event) -> bool:
        refused, last = self._refused, self._last
        if refused is None or last is None or not isinstance(event, events.Key):
            return False
        typed = event.is_printable or event.key == "enter"
        if event.key == refused.key or not typed or event.time - last.time > _BREATH_SECONDS:
            self._refused = None
            return False
        self._last = event
        return True

    def _text_field(self, event: events.Event) -> DOMNode | None:
        """The field that takes `event` as text; None if it is not text."""
        focused = self.focused
        if focused is None or isinstance(event, events.Paste):
            return focused
        typed = isinstance(event, events.Key) and focused.check_consume_key(event.key, event.character)
        return focused if typed else None

    async def _settle(self) -> None:
        """Waits until the last key and its messages are handled, and a screen that it opened can take keys."""
        calm, before = 0, None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while calm < _CALM and not self._exit:
                    for pump in self._way_up():
                        await self._pass_through(pump)
                    now = (self.screen, self.focused)
                    calm, before = (calm + 1, now) if now == before else (0, now)
        self._unsettled = False

    def _way_up(self) -> list[MessagePump]:
        """From the focus up to the app: the path of a key that no widget takes."""
        return list((self.focused or self.screen).ancestors_with_self)

    @staticmethod
    async def _pass_through(pump: MessagePump, callback: Callable[..., object] | None = None, *args: object) -> None:
        """Waits until `pump` has handled its queue and then `callback`; does not wait for a pump that is closing."""
        passage = _Passage(callback, args)
        if pump.post_message(events.Callback(passage.reached)):
            await passage.passed.wait()
