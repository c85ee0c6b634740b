"""The digest: a page for the human, written on request or at the session's end, checked against the journal."""

from __future__ import annotations

import threading
from collections.abc import Callable

from msgspec.structs import replace

from autoresearch_tui.engine.proposing.asking import Background, check_spend_limits
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.git import GitError
from autoresearch_tui.researchers.base import Author, Page, ResearcherError, Usage
from autoresearch_tui.session import events as ev
from autoresearch_tui.session import limits, number_check
from autoresearch_tui.session.state import State
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_text, describe

LONGEST = 20_000
"""The most characters of a page."""
_WHY_LIMIT = 300


class DigestResult(Frozen):
    """A checked page, and its event."""

    text: str
    written: ev.DigestWritten


class Authors(Frozen):
    """Who writes the page: `researcher` if given, or `offline` if the researcher may not be asked or fails."""

    offline: Author
    researcher: Author | None = None


class Digests:
    """Writes one page at a time. Used in the engine's thread. Raises OSError, GitError."""

    def __init__(self, session: Session, authors: Authors | None, deliver: Callable[[DigestResult], None]) -> None:
        """Without authors no page is missing, and a requested one says that there is no author."""
        self._session = session
        self._authors = authors
        self._work: Background[DigestResult] = Background("digest", deliver)
        self._at_work: ev.DigestAsked | None = None
        self._result: DigestResult | None = None

    def take(self, result: DigestResult) -> None:
        self._result = result

    def cancel(self) -> None:
        """Stop writing."""
        self._work.cancel()

    def missing(self) -> bool:
        """Whether there are verdicts since the last page."""
        state = self._session.state
        return (
            self._authors is not None
            and state.verdicts > 1
            and (state.digest is None or state.digest.verdicts != state.verdicts)
        )

    def step(self) -> bool:
        """Save a finished page, or begin a requested one; False if neither is due."""
        if self._result is not None:
            write(self._session.files.digest, self._result.text)
            self._session.append(self._result.written)
            self._result = self._at_work = None
            return True
        state = self._session.state
        if state.digest_asked is None or self._at_work is not None:
            return False
        self._at_work = state.digest_asked
        self._work.start(lambda cancelled: self._page(state, cancelled))
        return True

    def _page(self, state: State, cancelled: threading.Event) -> DigestResult:
        """Runs in its own thread. The session's end waits for it, so even a bug of ours results in a page."""
        why = "this engine has no researcher to write one"
        try:
            if self._authors is not None:
                return self._written(self._authors, state, cancelled)
        except BaseException as error:
            why = f"a fault of autoresearch-tui: {type(error).__name__}: {error}"
        return DigestResult(f"# No digest\n\n{clean_text(why)}\n", ev.DigestWritten("", state.verdicts, 0, 0, why))

    def _written(self, authors: Authors, state: State, cancelled: threading.Event) -> DigestResult:
        """The researcher's page, or the offline one if anything fails."""
        session, usage = self._session, Usage()
        why = self._why_not(state) if authors.researcher is not None else ""
        page: Page | None = None

        def say(text: str) -> None:
            session.voices.say("digest", text)

        try:
            if authors.researcher is not None and not why:
                say("\n── digest ──\n")
                page = self._ask(authors.researcher, state, say, cancelled)
                usage = page.usage if page is not None else usage
        except ResearcherError as error:
            usage, why = error.usage, str(error)
        except (UserError, GitError, OSError) as error:
            why = str(error)
        except BaseException as error:  # an author is a plug-in
            why = f"the researcher failed: {type(error).__name__}: {error}"
        finally:
            session.voices.done("digest")
        author = session.lab.settings.researcher.kind if page is not None else "search"
        if page is None:
            page = self._offline_page(authors.offline, state, cancelled)
        return _result(state, page, author, describe(why, _WHY_LIMIT) if why else "", usage, *self._texts(state))

    def _why_not(self, state: State) -> str:
        """Why the researcher may not be asked; empty if it may."""
        settings, engine = self._session.lab.settings, state.engine
        try:
            check_spend_limits(settings.researcher, state)
        except UserError as error:
            return str(error)
        spent = limits.spent(state, timestamps.seconds(state.time))
        if engine is not None and engine.max_usd and spent >= engine.max_usd:
            return f"the session has cost ${spent:.2f}, and `limits.max_usd` is ${engine.max_usd:g}"
        return ""

    def _ask(self, author: Author, state: State, say: Callable[[str], None], cancelled: threading.Event) -> Page | None:
        brief = self._session.archive.brief(state, len(state.experiments), state.frontier_commit)
        return author.write(replace(brief, lessons=self._session.lessons.recall(state)), say, cancelled)

    def _offline_page(self, author: Author, state: State, cancelled: threading.Event) -> Page:
        try:
            return self._ask(author, state, lambda _: None, cancelled) or Page("")
        except (UserError, GitError, OSError) as error:
            return Page(f"Nothing can be said: {error}")

    def _texts(self, state: State) -> tuple[dict[int, str], str]:
        """The changed lines of each experiment's diff, and the best files: the sources of constants."""
        changed: dict[int, str] = {}
        for experiment in state.experiments:
            try:
                diff = self._session.files.run(experiment.number).diff.read_text("utf-8", "replace")
            except OSError:
                continue
            changed[experiment.number] = "\n".join(
                line[1:] for line in diff.splitlines() if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")
            )
        best = state.best or state.frontier
        try:
            files = self._session.archive.files(best.commit) if best is not None else {}
        except (GitError, KeyError, OSError):
            files = {}
        return changed, "\n".join(files.values())


def _result(
    state: State, page: Page, author: str, why: str, usage: Usage, changed: dict[int, str], settings: str
) -> DigestResult:
    checked = number_check.check(clean_text(page.text).strip()[:LONGEST], number_check.known(state, changed, settings))
    branch = state.session.branch if state.session else ""
    lines = [f"# Digest of {branch}", f"Written by {author} at {state.time[:16].replace('T', ' ')} UTC."]
    if why:
        lines[1] += f" Not by the researcher: {clean_text(why)}."
    note = f"{checked.numbers} numbers were held against the journal"
    if checked.missing:
        note += f"; those marked ? are not in it: {', '.join(dict.fromkeys(checked.missing))}"
    lines += [checked.text, f"{note}."]
    written = ev.DigestWritten(
        author,
        state.verdicts,
        checked.numbers,
        len(checked.missing),
        why,
        usage.input_tokens + usage.output_tokens,
        usage.usd,
    )
    return DigestResult("\n\n".join(lines) + "\n", written)
