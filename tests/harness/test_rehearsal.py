"""The rehearsal: two small steps without data, alone and as the engine's smoke test of a proposal."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from autoresearch_tui.engine.proposing.smoke_test import SmokeTest
from autoresearch_tui.engine.session import Session
from autoresearch_tui.lab import creation
from autoresearch_tui.lab import paths as labs
from autoresearch_tui.sandbox import for_runs

from .test_end_to_end import make_lab, run_train, summary

HONEST = ("DEPTH = 2", "DEPTH = 3")
BROKEN = (
    "self.down = Linear(4 * config.n_embd, config.n_embd)",
    "self.down = Linear(3 * config.n_embd, config.n_embd)",
)


def test_it_needs_no_data_and_takes_two_small_steps(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, "consumer8", DEPTH=2)
    env = {"AUTORESEARCH_PREFLIGHT": "1", "AUTORESEARCH_PROFILE": "consumer8", "AUTORESEARCH_DEVICE": "cpu"}
    done = run_train(lab, tmp_path / "nowhere", **env)
    assert done.returncode == 0, done.stderr
    assert "sequence_len=256, vocab_size=8192" in done.stdout  # what is not a length stays as it is
    assert {k: v for k, v in summary(done.stdout).items() if k in ("num_steps", "device_batch")} == {
        "num_steps": "1",  # after one of warm-up
        "device_batch": "1",
    }
    assert not (tmp_path / "nowhere").exists()


def test_the_engines_trial_tells_a_broken_model_from_an_honest_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if for_runs.mechanism().kind is for_runs.Kind.NONE:
        pytest.skip("nothing confines a run here")
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "nothing prepared"))
    monkeypatch.setattr("autoresearch_tui.engine.proposing.smoke_test.accelerator", lambda: True)
    lab = labs.find(creation.init(tmp_path / "lab", "gpt", demo=True))
    session = Session(lab, "t")
    smoke_test = SmokeTest(session.launcher, session.files.folder / "smoke-test", seconds=300)
    source = (lab.root / "train.py").read_text(encoding="utf-8")
    locked = {path: (lab.root / path).read_text(encoding="utf-8") for path in lab.settings.lab.locked}
    assert smoke_test.why_not({**locked, "train.py": source}) == ""
    answers = []
    for old, new in (HONEST, BROKEN):
        assert source.count(old) == 1
        proposal = {"train.py": source.replace(old, new)}
        answers.append(smoke_test.run(session.launcher.repo.head(), proposal, threading.Event()))
    assert answers[0] is None
    assert "two small steps on the CPU failed (crashed)" in answers[1]
    assert "RuntimeError: " in answers[1]
