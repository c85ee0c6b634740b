"""The lab: settings, files, training command, git, engine, sessions, data and researcher."""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from autoresearch_tui import data, foreign_data, templates
from autoresearch_tui.doctor.compute import ask_json
from autoresearch_tui.doctor.item import Item, from_error, ok, problem, warning
from autoresearch_tui.doctor.mend import look
from autoresearch_tui.engine.cages import home, scored_data
from autoresearch_tui.engine.cages.environment import check_command, environment, training_command
from autoresearch_tui.engine.hosting.lock import held, read_holder
from autoresearch_tui.engine.ledger import GitError, Ledger
from autoresearch_tui.errors import UserError
from autoresearch_tui.lab import Lab, preparer, read_program

API_SECONDS = 20.0  # the package's import included, on a busy machine


def lab(found: Lab | None, failure: UserError | None) -> Item:
    """The settings and the files."""
    if failure is not None:
        return from_error("lab", failure)
    if found is None:
        return ok("lab", "none here, so only the machine is looked at; `autoresearch-tui init DIR` makes one")
    settings = found.settings
    if not read_program(found).strip():
        return warning("lab", f"{found.program} is empty", "say in it what the researcher is to do")
    run = settings.run
    budget = f"{run.budget_tokens:,} tokens" if run.budget_tokens else f"{run.budget_seconds:g} s"
    return ok(
        "lab",
        f"{found.root}: {', '.join(settings.lab.editable)} for {settings.metric.name}, {budget} a run, "
        f"researcher {settings.researcher.kind}, review {settings.review.mode}",
    )


def command(found: Lab) -> Item:
    """Whether the training command is there."""
    try:
        check_command(found)
    except UserError as error:
        return from_error("command", error)
    words = training_command(found)
    own = f" (`{' '.join(found.settings.run.command)}`, as it is here)" if words != found.settings.run.command else ""
    return ok("command", f"{' '.join(words)}{own}")


def changes(found: Lab) -> Item:
    """Whether the files in the lab's folder are those of the commit."""
    name = "changes"
    settings = found.settings.lab
    try:
        ledger = Ledger(found.root)
        head = ledger.head()
        committed = {path: _committed(ledger, head, path) for path in (*settings.editable, *settings.locked)}
    except UserError as error:
        return from_error(name, error)
    except GitError as error:
        return problem(name, f"git refuses: {error}", f"run `git -C {found.root} status` and mend what it says")
    changed = [path for path, bytes_ in committed.items() if bytes_ != (found.root / path).read_bytes()]
    if changed:
        remedy = "commit them: a new session starts from them as they are, one that exists does not see them"
        return warning(name, f"not as in commit {head[:7]}: {', '.join(changed)}", remedy)
    return ok(name, f"editable and locked files are as in commit {head[:7]}")


def _committed(ledger: Ledger, head: str, path: str) -> bytes | None:
    try:
        return ledger.read(head, path)
    except GitError:
        return None


def engine(found: Lab) -> Item:
    """Who has the lab."""
    if not held(found.lock):
        return ok("engine", "none is at work in this lab")
    holder = read_holder(found.lock)
    kind = "a headless engine" if holder.headless else "a cockpit"
    text = f"{kind} (process {holder.pid} on {holder.host}) is at work on session {holder.tag}"
    if holder.host and holder.host != socket.gethostname():
        return warning("engine", text, "the lab is on a shared disk: end that engine before you start one here")
    return ok("engine", text)


def sessions(found: Lab) -> list[Item]:
    """The latest session, and every other one that is damaged."""
    tags = found.tags()
    if not tags:
        return [ok("session", "none yet")]
    items = [session(found, tag) for tag in tags]
    return [item for item in items[:-1] if item.status == "problem"] + items[-1:]


def session(found: Lab, tag: str) -> Item:
    """One session: its journal can be read, and its branch is where the journal says."""
    name = "session"
    path = found.session(tag).journal
    try:
        prefix = look(path.read_bytes())
    except OSError as error:
        return problem(name, f"{path}: {error.strerror}", f"give {path} back to yourself: `chown`, `chmod u+rw`")
    state = prefix.state
    text = f"{tag}: {state.seq} records, {len(state.experiments)} experiments"
    if prefix.damaged:
        remedy = "run `autoresearch-tui doctor --mend`, which keeps a copy"
        return problem(name, f"{path}: line {prefix.line} is damaged ({prefix.why})", remedy)
    if state.session is None:
        return warning(name, f"{tag}: its journal has no record yet", "start it again, or delete its folder")
    try:
        ledger = Ledger(found.root)
        present, out = ledger.resolve(f"refs/heads/{state.session.branch}"), ledger.checked_out()
    except (UserError, GitError):
        return ok(name, text)
    if state.session.branch in out:
        return problem(
            name, f"{tag}: its branch {state.session.branch} is checked out", "`git checkout` another branch"
        )
    known = {state.session.base, *(e.commit for e in state.experiments)}
    if present is not None and present not in known:
        remedy = f"move it back: git branch -f {state.session.branch} {state.frontier_commit[:7]}"
        return problem(name, f"{tag}: somebody moved branch {state.session.branch} to {present[:7]}", remedy)
    if prefix.torn and not held(found.lock):
        return Item(name, "ok", f"{text}; the last line is torn", "nothing: it is put aside at the next start")
    return ok(name, text)


def latest(found: Lab) -> tuple[str, float] | None:
    """What happened last in the lab, and when: for the clock."""
    moments: list[tuple[str, float]] = []
    for tag in found.tags()[-1:]:
        try:
            state = look(found.session(tag).journal.read_bytes()).state
            moments.append((f"the last record of session {tag}", datetime.fromisoformat(state.time).timestamp()))
        except (OSError, ValueError):
            continue
    settings = found.root / "autoresearch.toml"
    if settings.exists():
        moments.append((f"the last change of {settings.name}", settings.stat().st_mtime))
    return max(moments, key=lambda moment: moment[1], default=None)


def profile(found: Lab) -> list[Item]:
    """The harness's profile that the lab asks for, and whether it is the one for this machine."""
    name = found.settings.run.env.get("AUTORESEARCH_PROFILE")
    if name is None:
        return []
    try:
        text, fitting = templates.profile(name)
    except UserError as error:
        return [from_error("profile", error)]
    if fitting == name or name == templates.DEMO_PROFILE:
        return [ok("profile", text)]
    remedy = f"for its knobs here, make a lab on this machine: it would get the profile {fitting}"
    return [Item("profile", "ok", text, remedy)]


def dataset(found: Lab, environ: Mapping[str, str]) -> Item:
    """Data and tokenizer, as the lab's own prepare.py says."""
    path = preparer(found)
    if path is not None:
        said = data.Check(found).problem()
        return from_error("data", UserError(said.replace(": run `", "; run `", 1))) if said else ok("data", "ready")
    if foreign_data.preparer(found) is None:
        return ok("data", "this lab's locked files ask for none")
    if lacking := foreign_data.missing(environ):
        return problem("data", lacking, "run `autoresearch-tui prepare`, which runs the lab's own prepare.py")
    return ok("data", f"shards and tokenizer in {home.data_folder(environ)}")


def kernels(found: Lab, environ: Mapping[str, str]) -> list[Item]:
    """Whether the kernels are downloaded that the lab's script asks the hub for: a run has no network."""
    lacking = foreign_data.missing_kernels(found, environ)
    if lacking and foreign_data.has_nvidia():
        text = f"none of {', '.join(lacking)} is downloaded, and a run has no network"
        return [problem("kernels", text, "run `autoresearch-tui prepare`, which downloads them")]
    if have := home.kernels(environ):
        return [ok("kernels", f"downloaded: {', '.join(name.partition('--')[2].replace('--', '/') for name in have)}")]
    return []


def referee(found: Lab) -> Item:
    """Who scores the runs, and from what."""
    name, metric = "referee", found.settings.metric
    if not metric.referee:
        if preparer(found) is None:
            return ok(name, "none: what a run prints is its score")
        remedy = 'set `metric.referee`, for example ["python", "-I", "referee.py"]'
        return warning(name, "none: what a run prints is its score, and it can read the validation text", remedy)
    loose = [word for word in metric.referee if (found.root / word).is_file() and word not in found.settings.lab.locked]
    if loose:
        return problem(name, f"{', '.join(loose)} is not locked", "add it to `lab.locked`: it is started from there")
    said = " ".join(metric.referee)
    private = scored_data.folders(found, environment(found, found.state_folder))
    return ok(name, f"{said}; what it scores is in {private[0]}, which no run sees" if private else said)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where data and tokenizer are."""
    return Path(environ.get("AUTORESEARCH_CACHE") or Path.home() / ".cache" / "autoresearch").expanduser().absolute()


def researcher(found: Lab | None, environ: Mapping[str, str]) -> list[Item]:
    """Whether the lab's researcher could propose, and whether the API takes the key where it is Claude."""
    from autoresearch_tui.researchers import choose
    from autoresearch_tui.researchers.claude_client import has_credentials

    known = has_credentials(environ)
    if found is None:
        return [ok("API key", "set; tried only for a lab whose researcher is claude" if known else "not set")]
    kind = found.settings.researcher.kind
    try:
        choose.make(found.settings, environ)
    except UserError as error:
        text, _, remedy = str(error).replace("no API key: ", "no API key; ", 1).partition("; ")
        return [problem("researcher", f"{kind}: {text}", remedy)]
    items = [ok("researcher", kind)]
    if kind == "command":
        items.append(agent_cage(found, environ))
    if kind == "claude":
        items.append(api(ask_json([sys.executable, "-m", "autoresearch_tui.doctor.api_probe"], environ, API_SECONDS)))
    return items


def agent_cage(found: Lab, environ: Mapping[str, str]) -> Item:
    """What holds the command-line agent, proven from inside a cage like its own."""
    from autoresearch_tui.engine.cages import agent_cage as cages
    from autoresearch_tui.engine.cages import cage
    from autoresearch_tui.engine.ledger import Ledger

    name, kind = "agent's sandbox", cage.mechanism().kind.value
    try:
        fails = cages.of_lab(found, Ledger(found.root), environ).check()
    except (UserError, OSError) as error:
        return problem(name, str(error), "an agent that cannot be confined is not started")
    if kind == "none":
        remedy = f"install bubblewrap; until then it waits when nobody watches ({cage.NO_CAGE}=1 accepts it)"
        return problem(name, "none: the agent would run as you", remedy)
    if fails:
        return warning(name, f"{kind}, with the network; not: {', '.join(fails)}", cage.mechanism().note)
    return ok(name, f"{kind}, with the network; nothing of yours but its settings and its login")


def api(answer: Mapping[str, object]) -> Item:
    """What came of one call."""
    name = "API key"
    if "error" not in answer:
        models = answer.get("models")
        count = len(models) if isinstance(models, list) else 0
        return ok(name, f"{answer.get('host')} takes it, and offers {count} models (anthropic {answer.get('package')})")
    error = str(answer["error"])
    if answer.get("fatal"):
        return problem(name, error, "set ANTHROPIC_API_KEY anew, or use --researcher search")
    return warning(name, error, "check the network; the loop asks again with growing pauses until it answers")
