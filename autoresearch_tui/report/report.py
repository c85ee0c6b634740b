"""The report of a session from its journal: what was tried, the results, the costs, and what to look at first."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from autoresearch_tui.lab.editable import Editable
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.lab.session_files import SessionFiles
from autoresearch_tui.report import chart as report_chart
from autoresearch_tui.report import devices, pareto
from autoresearch_tui.report.page import Block, Bullets, Code, Grid, Heading, Image, Paragraph, markdown, page
from autoresearch_tui.session import confirmation, draws, looks, statistics
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.cost import Cost, cost
from autoresearch_tui.session.ends import SCORED, Outcome
from autoresearch_tui.session.fold import recorded
from autoresearch_tui.session.prior_results import verified
from autoresearch_tui.session.state import Experiment, Stage, State
from autoresearch_tui.session.transfer import transfer
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.errors import UserError, in_line
from autoresearch_tui.util.frozen import Frozen
from autoresearch_tui.util.text import clean_line, clean_text

_DIFF_LINES = 1500
_DIGEST_CHARS = 24_000


def write_report(lab: Lab, tag: str, folder: Path) -> tuple[Path, ...]:
    """Writes the report of a session into `folder` and returns its files. Raises UserError."""
    files = lab.session(tag)
    records, state = recorded(files.journal)
    chart = report_chart.picture(state)
    blocks = story(state, records, best_diff(state, files), report_chart.to_svg(chart), digest(files))
    return write_files(folder, headline(state), blocks, chart)


def write_files(folder: Path, title: str, blocks: Sequence[Block], chart: report_chart.Picture) -> tuple[Path, ...]:
    """Writes a report in all its formats. Raises UserError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        texts = {"report.md": markdown(blocks), "report.html": page(title, blocks)}
        texts |= {block.path: block.svg for block in blocks if isinstance(block, Image)}
        for name, text in texts.items():
            write(folder / name, text)
        png = folder / "progress.png"
        drawn = report_chart.write_png(chart, png)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: the report cannot be written: {error.strerror}") from None
    return (*(folder / name for name in texts), *((png,) if drawn else ()))


def headline(state: State) -> str:
    """The session in one line."""
    name = state.session.branch if state.session else "no session"
    first, best = looks.beaten(state), state.best
    if best is None or best.value is None:
        return f"{name}: no score yet"
    return f"{name}: {best.value:.6f}" if first is None else f"{name}: {first:.6f} → {best.value:.6f}"


def digest(files: SessionFiles) -> str:
    """The session's digest; empty if there is none."""
    try:
        return clean_text(files.digest.read_bytes().decode("utf-8", "replace"))[:_DIGEST_CHARS]
    except OSError:
        return ""


def read_digest(lab: Lab, tag: str) -> str:
    """The session's digest. Raises UserError if there is none."""
    text = digest(lab.session(tag)).rstrip()
    if not text:
        path = lab.session(tag).digest
        raise UserError(f"{path}: no digest yet", "it is written when a session ends by itself, or by D in the cockpit")
    return text


def digest_blocks(text: str) -> Iterator[Block]:
    """The headings, lists and paragraphs of a Markdown digest."""
    for part in re.split(r"\n\s*\n", text.strip()):
        lines = part.splitlines()
        if lines and lines[0].startswith("#"):
            title = lines.pop(0)
            yield Heading(2 if title.startswith("# ") else 3, title.strip("# "))
        if lines and all(line.lstrip().startswith(("- ", "* ")) for line in lines):
            yield Bullets(tuple(line.lstrip()[2:] for line in lines))
        elif lines:
            yield Paragraph("\n".join(lines))


def story(state: State, records: tuple[ev.Record, ...], diff: str, svg: str, page: str = "") -> tuple[Block, ...]:
    """The whole report; `page` is the digest."""
    time = spent(records)
    blocks: list[Block] = [Heading(1, headline(state)), Paragraph(_summary(state, records))]
    first = look_at_first(state)
    if first:
        blocks += [Heading(2, "What to look at first"), Bullets(tuple(first))]
    blocks += digest_blocks(page)
    blocks += [Heading(2, "Progress"), Image("progress.svg", headline(state), svg)]
    blocks += pareto.section(state)
    blocks += [Heading(2, "What was kept"), _kept(state)]
    blocks += [Heading(2, "The best against the baseline"), *_diff(state, diff)]
    blocks += [Heading(2, "Time and cost"), Bullets(tuple(_cost(state, time)))]
    blocks += devices.section(state, records)
    if len({e.proposal.program for e in state.experiments}) > 1:
        blocks += [Heading(2, "Versions of the program"), _programs(state)]
    blocks += [Heading(2, "Everything that was tried"), _tried(state)]
    if state.shared:
        blocks += [Heading(2, "What other labs shared"), *_shared(state)]
    if state.prior:
        blocks += [Heading(2, "Before this session"), *_earlier(state)]
    if state.notes:
        blocks += [Heading(2, "Notes to the researcher"), Bullets(tuple(clean_line(note) for note in state.notes))]
    return tuple(blocks)


def baseline(state: State) -> Experiment | None:
    """The first experiment with a score."""
    return next((e for e in state.experiments if e.outcome in SCORED and e.value is not None), None)


def _summary(state: State, records: tuple[ev.Record, ...]) -> str:
    began, ended = records[0].time, records[-1].time
    count = Counter(e.status for e in state.experiments if e.outcome)
    total = sum(count.values())
    counts = ", ".join(f"{count[outcome]} {outcome.participle}" for outcome in Outcome if count[outcome])
    text = f"{clock(began)} to {clock(ended)} UTC, {span(timestamps.between(began, ended))}: {total} experiments"
    text += f" ({counts})." if counts else "."
    first, best = baseline(state), state.best
    if first is None or best is None or first.value is None or best.value is None:
        return text
    if (frontier := state.frontier) is not None and frontier.number != best.number:
        text += f" The search continues from {frontier.name}, not from the best."
    if best.number == first.number:
        return f"{text} The baseline, {first.value:.6f}, was not beaten."
    text = f"{text} The best is {best.name}, {clean_line(best.description)}: {best.value:.6f}"
    if (before := looks.beaten(state)) is None:
        return f"{text}. It was not compared with the baseline on one draw."
    gain = state.goal.gain(before, best.value)
    share = f" ({abs(gain / before):.2%})" if before else ""
    word = "better" if gain > 0 else "worse"
    if draws.fresh(state):
        return f"{text}, {word} than the baseline by {abs(gain):.6f}: the keeps' gains, each on one draw, added up."
    return f"{text}, {word} than the baseline's {before:.6f} by {abs(gain):.6f}{share}."


def look_at_first(state: State) -> list[str]:
    """What needs a human's attention, the most urgent first."""
    paused = state.paused
    items = (
        [f"Paused by the engine: {clean_line(paused.reason)}"] if paused is not None and paused.by == "engine" else []
    )
    items += [
        f"{e.name} waits for your answer: {clean_line(e.description)}" for e in state.waiting if e.stage is Stage.REVIEW
    ]
    if state.trouble is not None:
        items.append(
            f"Trouble since {clock(state.trouble_at)}: {clean_line(in_line(state.trouble.what, state.trouble.remedy))}"
        )
    if state.stopped is not None and state.stopped.why == "failed":
        items.append(f"The engine failed: {clean_line(state.stopped.detail)}")
    items += [
        f"{e.name} was refused by the referee: {clean_line(e.reason)} — {clean_line(e.description)}"
        for e in state.experiments
        if e.outcome == Outcome.INVALID
    ]
    if after := looks.after(state):
        items.append(f"{after[0].upper()}{after[1:]}: {clean_line(looks.result(state))}")
    if looks.spent(state) and looks.wear(state).gain:
        items.append(looks.sentence(state))
    if warning := statistics.overfitting(state):
        items.append(clean_line(warning))
    items += _transfers(state)
    items += [
        f'{e.name} was given "{e.overruled}" and is {e.outcome.participle} now: {clean_line(e.reason)}'
        for e in state.experiments
        if e.overruled and e.outcome
    ]
    doubtful = statistics.near_noise(state)
    if doubtful:
        measured = statistics.spread(state)
        by = f"{measured:.6f}, measured here" if measured is not None else "about 0.03 %, as is usual"
        names = ", ".join(state.experiments[number].name for number in doubtful)
        items.append(f"Kept within the noise of equal runs ({by}); worth another run: {names}")
    items += _unconfirmed(state)
    items += _risky(state)
    items += [
        f"{e.name} was kept by a score that does not go with its own log: {clean_line('; '.join(e.score.doubts))}"
        for e in state.experiments
        if e.outcome == Outcome.KEEP and e.score is not None and e.score.doubts
    ]
    causes = Counter(clean_line(e.reason) for e in state.experiments if e.status == Outcome.CRASH and e.reason)
    items += [f"{count} crashes have one cause: {cause}" for cause, count in causes.most_common(3) if count > 1]
    return items


def _transfers(state: State) -> list[str]:
    """Kept experiments whose gain does not hold at a larger scale, and the best one's result there."""
    kept = ((e, transfer(state, e)) for e in state.experiments if e.outcome == Outcome.KEEP)
    return [
        f"{e.name} {clean_line(its.words)} — {clean_line(e.description)}"
        for e, its in kept
        if its is not None and (not its.holds or e is state.best)
    ]


def _unconfirmed(state: State) -> list[str]:
    """Experiments that seem better than the frontier but were not kept, for lack of a confirming run."""
    best, found = state.frontier, []
    for e in state.experiments:
        discarded = e.outcome == Outcome.DISCARD and e.verdict is not None and e.verdict.error is not None
        if best is None or e.commit == best.commit or not (discarded or e.stage is Stage.CONFIRMING):
            continue
        known = confirmation.against_frontier(state, e)
        # Settled if a human decided, a bound forbids it, or a confirming run failed.
        settled = e.overruled or e.decided or (e.score and e.score.beyond) or confirmation.failed(state, e)
        if known.gain > 0 and not settled:
            found.append(f"{e.name} by {known.gain:.6f} ± {known.error:.6f}")
    if best is None or not found:
        return []
    return [f"Better than {best.name}, but not confirmed; worth another run: {', '.join(found)}"]


def _risky(state: State) -> list[str]:
    """Experiments kept with a risk in the diff that no human had approved."""
    return [
        f"{e.name} was kept with a risk in its diff, approved by {clean_line(e.approved_by)}: "
        + "; ".join(clean_line(flag) for flag in e.proposal.flags)
        for e in state.experiments
        if e.outcome == Outcome.KEEP and e.proposal.flags and not e.approved_by.startswith("human")
    ]


def _kept(state: State) -> Block:
    rows = kept_rows(state)
    return Grid(kept_header(state), rows, KEPT_FIGURES) if rows else Paragraph("Nothing yet.")


KEPT_FIGURES, TRIED_FIGURES = frozenset({1, 2, 3}), frozenset({2, 3})


def kept_header(state: State) -> tuple[str, ...]:
    return ("", _metric(state), "gain", "GiB", "description", "commit", "approved by")


def kept_rows(state: State) -> tuple[tuple[str, ...], ...]:
    gains = statistics.gains(state)
    return tuple(
        (
            e.name,
            score(e.value),
            f"{gains[e.number]:+.6f}" if e.number in gains else "",
            f"{e.memory_gb:.1f}",
            clean_line(e.description),
            e.commit[:7],
            clean_line(e.approved_by),
        )
        for e in state.experiments
        if e.outcome == Outcome.KEEP
    )


def _tried(state: State) -> Block:
    header, rows = tried_header(state), tried_rows(state)
    if devices.several(state):
        where = (clean_line(e.device) for e in state.experiments)
        header, rows = (*header, "device"), tuple((*row, name) for row, name in zip(rows, where, strict=True))
    return Grid(header, rows, TRIED_FIGURES)


def tried_header(state: State) -> tuple[str, ...]:
    return ("", "", _metric(state), "minutes", "description", "why")


def tried_rows(state: State) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            e.name,
            getattr(e.status, "participle", e.status),
            score(e.value),
            _minutes(e),
            clean_line(e.description),
            clean_line(e.reason) if e.outcome != Outcome.KEEP or e.overruled else "",
        )
        for e in state.experiments
    )


def _earlier(state: State) -> list[Block]:
    """The lab's own table and branches as they were when the session began, unchecked."""
    flagged = sum(1 for each in state.prior if each.flags)
    note = f"{len(state.prior)} results from {clean_line(state.prior_source)} and the lab's branches, as they stood"
    note += f" when the session began; {flagged} of them are flagged." if flagged else " when the session began."
    if state.prior_left_out:
        note += f" {state.prior_left_out:,} older ones are left out."
    rows = tuple(
        (
            clean_line(each.name),
            clean_line(each.status),
            score(each.value),
            clean_line(each.description),
            clean_line("; ".join(each.flags)),
        )
        for each in state.prior
    )
    return [Paragraph(note), Grid(("", "", _metric(state), "description", "flags"), rows, frozenset({2}))]


def _shared(state: State) -> list[Block]:
    """Other labs' results, and those that were tried here."""
    note = f"{len(state.shared)} results of other labs, by their own word. A score here is in the table above alone."
    if state.shared_left_out:
        note += f" {state.shared_left_out:,} more are left out."
    here = {e.proposal.origin: verified(e) for e in state.experiments if e.proposal.origin}
    rows = tuple(
        (
            clean_line(each.name),
            clean_line(each.status),
            score(each.value),
            clean_line(each.description),
            clean_line("; ".join((*each.flags, *([here[each.name]] if each.name in here else [])))),
        )
        for each in state.shared
    )
    return [Paragraph(note), Grid(("", "", _metric(state), "description", "here"), rows, frozenset({2}))]


def _programs(state: State) -> Block:
    rows = []
    for version in dict.fromkeys(e.proposal.program for e in state.experiments):
        under = [e for e in state.experiments if e.proposal.program == version]
        scores = [e.value for e in under if e.outcome in SCORED and e.value is not None]
        rows.append(
            (
                version or "unknown",
                f"{under[0].name} to {under[-1].name}",
                str(sum(e.outcome == Outcome.KEEP for e in under)),
                "" if (best := state.goal.best(scores)) is None else score(best),
            )
        )
    return Grid(("version", "experiments", "kept", "best"), tuple(rows), frozenset({2, 3}))


def _cost(state: State, time: Spent) -> list[str]:
    where = f" on {time.devices} devices" if time.devices > 1 else ""
    each = f", {span(time.device / time.runs)} a run" if time.runs else ""
    items = [
        f"Device time: {span(time.device)} of training and scoring in {time.runs} runs{where}{each}",
        f"Wall time: {span(time.total)}; something was in training or being scored for {span(time.busy)} of it, "
        f"{time.share:.0%}",
    ]
    if time.idle:
        items.append(f"An engine at work and no run: {span(time.idle)}")
    if time.stopped:
        items.append(f"No engine at work: {span(time.stopped)}")
    tokens = sum(e.proposal.tokens for e in state.experiments)
    if tokens:
        items.append(f"Researcher: {tokens:,} tokens in proposals")
    return items + _money(cost(state))


def _money(known: Cost) -> list[str]:
    """Dollars, as far as prices are known."""
    items = []
    if known.researcher_usd:
        items.append(f"Researcher: ${known.researcher_usd:.2f} as far as prices are known")
    if known.accelerator_usd:
        hours = f"{known.device_hours:.2f} device hours, those between runs included"
        items.append(f"Accelerators: ${known.accelerator_usd:.2f} for {hours}")
    if known.usd:
        limit = f" of ${known.max_usd:g}" if known.max_usd else ""
        each = f", ${known.per_keep:.2f} for each kept improvement" if known.per_keep is not None else ""
        items.append(f"Together: ${known.usd:.2f}{limit}{each}")
    if known.projected is not None and known.usd:
        items.append(f"At the end that was asked for: about ${known.projected:.2f}")
    return items


def best_diff(state: State, files: SessionFiles) -> str:
    """The best experiment's files against the baseline's, as they were trained."""
    first, best = baseline(state), state.best
    if first is None or best is None or first.number == best.number or state.session is None:
        return ""
    parts: list[str] = []
    plain = Editable(state.session.editable).plain
    trained = [files.run(e.number).as_trained(plain) for e in (first, best)]
    for path in dict.fromkeys((*trained[0], *trained[1])):
        try:
            old, new = (there[path].read_text("utf-8") if path in there else "" for there in trained)
        except (OSError, UnicodeDecodeError):
            continue
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), f"a/{path}", f"b/{path}", lineterm="")
        parts += lines
    return clean_text("\n".join(parts))


def _diff(state: State, diff: str) -> list[Block]:
    best = state.best
    if best is None or not diff:
        return [Paragraph("There is no difference to show.")]
    lines = diff.split("\n")
    first = baseline(state)
    note = f"The files as they were trained: git diff {first.commit[:7] if first else ''} {best.commit[:7]}"
    blocks: list[Block] = [Paragraph(note), Code("\n".join(lines[:_DIFF_LINES]), "diff")]
    if len(lines) > _DIFF_LINES:
        blocks.append(Paragraph(f"{len(lines) - _DIFF_LINES} more lines are left out here."))
    return blocks


def _metric(state: State) -> str:
    return clean_line(state.session.metric) if state.session else "score"


def score(value: float | None) -> str:
    """Six digits, or an empty text."""
    return "" if value is None else f"{value:.6f}"


def _minutes(experiment: Experiment) -> str:
    return "" if experiment.run is None else f"{experiment.run.seconds / 60:.1f}"


Stretch = tuple[float, float]


class Spent(Frozen):
    """Seconds. `device` is the sum over all runs, which overlap with several devices; the rest is wall time.

    `busy`: at least one run was in training or being scored. `stopped`: no engine was at work. `idle`: an engine was,
    and no run.
    """

    total: float = 0.0
    device: float = 0.0
    busy: float = 0.0
    stopped: float = 0.0
    idle: float = 0.0
    runs: int = 0
    devices: int = 1

    @property
    def share(self) -> float:
        """`busy` as a share of `total`."""
        return self.busy / self.total if self.total > 0 else 0.0


def spent(records: Iterable[ev.Record]) -> Spent:
    """Computed from the times of records. A run that outlives its engine counts in full."""
    now = begun = gone = 0.0
    started: dict[int, float] = {}
    ended: dict[int, float] = {}
    training: list[Stretch] = []
    scoring: list[Stretch] = []
    away: list[Stretch] = []
    names: set[str] = set()
    runs, engines = 0, 0
    for record in records:
        before, now = now, max(now, timestamps.seconds(record.time))
        begun = begun or now
        match record.event:
            case ev.RunStarted(number=number, device=device):
                started[number] = now
                names.add(device)
            case ev.RunEnded(number=number, seconds=seconds) if number in started:
                start = started.pop(number)
                training.append((start, min(now, start + seconds)))
                ended[number] = now
            case ev.VerdictGiven(number=number) | ev.RunRequeued(number=number):
                if number in ended:
                    scoring.append((ended.pop(number), now))
                elif number in started:
                    training.append((started.pop(number), now))
                runs += isinstance(record.event, ev.VerdictGiven)
            case ev.EngineStopped():
                gone = now
            case ev.EngineStarted():
                if gone or engines:  # a killed engine writes no record of its end
                    away.append((gone or before, now))
                gone, engines = 0.0, engines + 1
    training += [(start, now) for start in started.values()]
    scored = [piece for stretch in scoring for piece in _without(stretch, away)]
    held = [*training, *scored]
    busy, together = _length(held), _length([*held, *away])
    total = now - begun
    return Spent(
        total=total,
        device=sum(end - start for start, end in held),
        busy=busy,
        stopped=_length(away),
        idle=max(0.0, total - together),
        runs=runs,
        devices=max(1, len(names)),
    )


def _without(stretch: Stretch, away: Iterable[Stretch]) -> list[Stretch]:
    pieces = [stretch]
    for gone, back in away:
        cut = [((start, min(end, gone)), (max(start, back), end)) for start, end in pieces]
        pieces = [(start, end) for both in cut for start, end in both if end > start]
    return pieces


def _length(stretches: Iterable[Stretch]) -> float:
    """The time during which at least one of them lasts."""
    total = reached = 0.0
    for start, end in sorted(stretches):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def clock(time: str) -> str:
    """`2026-11-21 03:12`, in UTC, so that a report reads the same everywhere."""
    return f"{timestamps.parse(time):%Y-%m-%d %H:%M}" if time else "?"


def span(seconds: float) -> str:
    """`7 h 42 min`, `5 min 26 s`, `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole} s"
