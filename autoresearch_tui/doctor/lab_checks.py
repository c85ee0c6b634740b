"""Checks of the lab: settings, files, training command, git, engine, sessions, data and researcher."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from autoresearch_tui.doctor.item import Item, from_error, ok, problem, warning
from autoresearch_tui.doctor.repair import look
from autoresearch_tui.engine import kept, left_out
from autoresearch_tui.lab import creation, git_filters, home
from autoresearch_tui.lab.editable import Editable
from autoresearch_tui.lab.engine_lock import held, read_holder
from autoresearch_tui.lab.git import GitError, GitRepo
from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.lab.paths import Lab, preparer, read_program
from autoresearch_tui.lab.settings import timeout_problem
from autoresearch_tui.lab.uncommitted import uncommitted
from autoresearch_tui.preparing import lab_data, reference_data
from autoresearch_tui.runs.environment import check_command, environment, training_command
from autoresearch_tui.sandbox import scored_data, shared
from autoresearch_tui.util import timestamps
from autoresearch_tui.util.ask import ask_json
from autoresearch_tui.util.errors import UserError

API_SECONDS = 20.0  # includes the import of the package on a busy machine


def lab(found: Lab | None, failure: UserError | None) -> Item:
    if failure is not None:
        return from_error("lab", failure)
    if found is None:
        return ok("lab", "none here, so only the machine is looked at; `autoresearch-tui init DIR` makes one")
    settings = found.settings
    if not read_program(found).strip():
        return warning("lab", f"{found.program} is empty", "say in it what the researcher is to do")
    run, metric = settings.run, settings.metric
    budget = f"{run.budget_tokens:,} tokens" if run.budget_tokens else f"{run.budget_seconds:g} s"
    better = "more" if metric.goal is Goal.MAXIMIZE else "less"
    return ok(
        "lab",
        f"{found.root}: {', '.join(settings.lab.editable)} for {metric.name} ({better} is better), {budget} a run, "
        f"killed after {run.timeout_seconds:g} s, researcher {settings.researcher.kind}, review {settings.review.mode}",
    )


def doubts(found: Lab) -> list[Item]:
    """Doubts about the lab's files, with the settings that resolve them; and a timeout that no run survives."""
    make = {True: problem, False: warning}
    why = timeout_problem(found.settings.run)
    tight = [warning("timeout", why, "set `run.timeout_seconds` to more than a run takes, its start included")]
    return (tight if why else []) + [make[doubt.needed](doubt.key, doubt.text, doubt.remedy) for doubt in found.doubts]


def command(found: Lab) -> Item:
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
    try:
        repo = GitRepo(found.root)
        head = repo.head()
        changed = uncommitted(found, repo)
        missing = repo.unfiltered(head)
    except UserError as error:
        return from_error(name, error)
    except GitError as error:
        return problem(name, f"git refuses: {error}", f"run `git -C {found.root} status` and fix what it reports")
    if missing:
        return warning(
            name, git_filters.in_words(missing), "install what the filter needs, and check the files out again"
        )
    if changed:
        remedy = "commit them: a new session starts from them as they are, one that exists does not see them"
        return warning(name, f"not as in commit {head[:7]}: {', '.join(changed)}", remedy)
    return ok(name, f"editable and locked files are as in commit {head[:7]}")


def editable(found: Lab) -> list[Item]:
    """For a lab with patterns or a check command of its own: the files they find."""
    name, files = "editable", found.settings.lab
    loose = [word for word in files.check if (found.root / word).is_file() and word not in files.locked]
    if loose:
        text = f"{', '.join(loose)}, which checks proposals, is not locked"
        return [problem(name, text, "add it to `lab.locked`: a proposal could change it")]
    patterns = found.editable.patterns
    if not patterns:
        return []
    there = found.editable_files
    empty = [each for each in patterns if not any(Editable((each,), found.editable.locked).covers(f) for f in there)]
    if empty:
        remedy = "right if the first is to come from a proposal; otherwise look at the spelling in `lab.editable`"
        return [warning(name, f"{', '.join(empty)} finds no file", remedy)]
    checked = f", checked by `{' '.join(files.check)}`" if files.check else ""
    count = "1 file" if len(there) == 1 else f"{len(there)} files"
    return [ok(name, f"{count} by {', '.join(files.editable)}{checked}")]


def engine(found: Lab) -> Item:
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


def kept_files(found: Lab) -> list[Item]:
    """The disk space used by `run.keep`; no item if it is not set."""
    if not found.settings.run.keep:
        return []
    runs = [run for tag in found.tags() for run in kept.runs(found.session(tag)) if run.kept_files]
    most = f"at most {found.settings.run.keep_max_gb:g} for each session"
    size = sum(kept.size(run) for run in runs) / 2**30
    return [ok("kept files", f"{size:.1f} GiB of {len(runs)} frontiers, {most} (`run.keep`)")]


def session(found: Lab, tag: str) -> Item:
    """Whether the session's journal is sound, and its branch where the journal says."""
    name = "session"
    path = found.session(tag).journal
    try:
        prefix = look(path.read_bytes())
    except OSError as error:
        return problem(name, f"{path}: {error.strerror}", f"give {path} back to yourself: `chown`, `chmod u+rw`")
    state = prefix.state
    text = f"{tag}: {state.seq} records, {len(state.experiments)} experiments"
    if prefix.damaged:
        remedy = "run `autoresearch-tui doctor --repair`, which keeps a copy"
        return problem(name, f"{path}: line {prefix.line} is damaged ({prefix.why})", remedy)
    if state.session is None:
        return warning(name, f"{tag}: its journal has no record yet", "start it again, or delete its folder")
    try:
        repo = GitRepo(found.root)
        present, out = repo.resolve(f"refs/heads/{state.session.branch}"), repo.checked_out()
    except (UserError, GitError):
        return ok(name, text)
    if state.session.branch in out:
        return problem(
            name, f"{tag}: its branch {state.session.branch} is checked out", "`git checkout` another branch"
        )
    known = {state.session.base, *(e.commit for e in state.experiments), *left_out.commits(repo, tag)}
    if present is not None and present not in known:
        remedy = f"move it back: git branch -f {state.session.branch} {state.frontier_commit[:7]}"
        return problem(name, f"{tag}: branch {state.session.branch} was moved to {present[:7]}", remedy)
    if prefix.torn and not held(found.lock):
        return Item(name, "ok", f"{text}; the last line is torn", "nothing: it is put aside at the next start")
    return ok(name, text)


def latest(found: Lab) -> tuple[str, float] | None:
    """The lab's latest event and its time (seconds since 1970), for the check of the clock."""
    moments: list[tuple[str, float]] = []
    for tag in found.tags()[-1:]:
        try:
            state = look(found.session(tag).journal.read_bytes()).state
            moments.append((f"the last record of session {tag}", timestamps.parse(state.time).timestamp()))
        except (OSError, ValueError):
            continue
    settings = found.root / "autoresearch.toml"
    if settings.exists():
        moments.append((f"the last change of {settings.name}", settings.stat().st_mtime))
    return max(moments, key=lambda moment: moment[1], default=None)


def profile(found: Lab) -> list[Item]:
    """The harness's profile in the lab's settings, and whether it fits this machine."""
    name = found.settings.run.env.get("AUTORESEARCH_PROFILE")
    if name is None:
        return []
    try:
        text, fitting = creation.profile(name)
    except UserError as error:
        return [from_error("profile", error)]
    if fitting == name or name == creation.DEMO_PROFILE:
        return [ok("profile", text)]
    remedy = f"for its knobs here, make a lab on this machine: it would get the profile {fitting}"
    return [Item("profile", "ok", text, remedy)]


def dataset(found: Lab, environ: Mapping[str, str]) -> Item:
    """Whether data and tokenizer are ready, by the lab's own prepare.py."""
    path = preparer(found)
    if path is not None:
        with lab_data.Check(found) as check:
            what, _, command = check.problem().partition(": run ")
        remedy = f"run {command}" if command else "fix what it names"
        return problem("data", what, remedy) if what else ok("data", "ready")
    if reference_data.preparer(found) is None:
        return ok("data", "this lab's locked files ask for none")
    if lacking := reference_data.missing(found, environ):
        return problem("data", lacking, "run `autoresearch-tui prepare`, which runs the lab's own prepare.py")
    if reference_data.unproven(found, environ):
        text = "unknown whether the lab's own prepare.py was run: it names no folder"
        return warning("data", text, "run `autoresearch-tui prepare`, which runs it, unless you have")
    return ok("data", "what the lab's own prepare.py makes is there")


def beside(found: Lab) -> list[Item]:
    """The files beside the commit that a run sees, those it does not see and why, and those that are missing."""
    name = "shared"
    try:
        seen = shared.find(found, GitRepo(found.root))
    except (UserError, GitError) as error:
        return [from_error(name, error)]
    places = [*seen.beside, *(f"~/{place}" for place in seen.at_home), *map(str, seen.outside)]
    text = f"read-only for a run: {shared.names(places)}" if places else "nothing lies beside the commit"
    if seen.left_out:
        text += f"; not: {shared.names(f'{place} ({reason})' for place, reason in seen.left_out.items())}"
    items = [
        Item(name, "ok", text, "where a run needs more: `lab.share` in autoresearch.toml" if seen.left_out else "")
    ]
    for place, reason in seen.lacking.items():
        items.append(warning(name, f"{place}: {reason}", "put there what it is to be, or leave it out of the commit"))
    return items


def kernels(found: Lab, environ: Mapping[str, str]) -> list[Item]:
    """Whether the kernels that the lab's script loads from the hub are downloaded, since a run has no network."""
    lacking = reference_data.missing_kernels(found, environ)
    if lacking and reference_data.has_nvidia():
        text = f"none of {', '.join(lacking)} is downloaded, and a run has no network"
        return [problem("kernels", text, "run `autoresearch-tui prepare`, which downloads them")]
    if have := home.kernels(environ):
        return [ok("kernels", f"downloaded: {', '.join(name.partition('--')[2].replace('--', '/') for name in have)}")]
    return []


def referee(found: Lab) -> Item:
    """The referee, and the data that it scores."""
    name, metric = "referee", found.settings.metric
    if not metric.referee:
        if preparer(found) is None:
            return ok(name, "none: what a run prints is its score")
        remedy = 'set `metric.referee`, for example ["python", "-I", "fixed/referee.py"]'
        return warning(name, "none: what a run prints is its score, and it can read the validation text", remedy)
    loose = [word for word in metric.referee if (found.root / word).is_file() and word not in found.settings.lab.locked]
    if loose:
        return problem(name, f"{', '.join(loose)} is not locked", "add it to `lab.locked`: it is started from there")
    text = " ".join(metric.referee)
    if unset := [variable for variable in metric.referee_env if variable not in os.environ]:
        text += f"; not set here: {', '.join(unset)}"
    private = scored_data.folders(found, environment(found, found.state_folder))
    return ok(name, f"{text}; what it scores is in {private[0]}, which no run sees" if private else text)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder of data and tokenizer."""
    return Path(environ.get("AUTORESEARCH_CACHE") or Path.home() / ".cache" / "autoresearch").expanduser().absolute()


def researcher(found: Lab | None, environ: Mapping[str, str]) -> list[Item]:
    """Whether the lab's researcher can propose, and whether the API accepts the key."""
    from autoresearch_tui.researchers import factory
    from autoresearch_tui.researchers.claude.client import has_credentials

    known = has_credentials(environ)
    if found is None:
        return [ok("API key", "set; tried only for a lab whose researcher is claude" if known else "not set")]
    kind = found.settings.researcher.kind
    try:
        factory.make(found.settings, environ)
    except UserError as error:
        what, _, remedy = (error.what, "", error.remedy) if error.remedy else error.what.partition(": ")
        return [problem("researcher", f"{kind}: {what}", remedy)]
    items = [ok("researcher", kind)]
    if kind == "command":
        items.append(agent_sandbox(found, environ))
    items += _critic(found, environ)
    if "claude" in (kind, found.settings.review.critic.kind):
        items.append(api(ask_json([sys.executable, "-m", "autoresearch_tui.doctor.api_probe"], environ, API_SECONDS)))
    return items


def _critic(found: Lab, environ: Mapping[str, str]) -> list[Item]:
    from autoresearch_tui.researchers import factory

    kind = found.settings.review.critic.kind
    if not kind:
        return []
    try:
        factory.make_critic(found.settings, environ)
    except UserError as error:
        text, _, remedy = str(error).replace("no API key: ", "no API key; ", 1).partition("; ")
        return [problem("critic", f"{kind}: {text}", remedy)]
    return [ok("critic", kind)]


def agent_sandbox(found: Lab, environ: Mapping[str, str]) -> Item:
    """The protections of the command-line agent, tested from inside such a sandbox."""
    from autoresearch_tui.lab.git import GitRepo
    from autoresearch_tui.sandbox import for_agents, for_runs, self_test

    name, kind = "agent's sandbox", for_runs.mechanism().kind.value
    try:
        sandbox = for_agents.of_lab(found, GitRepo(found.root), environ)
        fails = sandbox.check()
        start, rules_out = for_agents.start_problem(found, GitRepo(found.root), environ)
    except (UserError, OSError) as error:
        return problem(name, str(error), "an agent that cannot be confined is not started")
    if kind == "none":
        remedy = (
            f"install bubblewrap; until then it waits while no cockpit is open ({for_runs.NO_SANDBOX}=1 accepts it)"
        )
        return problem(name, "none: the agent would run as you", remedy)
    if start:
        return (problem if rules_out else warning)(name, f"{kind}; {start}", for_agents.START_REMEDY)
    ports = ", ".join(str(port) for port in sandbox.allowed.ports)
    network = "the network" + (
        "" if self_test.PORTS in fails else f" (TCP to ports {ports} of any address, UDP to any)"
    )
    if fails:
        return warning(name, f"{kind}, with {network}; not: {', '.join(fails)}", for_runs.mechanism().note)
    return ok(name, f"{kind}, with {network}; nothing of yours but its settings and its login")


def api(answer: Mapping[str, object]) -> Item:
    """The result of `api_probe`."""
    name = "API key"
    if "error" not in answer:
        models = answer.get("models")
        count = len(models) if isinstance(models, list) else 0
        return ok(name, f"{answer.get('host')} takes it, and offers {count} models (anthropic {answer.get('package')})")
    error = str(answer["error"])
    if answer.get("fatal"):
        return problem(name, error, "set ANTHROPIC_API_KEY anew, or use --researcher search")
    return warning(name, error, "check the network; the loop asks again with growing pauses until it answers")
