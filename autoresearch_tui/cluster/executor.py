"""A cluster as the loop's executor. Nothing here waits for a run or the network.

This is the engine's side of the bridge. A run's folder is the truth; messages may be repeated.
"""

from __future__ import annotations

import errno
import itertools
import json
import queue
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec.structs import replace

from autoresearch_tui.cluster import admission, node_lab
from autoresearch_tui.cluster.link import Link
from autoresearch_tui.cluster.protocol import (
    KEEP,
    PACK,
    PROPOSAL,
    SENT,
    BridgeSpec,
    Sent,
    end_record,
)
from autoresearch_tui.engine.judging.assessment import Assessment, FinishedRun
from autoresearch_tui.engine.launching import set_aside, tidy
from autoresearch_tui.engine.preconditions import check_disk
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab.session_files import RunFiles
from autoresearch_tui.runs import run_folder, runner
from autoresearch_tui.session import cluster_file, journal
from autoresearch_tui.session import events as ev
from autoresearch_tui.session.cluster_file import ClusterNow
from autoresearch_tui.session.ends import RunEnd
from autoresearch_tui.session.fleet import CLUSTER, Roster
from autoresearch_tui.session.state import Experiment, Stage
from autoresearch_tui.util import trees
from autoresearch_tui.util.atomic import write
from autoresearch_tui.util.text import clean_line

_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
_STOP_SECONDS = 2.0
# If the cluster was silent for this long, a run to be stopped is not waited for.
AWAY_SECONDS = 60.0
_WANTED_SECONDS = 5.0
_WAIT_SECONDS = 0.1
# A bridge reports every second, except while it imports Ray and joins the cluster, on a busy machine for long.
_QUIET_SECONDS, _HUNG_SECONDS, _JOIN_SECONDS = 10.0, 90.0, 180.0
# At a session's end, for fetching files and giving back accelerators.
_RELEASE_SECONDS = 60.0
_REMEDY = "start Ray there (`ray start`), or name another address; running runs are found again, the session continues"


class OnCluster:
    """Executes runs on a Ray cluster's devices; see :class:`~autoresearch_tui.engine.executor.Executor`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._settings = session.lab.settings.cluster
        self._link: Link | None = None
        self._failures, self._next_try, self._since = 0, 0.0, 0.0
        self._last_alive = time.monotonic()
        self._problem, self._remedy, self._shown = "", _REMEDY, 0.0
        self._roster: Roster | None = None
        self._ready: tuple[str, ...] = ()
        self._quiet = False
        self._base = ""
        self._announced: dict[int, int] = {}  # by run: the try that was sent to this bridge
        self._sent: dict[int, Sent] = {}  # by run in flight
        self._stopped: dict[int, float] = {}
        self._ids = itertools.count(1)
        self._replies: dict[int, queue.SimpleQueue[Mapping[str, Any]]] = {}
        self._not_kept: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._wanted: tuple[Link | None, int, float] = None, 0, 0.0
        self._closed = self._released = False

    # ── devices ─────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def devices(self) -> Sequence[str]:
        """The devices whose nodes answer."""
        return () if self._quiet else self._ready

    def roster(self) -> Roster | None:
        """The bridge's last roster; a cluster that was never reached counts as one refused node."""
        self._keep_bridge()
        self._ask_for_devices()
        with suppress(queue.Empty):
            self._session.append(ev.CommandRefused("run.keep", clean_line(self._not_kept.get_nowait())))
        if self._roster is None and self._problem:
            why = f"{self._settings.address}: {self._problem}"
            return Roster(refused=(ev.NodeRefused(CLUSTER, why, self._remedy),))
        return self._roster

    def check(self, device: str) -> None:  # noqa: ARG002
        """Checks for disk space on this machine for a run's files. Raises TroubleError."""
        check_disk(self._session.files.folder)

    def lost(self, device: str) -> bool:
        """Whether the device has left the session, because its node is gone or is being taken away."""
        known = self._session.state.fleet.devices.get(device)
        return known is None or bool(known.left)

    # ── a run ───────────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self, experiment: Experiment, files: RunFiles) -> None:
        """Packs the objects of the commit that the node lacks; `work` holds them until the verdict."""
        launcher, repo = self._session.launcher, self._session.repo
        launcher.require_approved(experiment)
        set_aside(files.folder)
        (files.folder / SENT).unlink(missing_ok=True)
        self._sent.pop(experiment.number, None)
        tidy(files)
        base, commit = self._node_base(), node_lab.orphan(repo, experiment.commit)
        # The node compares it with the session's base, which also differs from it in editable files only.
        proposal = replace(experiment.proposal, commit=commit, base=base)
        files.work.mkdir(parents=True)
        write(files.work / PACK, node_lab.pack(repo, commit, base))
        write(files.work / PROPOSAL, json.dumps(journal.to_fields(proposal)))

    def start(self, experiment: Experiment, files: RunFiles) -> None:
        """Gives the run to the bridge, which retries."""
        sent = Sent.read(files.folder)
        if sent is None or sent.attempt != experiment.attempt:
            sent = Sent(experiment.number, experiment.attempt, experiment.device)
            sent.write(files.folder)
        self._sent[sent.number] = sent
        self._announce(sent)

    def look(self, files: RunFiles) -> runner.RunStatus:
        """A run is running from the moment it was sent until its end has come back."""
        sent = self._sent.get(number := int(files.folder.name)) or Sent.read(files.folder)
        if sent is None or files.exit.exists():
            return runner.look(files.folder)
        self._sent[number] = sent
        self._announce(sent)
        return runner.RunStatus(runner.RunState.RUNNING)

    def began(self, files: RunFiles) -> bool:
        """Whether a node has confirmed that it has the run."""
        sent = Sent.read(files.folder)
        return sent is not None and sent.accepted

    def stop(self, files: RunFiles, word: signal.Signals = run_folder.STOP) -> None:
        """Sends the signal every two seconds while it is called.

        While the cluster is away the run ends here; its node ends it when it sees the session again. Raises OSError.
        """
        number, now = int(files.folder.name), time.monotonic()
        if self._is_away:
            reason = RunEnd.LOST if word == signal.SIGTERM else RunEnd.KILLED
            write(files.exit, end_record(reason, "its cluster was not reachable when it was to end"))
        elif now - self._stopped.get(number, 0.0) >= _STOP_SECONDS:
            self._stopped[number] = now
            self._send({"do": "stop", "number": number, "word": int(word)})

    def assess(self, run: FinishedRun) -> Assessment:
        """Assesses on the run's node. If that is gone, the run gets another try. Raises OSError.

        Waits for a cluster that is away, unless the session is to stop now.
        """
        number, replies = next(self._ids), queue.SimpleQueue[Mapping[str, Any]]()
        self._replies[number] = replies
        locked, env = dict(run.locked), dict(run.env)
        ask = {"do": "assess", "id": number, "number": run.experiment.number, "locked": locked, "env": env}
        try:
            asked: Link | None = None
            while not run.cancelled.is_set():
                link = self._link
                if link is not None and link is not asked:  # a new bridge does not know the question
                    asked = link
                    link.send(ask)
                with suppress(queue.Empty):
                    return self._assessed(replies.get(timeout=_WAIT_SECONDS), run.files)
                if self._is_away and self._session.state.stopping == "now":
                    raise OSError(errno.EHOSTUNREACH, "its cluster is not reachable; the next start scores it")
        finally:
            del self._replies[number]
        raise OSError(errno.ECANCELED, "the engine lets go")

    def _assessed(self, reply: Mapping[str, Any], files: RunFiles) -> Assessment:
        if "result" in reply:
            return msgspec.json.decode(reply["result"], type=Assessment)
        if reply.get("gone"):
            trees.remove(files.work)  # without a copy to score, a run is repeated
        raise OSError(errno.EAGAIN, f"its node cannot score it: {clean_line(str(reply.get('error')))}")

    def keep_compiled(self, files: RunFiles) -> None:
        """Keeps the compile cache on the run's node, for later runs there."""
        self._send({"do": "keep compiled", "number": int(files.folder.name)})

    def keep_files(self, files: RunFiles, *, lend: bool) -> str:  # noqa: ARG002
        """Requests the files, which the bridge fetches; a node removes no working copy before."""
        if self._session.lab.settings.run.keep and files.work.exists():
            write(files.folder / KEEP, "")
        return ""

    def tidy(self, files: RunFiles, *, work: bool = True) -> bool:
        """Removes the files here at once; the node removes what has no counterpart here."""
        return tidy(files, work=work)

    def close(self) -> None:
        """Ends the bridge; runs and seats stay. After a release, waits until it has brought back the files to keep."""
        self._closed = True
        if self._link is not None:
            self._link.close(_RELEASE_SECONDS if self._released else 0.0)
            self._link = None

    def release(self) -> None:
        """The session has ended: gives back accelerators without a run."""
        self._released = self._link is not None and self._link.answers
        self._send({"do": "release"})

    # ── the bridge ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _is_away(self) -> bool:
        return time.monotonic() - self._last_alive > AWAY_SECONDS

    def _node_base(self) -> str:
        if not self._base:
            session = self._session.state.session
            assert session is not None
            self._base = node_lab.orphan(self._session.repo, session.base)
        return self._base

    def _ask_for_devices(self) -> None:
        """Tells a cluster that scales how many runs there could be at once: running ones and waiting ones."""
        state, now = self._session.state, time.monotonic()
        count = max(1, len(state.in_flight) + sum(e.stage is Stage.APPROVED for e in state.waiting))
        if (self._link, count) != self._wanted[:2] and now - self._wanted[2] > _WANTED_SECONDS and self._link:
            self._wanted = self._link, count, now
            self._send({"do": "want", "count": count})

    def _announce(self, sent: Sent) -> None:
        if self._announced.get(sent.number) != sent.attempt and self._send({"do": "run", "number": sent.number}):
            self._announced[sent.number] = sent.attempt

    def _send(self, command: Mapping[str, Any]) -> bool:
        link = self._link
        if link is None:
            return False
        link.send(command)
        return True

    def _keep_bridge(self) -> None:
        """Starts a bridge if there is none; after one that ended, with growing pauses."""
        link = self._link
        if link is not None and link.has_ended:
            link.close()
            self._link = None
            self._ready, self._announced, self._quiet = (), {}, False
            self._next_try = time.monotonic() + _PAUSES[min(self._failures, len(_PAUSES) - 1)]
            self._failures += 1
            self._show_problem(self._problem or "the connection was lost")
        elif link is not None:
            silent, joined = link.silent_seconds, link.answers
            self._quiet = silent > (_QUIET_SECONDS if joined else _JOIN_SECONDS)
            if self._quiet:
                self._show_problem("its head does not answer")
            if silent > (_HUNG_SECONDS if joined else _JOIN_SECONDS):
                link.kill()
        if self._link is None and not self._closed and time.monotonic() >= self._next_try:
            self._link = Link(self._spec(), self._session.files.folder / "bridge.log", self._on_message)

    def _spec(self) -> BridgeSpec:
        lab, state, settings = self._session.lab, self._session.state, self._settings
        assert state.session is not None
        there = [device for device in state.fleet.devices.values() if not device.left]
        return BridgeSpec(
            address=settings.address,
            lab=node_lab.name(lab, self._session.repo),
            tag=self._session.tag,
            root=str(lab.root),
            session=str(self._session.files.folder),
            base=state.session.base,
            budget_seconds=lab.settings.run.budget_seconds,
            resources=dict(settings.resources),
            accelerator=settings.accelerator,
            lost_after_seconds=settings.lost_after_seconds,
            found=dict(admission.class_of(state.fleet)),
            known=[{"device": d.name, "node": d.node, "model": d.model, "found": dict(d.found)} for d in there],
        )

    def _on_message(self, message: Mapping[str, Any]) -> None:
        if "alive" in message:
            self._problem, self._failures, self._since, self._last_alive = "", 0, 0.0, time.monotonic()
        elif "roster" in message:
            self._roster, self._ready = msgspec.convert(message["roster"], Roster), tuple(message["ready"])
        elif "problem" in message:
            self._problem = clean_line(str(message["problem"]))
            self._remedy = clean_line(str(message["remedy"])) or _REMEDY
        elif "not kept" in message:
            self._not_kept.put(str(message["not kept"]))
        elif (replies := self._replies.get(message.get("reply", 0))) is not None:
            replies.put(message)

    def _show_problem(self, problem: str) -> None:
        first, self._problem = self._problem != problem, problem
        self._since = self._since or time.time()
        now = time.time()
        if first or now - self._shown > 1.0:
            self._shown = now
            with suppress(OSError):
                cluster_file.write(
                    self._session.files.cluster, ClusterNow(self._settings.address, now, problem, self._since)
                )
