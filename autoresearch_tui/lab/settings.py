"""The keys of `autoresearch.toml`, their defaults, and below each its documentation in docs/configuration.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal

from msgspec.structs import replace

from autoresearch_tui.lab.goal import Goal
from autoresearch_tui.util.frozen import Frozen

FILE_NAME = "autoresearch.toml"
MOST_WAITING = 8
MOST_ASKED = 64
MOST_FRONTS = 8
MOST_COLUMNS = 8
REPLACED = frozenset({"resources"})
"""The tables that replace their default; any other adds to it."""


class LabSettings(Frozen):
    """What may change and what may not. Paths are relative to the lab's folder."""

    program: str = "program.md"
    """The human's standing instructions to the researcher."""
    editable: tuple[str, ...] = ("train.py",)
    """The only paths that a proposal may change. A file (`prompt.txt`) is always there; in a folder (`strategies/`)
    or by a pattern (`skills/*.md`) a proposal may add and remove files as well ([labs](labs.md))."""
    locked: tuple[str, ...] = ("prepare.py",)
    """The fixed evaluation, as files, folders and patterns of the commit: hashed at the start of the session and
    before every verdict, read-only for a run."""
    check: tuple[str, ...] = ()
    """A command that says what is wrong with a proposal before it may cost a run: `["python", "check.py"]`. It runs
    in the sandbox for a minute at most. Exit code 0: nothing is wrong; otherwise its last line goes back to the
    researcher."""
    private: tuple[str, ...] = ()
    """Which of the locked files and folders only the referee gets, such as a test set with its answers: no run and no
    researcher sees them. It needs a `metric.referee`."""
    share: tuple[str, ...] = ("*",)
    """What a run sees beside the commit, read-only. `*`: what git ignores or does not know beside the code, except
    outputs and secrets ([labs](labs.md)). A path adds a file or folder (relative to the lab's folder, `~/…` or
    absolute), `!path` takes one away."""

    @property
    def visible(self) -> tuple[str, ...]:
        """The locked files that runs and researchers see."""
        hidden = set(self.private)
        return tuple(name for name in self.locked if hidden.isdisjoint((name, *map(str, PurePosixPath(name).parents))))


class RunSettings(Frozen):
    """One execution of the training command. Times are seconds.

    `devices`: that many experiments at once, each on its own: accelerators by number ("0"), UUID or MIG instance, or
    processors ("cpu0-3").
    """

    command: tuple[str, ...] = ("uv", "run", "train.py")
    """Run in the experiment's own folder, in the sandbox, without network. `uv` uses the lab's `.venv` as it is;
    where `uv` is not installed, that environment's Python is called directly."""
    budget_seconds: float = 300
    """Seconds of training, handed to the run as `AUTORESEARCH_TIME_BUDGET`; start-up and scoring do not count."""
    budget_tokens: int = 0
    """Tokens of training, handed to the run as `AUTORESEARCH_TOKEN_BUDGET`, for machines whose speed drifts and for
    repeatable tests; 0: seconds count."""
    pause_after_failures: int = 5
    """After so many runs, or requests for a proposal, that failed one after the other with the same message (numbers
    aside), the loop pauses with that message until a human resumes it; 0: never. What passes by itself, such as an
    API that cannot be reached, does not count."""
    timeout_seconds: float = 600
    """The whole run from start-up to exit; what takes longer is killed, and a crash."""
    give_up: bool = False
    """From 30 % of the budget, end a run whose training loss lies further behind the frontier's than any later keep's
    did, by a margin learned from the session's own curves; it is a discard without a score ([what it saves, and
    when not to use it](research.md#giving-up-hopeless-runs))."""
    memory_gb: float = 0
    """GiB of main memory that a run may hold with all its processes; one that holds more is ended, and a crash. 0:
    all but a reserve that keeps the machine, or the container, alive (a fiftieth of it, at least 512 MiB)."""
    env: Mapping[str, str] = MappingProxyType({})
    """What else the run may see in its environment. Nothing of the user's own is passed on, secrets never."""
    devices: tuple[str, ...] = ()
    """Several experiments at once, each on a device of its own: accelerators by number (`"0"`), UUID
    (`"GPU-8932f937-…"`) or MIG instance (`"MIG-…"`), as `nvidia-smi -L` lists them, or processors (`"cpu0-3"`)."""
    keep: tuple[str, ...] = ()
    """Files that a run leaves in its folder, such as `["model.pt", "tokenizer/*.json"]`, kept in
    `.autoresearch/<tag>/runs/NNNN/kept` when it becomes the frontier. Plain files, with `*`, `?` and `[…]` in a
    name; links are not followed."""
    keep_frontiers: int = 3
    """Of how many frontiers, the last ones, those files are kept."""
    keep_max_gb: float = 20
    """GiB that those files may take together; the oldest go first."""
    share_accelerator: bool = False
    """Start runs also while another process holds more than a tenth of their accelerator's memory. Such runs are
    slower by what the other takes, and `device_memory_mb` is not measured."""


class ClusterSettings(Frozen):
    """A Ray cluster that executes the runs in place of this machine, each on a device of its own."""

    address: str = ""
    """`host:port` of the cluster's head, as `ray start` names it, or `auto` for the cluster that this machine is part
    of. Empty: runs are executed on this machine. It needs the extra: `pip install 'autoresearch-tui[cluster]'`."""
    resources: Mapping[str, float] = MappingProxyType({"GPU": 1.0})
    """What one run takes of a node, by Ray's names, such as `{ GPU = 2 }` or `{ CPU = 4 }`. A node has as many
    devices as fit into it."""
    accelerator: str = ""
    """The accelerator's model, or words of it, such as `H100`: nodes with another are not used. Empty: all must be
    like the first node's."""
    lost_after_seconds: float = 60
    """A node that is missing for so long, while the cluster answers, is lost: its run is run again elsewhere."""


class MetricSettings(Frozen):
    """What decides."""

    name: str = "val_bpb"
    """The score's name, as it is shown."""
    pattern: str = r"^val_bpb:\s+(\S+)"
    """A regular expression with one group, whose last match in the log (or in the referee's output) is the score.
    With the default, other ways to print `name` and a number are understood as well."""
    goal: Goal = Goal.MINIMIZE
    """Whether lower or higher is better."""
    referee: tuple[str, ...] = ()
    """A trusted scorer, run after the training; where set, printed scores are shown, but never decide."""
    referee_env: tuple[str, ...] = ()
    """Variables of yours that a referee started after the run may see, such as the key of a model that judges. No run
    sees them, and they are written nowhere."""
    range: tuple[float, ...] = ()
    """The lowest and the highest score that can be, such as `[0, 1]`, with `inf` and `-inf` for none; a score outside
    is `invalid`. Empty: what the name tells, which is more than 0 for `val_bpb`, other bits and perplexities, not
    less than 0 for errors such as `val_rmse`, 0 to 100 for an `accuracy`, and any number for the rest."""
    keep_margin: float = 0.0
    """A gain that is not larger than this is discarded."""
    keep: Literal["strict", "confirmed"] = "strict"
    """`strict`: any gain beyond `keep_margin` is kept, as in the reference. `confirmed`: a gain that chance may
    explain is run again under other seeds, two runs at most, and decided on the means; with several fronts its
    front continues from it, and is kept once its whole gain is beyond the noise
    ([research](research.md#confirmed-keeps))."""
    evaluator: Literal["fixed", "fresh"] = "fixed"
    """`fixed`: every verdict is on the same data, which wears out; each look at it is counted. `fresh`: every verdict
    draws new data. When a run has ended, the lab's own `referee` gets a seed in `AUTORESEARCH_DRAW` (a whole
    number below 2^31, as text) that nothing knew before, scores the run on data of that seed, and then the
    frontier, from the files that its run has left, on the same; a locked file must read the variable
    ([verdicts](verdicts.md#an-evaluator-that-wears-out))."""
    testing_budget: int = 0
    """With a `fixed` evaluator: after so many looks nothing more is kept, and the loop pauses until a human renews it
    (`autoresearch-tui renew`); 0: no limit."""
    sealed: Literal["shown", "embargoed"] = "shown"
    """The score of a sealed split that a referee gives with each run, as the language model's does (`sealed` in its
    line of JSON). `shown`: to the human, beside each score. `embargoed`: nowhere, before the holdout is opened
    (`autoresearch-tui holdout`). A referee that is started after the run has a holdout if a locked file reads
    `AUTORESEARCH_SPLIT`: unset in every verdict, `holdout` at the opening."""
    baseline_runs: int = 1
    """Repeats of the baseline, which measure the spread between equal runs."""
    columns: tuple[str, ...] = ()
    """Further numbers that are recorded for each run and shown beside the score, such as `["latency_ms", "+recall"]`;
    of those with a `+` more is better. They decide nothing: bound them to let them. Each is what is measured from
    outside (`total_seconds`, `host_memory_mb`, `device_memory_mb`), else what the referee's last line in JSON has
    under that name, else what the run's summary has."""
    at_most: Mapping[str, float] = MappingProxyType({})
    """Upper bounds on keys of the run's summary, such as `{ peak_vram_mb = 24000, num_params_M = 60 }`. A run beyond
    one, or without the key, is discarded however good its score is. `total_seconds`, `host_memory_mb` and
    `device_memory_mb` (the most that the run held, MiB) are measured from outside; a `peak_vram_mb` far below what
    its accelerator held does not count. Other keys are the run's own word."""
    at_least: Mapping[str, float] = MappingProxyType({})
    """Lower bounds, likewise, such as `{ accuracy = 0.9 }`."""


class ResearcherSettings(Frozen):
    """Who proposes."""

    kind: Literal["claude", "command", "search"] = "claude"
    """Claude through the API, any command-line agent, or the built-in offline search."""
    model: str = ""
    """For `claude`; empty: chosen from what the API offers."""
    effort: Literal["", "low", "medium", "high", "xhigh", "max"] = ""
    """For `claude`: how much effort to put into an answer; empty: the model's own default."""
    thinking: Literal["", "off", "adaptive", "enabled"] = ""
    """For `claude`; empty: the best kind that the model offers."""
    command: tuple[str, ...] = ()
    """For `command`, e.g. `["claude", "-p"]`; the prompt arrives on its standard input."""
    env: tuple[str, ...] = ()
    """For `command`: variables of yours that it may see beside its own keys."""
    home: tuple[str, ...] = ()
    """For `command`: names in your home folder that it may read, such as `.config/mine`."""
    network: tuple[str, ...] = ()
    """For `command`: addresses that it may reach besides HTTPS (port 443), such as `localhost:11434`; of an address
    the port counts."""
    timeout_seconds: float = 1200
    """What one request, or one run of the agent, may take."""
    silence_seconds: float = 300
    """How long it may be silent meanwhile."""
    max_usd: float = 0
    """Stop asking when the session has cost this much; 0: no limit."""
    max_tokens: int = 0
    """Stop asking when the session has taken as many tokens; 0: no limit."""
    digest: bool = True
    """When a session ends by itself, the researcher writes a page for you, `digest.md`, in one more request; `false`:
    it is written by template, at no cost."""
    queue: int = 1
    """How many proposals may wait during a run; at most 8."""
    parallel: int = 0
    """How many proposals may be in the making at once, at most 64; as many are as keep the devices busy, as measured.
    0: no more than one above the number of devices; with one device, one. 1: one after the other ([several at
    once](researchers.md#several-at-once))."""


class FrontSettings(Frozen):
    """Another researcher or model for one front, such as `[search.front.B]`. What is empty is as in `[researcher]`."""

    kind: Literal["", "claude", "command", "search"] = ""
    """As `researcher.kind`."""
    model: str = ""
    """For `claude`."""
    effort: Literal["", "low", "medium", "high", "xhigh", "max"] = ""
    """For `claude`."""
    command: tuple[str, ...] = ()
    """For `command`."""


class SearchSettings(Frozen):
    """How broadly a session searches. `docs/research.md` has what each costs and gains, as measured."""

    fronts: int = 1
    """How many frontiers are alive, at most 8. What is better than where its own front stands is kept there; the best
    front is the session's branch and `results.tsv`. A bandit on gain per hour shares the runs out. A section `##
    Front: name` in `program.md` is read by one front alone, the first section by the first."""
    plateau: Literal["restarts", "fronts"] = "restarts"
    """What the loop does after 20 runs without a keep: start every fifth proposal at an earlier keep, or open one
    more front there, up to four."""
    front: Mapping[str, FrontSettings] = MappingProxyType({})
    """Who proposes for a front, by its letter, as `[search.front.B]`; `[researcher]` does for all others."""

    @property
    def several(self) -> bool:
        """Whether there may be more than one frontier."""
        return self.fronts > 1 or self.plateau == "fronts"


class LimitSettings(Frozen):
    """What a session may cost, researcher and accelerators together."""

    accelerator_usd_per_hour: float = 0
    """Dollars an hour for one device of `run.devices`, rented or in electricity; 0: not counted. All of them count as
    long as an engine is at work, also without a run, as a rented machine does; when no engine is there, a run that
    continues counts for its device."""
    max_usd: float = 0
    """The session ends when no further run fits into this: nothing is launched and nobody is asked, what runs is
    finished; 0: no limit. `researcher.max_usd` pauses the asking alone."""


class CriticSettings(Frozen):
    """Who gives a second opinion on a proposal before it runs; `env`, `home` and `network` are the researcher's."""

    kind: Literal["", "claude", "command", "search"] = ""
    """Claude through the API, any command-line agent, or the built-in rules, which cost nothing: they object to risk
    matches and to near repeats of what was not kept. Empty: no second opinion."""
    model: str = ""
    """For `claude`; empty: chosen from what the API offers."""
    effort: Literal["", "low", "medium", "high", "xhigh", "max"] = ""
    """For `claude`: how much effort to put into an answer; empty: the model's own default."""
    command: tuple[str, ...] = ()
    """For `command`: as `researcher.command`; it answers with a JSON object and changes nothing."""
    timeout_seconds: float = 600
    """What one opinion may take."""
    rounds: int = 5
    """How often in a row a proposal that the critic does not agree with goes back to the researcher, with the
    reasons; the next such one waits for a human."""


class TransferSettings(Frozen):
    """Whether a gain holds at a larger scale: the best and the baseline run there once each, and decide nothing.

    See [research](research.md#does-a-gain-transfer). `X` and `transfer N` ask for it as well.
    """

    factor: float = 2
    """So many times the budget of `run`; `run.timeout_seconds` grows with it. 1: the same budget, and `env`."""
    env: Mapping[str, str] = MappingProxyType({})
    """What else such a run sees in its environment, such as a scale of the lab's own: `{ DEPTH = "12" }`."""
    every: int = 0
    """Try the best after so many keeps; 0: only when asked."""
    rest: bool = False
    """Try the best at the end of a session with `--until` or `--hours`, as late as it still ends in time."""


class ShareSettings(Frozen):
    """What becomes of what other labs share. `docs/sharing.md` says how labs exchange it."""

    verify: int = 0
    """How many of other labs' kept changes one session tries by itself at most, the best first: each passes the gate,
    the sandbox and the referee as any proposal. 0: they are only told to the researcher."""


class ReviewSettings(Frozen):
    """The gate: what lets a proposal pass, and what happens without an answer."""

    mode: Literal["ask", "auto"] = "ask"
    """Ask a human, or let every proposal pass."""
    unattended: Literal["hold", "approve-low-risk", "approve-if-critic-agrees", "veto"] = "hold"
    """What happens to a proposal without an answer: it waits; passes if it has no risk match; passes if the critic
    agrees, and waits while the critic has not answered; or is vetoed."""
    after_seconds: float = 300
    """How long a proposal waits for an answer before `unattended` decides."""
    critic: CriticSettings = CriticSettings()
    """A second opinion before each run, such as `{ kind = "claude", effort = "low" }`."""


class HookSettings(Frozen):
    """Commands of the human's own, run without a shell when something happens; empty: none."""

    best: tuple[str, ...] = ()
    """A new best score."""
    crash: tuple[str, ...] = ()
    """A crash."""
    waits: tuple[str, ...] = ()
    """A proposal waits for an answer."""
    stopped: tuple[str, ...] = ()
    """The loop has stopped or failed."""
    ended: tuple[str, ...] = ()
    """The session has ended: by a limit, a stop or a failure, not by a detach. Runs last, to stop the machine."""


class Settings(Frozen):
    """The whole of `autoresearch.toml`; the defaults fit an unmodified checkout of the reference."""

    lab: LabSettings = LabSettings()
    run: RunSettings = RunSettings()
    cluster: ClusterSettings = ClusterSettings()
    metric: MetricSettings = MetricSettings()
    researcher: ResearcherSettings = ResearcherSettings()
    search: SearchSettings = SearchSettings()
    limits: LimitSettings = LimitSettings()
    transfer: TransferSettings = TransferSettings()
    share: ShareSettings = ShareSettings()
    review: ReviewSettings = ReviewSettings()
    hooks: HookSettings = HookSettings()


def critic_as_researcher(settings: Settings) -> ResearcherSettings:
    """The critic's settings as a researcher's, for the same clients and sandbox. Its kind must not be empty."""
    critic = settings.review.critic
    assert critic.kind
    return replace(
        settings.researcher,
        kind=critic.kind,
        model=critic.model,
        effort=critic.effort,
        command=critic.command,
        timeout_seconds=critic.timeout_seconds,
    )


def front_as_researcher(settings: Settings, front: int) -> ResearcherSettings:
    """The researcher of a front; 0 is A."""
    own = settings.search.front.get(front_letter(front))
    if own is None:
        return settings.researcher
    usual = settings.researcher
    return replace(
        usual,
        kind=own.kind or usual.kind,
        model=own.model or usual.model,
        effort=own.effort or usual.effort,
        command=own.command or usual.command,
    )


def fronts_with_their_own(settings: Settings) -> tuple[int, ...]:
    """The fronts with a researcher of their own."""
    named = (front for front in range(MOST_FRONTS) if front_letter(front) in settings.search.front)
    return tuple(front for front in named if front_as_researcher(settings, front) != settings.researcher)


def front_letter(front: int) -> str:
    """A front's letter: A for 0."""
    return chr(ord("A") + front)


def timeout_problem(run: RunSettings) -> str:
    """Why no run could ever end by itself; empty if one can."""
    if run.budget_tokens or run.budget_seconds < run.timeout_seconds:
        return ""
    return (
        f"a run is killed after {run.timeout_seconds:g} s (`run.timeout_seconds`), "
        f"before its budget of {run.budget_seconds:g} s (`run.budget_seconds`) is used"
    )
