"""Admission of a node: its properties, and how they differ from those of the session's class.

Scores of different machines do not compare. The first device that a session admits defines its class.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from autoresearch_tui import __version__
from autoresearch_tui.cluster.training_probe import PACKAGES
from autoresearch_tui.engine.launching import Launcher
from autoresearch_tui.lab import devices
from autoresearch_tui.lab.git import GitRepo
from autoresearch_tui.lab.hardware import hardware
from autoresearch_tui.lab.machine_load import Probe
from autoresearch_tui.lab.paths import Lab
from autoresearch_tui.preparing.lab_data import Check
from autoresearch_tui.runs.environment import check_command, interpreter
from autoresearch_tui.sandbox import for_runs, shared
from autoresearch_tui.session.fleet import Fleet
from autoresearch_tui.session.state import TOLERATED_LEAKS
from autoresearch_tui.util import trees
from autoresearch_tui.util.ask import ask_json
from autoresearch_tui.util.errors import UserError
from autoresearch_tui.util.text import clean_line, describe

LEAST_FREE_BYTES = 2 << 30
PACKAGE = "autoresearch-tui"
PREPARE = "`autoresearch-tui prepare --nodes`"
_PROBE_SECONDS = 60.0
_LONGEST = 400

Difference = tuple[str, str]
"""How a node differs, and the remedy."""


def look(lab: Lab) -> dict[str, str]:
    """A node's properties that matter to runs of its copy of the lab, by name. Runs on the node; takes seconds.

    Never raises: a failure is recorded under `<name> problem`.
    """
    found = {PACKAGE: __version__, "host": socket.gethostname()}
    with Check(lab) as check:  # runs beside the other checks
        for name, item in _ITEMS.items():
            found |= _safely(name, partial(item, lab))
        found |= _safely("data", partial(_data, check))
    return {name: clean_line(text) for name, text in found.items()}


def class_of(fleet: Fleet) -> Mapping[str, str]:
    """The properties of the first device that the session admitted; empty before that."""
    return next((device.found for device in fleet.devices.values()), MappingProxyType({}))


def refusal(wanted: Mapping[str, str], found: Mapping[str, str], accelerator: str) -> Difference | None:
    """Why a node is not used, and the remedy: its most important difference. None if it may be used.

    `wanted` is the session's class, empty for its first device; `accelerator` the model that the lab asks for. Pure.
    """
    first = next((each for each in _differences(wanted, found, accelerator) if each is not None), None)
    # A node's texts are data.
    return None if first is None else (describe(first[0], _LONGEST), describe(first[1], _LONGEST))


def _differences(wanted: Mapping[str, str], found: Mapping[str, str], accelerator: str) -> Iterator[Difference | None]:
    yield _version(found)
    yield _problem(found, "sandbox", "runs are not confined there", "run `autoresearch-tui doctor` there")
    yield _model(found, accelerator)
    yield _problem(found, "hardware", "its accelerator is unknown", "run `autoresearch-tui doctor` there")
    yield _hardware(wanted, found)
    yield _driver(wanted, found)
    yield _problem(found, "command", "its training command does not work", PREPARE)
    yield _problem(found, "interpreter", "what trains there is unknown", "look at the lab's .venv there")
    yield _python(wanted, found)
    for name in PACKAGES:
        yield _package(wanted, found, name)
    yield _problem(found, "data", "its data are not ready", PREPARE)
    yield _data_differ(wanted, found)
    yield _problem(found, "beside", "what lies beside the code is unknown", "look at the node's copy of the lab")
    yield _beside_differ(wanted, found)
    yield _problem(found, "disk", "its disk is unknown", "look at the disk of the node's labs")
    yield _disk(found)


def _safely(name: str, item: Callable[[], dict[str, str]]) -> dict[str, str]:
    try:
        return item()
    except UserError as error:
        return {f"{name} problem": str(error)}
    except Exception as error:  # an unforeseen failure refuses the node, like any other
        return {f"{name} problem": f"cannot be looked at: {type(error).__name__}: {error}"}


def _sandbox(lab: Lab) -> dict[str, str]:
    checked = for_runs.check(Launcher(lab, GitRepo(lab.root)).sandbox_policy())
    found = {"sandbox": checked.kind}
    if for_runs.why_not_unattended(checked):
        fails = ", ".join(name for name in checked.fails if name not in TOLERATED_LEAKS)
        found["sandbox problem"] = f"{checked.kind}: {checked.note or fails}"
    return found


def _accelerator(lab: Lab) -> dict[str, str]:
    seen = devices.visible({**os.environ, **lab.settings.run.env})
    there = Probe((seen,)).read().devices
    found = {"hardware": hardware([seen]), "accelerators": str(len(there))}
    if there:
        found |= {"model": there[0].name, "driver": _driver_version()}
    return found


def _driver_version() -> str:
    try:
        import pynvml

        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
    except Exception:  # NVML's errors differ from driver to driver
        return ""
    return version.decode() if isinstance(version, bytes) else str(version)


def _command(lab: Lab) -> dict[str, str]:
    check_command(lab)
    return {}


def _interpreter(lab: Lab) -> dict[str, str]:
    python = interpreter(lab)
    if python is None:
        return {"interpreter problem": "the lab has no .venv there"}
    script = Path(__file__).with_name("training_probe.py")
    answer = ask_json([str(python), "-I", "-B", str(script)], os.environ, _PROBE_SECONDS)
    if "error" in answer:
        return {"interpreter problem": f"{python}: {answer['error']}"}
    return {name: str(answer[name]) for name in ("python", *PACKAGES) if name in answer}


def _beside(lab: Lab) -> dict[str, str]:
    """The files that runs see beside the commit, including the lab's own data: names, and a hash over names and
    sizes."""
    seen = shared.find(lab, GitRepo(lab.root))
    places = {**seen.beside, **{str(path): path for path in seen.outside}}
    lines = sorted(f"{place}\t{name}\t{size}" for place, real in places.items() for name, size in trees.sizes(real))
    if not lines:
        return {"beside": ""}
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    return {"beside": f"{shared.names(places)}, {len(lines)} files {digest}"}


def _free(lab: Lab) -> dict[str, str]:
    return {"free bytes": str(shutil.disk_usage(lab.root).free), "folder": str(lab.root)}


def _data(check: Check) -> dict[str, str]:
    if problem := check.problem():
        return {"data problem": problem.partition(": run ")[0].partition("; run ")[0]}
    return {"data": check.identity()}


_ITEMS: Mapping[str, Callable[[Lab], dict[str, str]]] = {
    "sandbox": _sandbox,
    "hardware": _accelerator,
    "command": _command,
    "interpreter": _interpreter,
    "beside": _beside,
    "disk": _free,
}


def _version(found: Mapping[str, str]) -> Difference | None:
    there = found.get(PACKAGE, "")
    if there == __version__:
        return None
    what = f"{PACKAGE} {there or 'of an unknown version'}, here {__version__}"
    return what, f"install {PACKAGE}=={__version__} there"


def _problem(found: Mapping[str, str], name: str, what: str, remedy: str) -> Difference | None:
    problem = found.get(f"{name} problem")
    return (f"{what}: {problem}", remedy) if problem else None


def _model(found: Mapping[str, str], accelerator: str) -> Difference | None:
    """Every word of the wanted name must be in the model's."""
    model = found.get("model", "")
    if set(accelerator.casefold().split()) <= set(model.casefold().split()):
        return None
    there = model or "no accelerator"
    return f"it has {there}, and the lab asks for {accelerator}", "leave it out, or change `cluster.accelerator`"


def _hardware(wanted: Mapping[str, str], found: Mapping[str, str]) -> Difference | None:
    there, ours = found.get("hardware", ""), wanted.get("hardware", "")
    if not wanted or there == ours:
        return None
    return f"it has {there}, the session has {ours}", "use the other nodes in a session of their own"


def _driver(wanted: Mapping[str, str], found: Mapping[str, str]) -> Difference | None:
    there, ours = found.get("driver", ""), wanted.get("driver", "")
    if not ours or there.partition(".")[0] == ours.partition(".")[0]:
        return None
    return f"driver {there or 'unknown'}, the session has {ours}", f"install driver {ours.partition('.')[0]} there"


def _python(wanted: Mapping[str, str], found: Mapping[str, str]) -> Difference | None:
    there, ours = (re.match(r"\d+\.\d+", each.get("python", "")) for each in (found, wanted))
    if ours is None or (there is not None and there[0] == ours[0]):
        return None
    remedy = f"make the environment that trains with Python {ours[0]} there"
    return f"Python {found.get('python') or 'unknown'}, the session has {wanted['python']}", remedy


def _package(wanted: Mapping[str, str], found: Mapping[str, str], name: str) -> Difference | None:
    there, ours = found.get(name, ""), wanted.get(name, "")
    if not wanted or there == ours:
        return None
    what = f"{name} {there}, the session has {ours or 'none'}" if there else f"no {name}, the session has {ours}"
    return what, f"install {name}=={ours} there" if ours else f"uninstall {name} there"


def _data_differ(wanted: Mapping[str, str], found: Mapping[str, str]) -> Difference | None:
    there, ours = found.get("data", ""), wanted.get("data", "")
    if not wanted or there == ours:
        return None
    remedy = "prepare the same data there: as many shards, by the same versions; or copy the cache of another node"
    return f"its data are others: {there or 'none'}, the session has {ours or 'none'}", remedy


def _beside_differ(wanted: Mapping[str, str], found: Mapping[str, str]) -> Difference | None:
    there, ours = found.get("beside", ""), wanted.get("beside", "")
    if not wanted or there == ours:
        return None
    what = f"beside the code runs see {there or 'nothing'} there, and {ours or 'nothing'} on the session's others"
    return what, f"put the same files into {found.get('folder') or 'the copy of the lab'} there"


def _disk(found: Mapping[str, str]) -> Difference | None:
    answer = found.get("free bytes", "")
    free = int(answer) if answer.isdecimal() else 0
    if free >= LEAST_FREE_BYTES:
        return None
    where, needed = found.get("folder", "its labs"), LEAST_FREE_BYTES >> 30
    return f"only {free / 2**30:.1f} GiB free", f"free some on the disk of {where} there: {needed} GiB are needed"
