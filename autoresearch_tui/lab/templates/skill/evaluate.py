"""Fixed: has tasks done by the skills in `skills/`. Nobody changes this file.

`python -I evaluate.py` tries 40 tasks and shows which fail, and why.
`python -I evaluate.py --check` says whether every skill can be read, and has only steps that there are.
`python -I evaluate.py --referee` draws 400 new ones, which nobody has seen, and prints METRIC:completed=0.425, the
share that the skills complete.
"""

import json
import os
import secrets
import stat
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import language  # noqa: E402
import tasks  # noqa: E402

FOLDER = "skills"
MOST_SKILLS, LONGEST_SKILL = 60, 20_000
SHOWN_SEED, SHOWN_EACH, SCORED_EACH = 20240607, 5, 50
SHOWN_LINES = 3  # mistakes of each kind in the log
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Refused(Exception):
    """There is no score, and why."""


def read_skills() -> list[language.Skill]:
    """The skills of the folder that this was started in: plain UTF-8 files, no links."""
    try:
        folder = os.open(FOLDER, _FLAGS | os.O_DIRECTORY)
    except FileNotFoundError:
        return []
    except OSError:
        raise Refused(f"{FOLDER} must be a folder, no link") from None
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".md"))  # noqa: PTH208 (of the open folder)
        if len(names) > MOST_SKILLS:
            raise Refused(f"more than {MOST_SKILLS} skills")
        return [language.read(f"{FOLDER}/{name}", _read(folder, name)) for name in names]
    finally:
        os.close(folder)


def _read(folder: int, name: str) -> str:
    path = f"{FOLDER}/{name}"
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=folder)
        plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:
        plain = False
    if not plain:
        raise Refused(f"{path} must be a plain file, no link")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(LONGEST_SKILL + 1)
    if len(data) > LONGEST_SKILL:
        raise Refused(f"{path} is longer than {LONGEST_SKILL:,} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8") from None


def attempt(skills: list[language.Skill], task: tasks.Task) -> str:
    """Why the task is not completed; empty if it is.

    The skill that fits best answers; the next one does if a check of the first says that it is the wrong one.
    """
    why = "no skill is for this request"
    for skill in language.choose(skills, task.request):
        try:
            answer: Any = language.follow(skill, task.fields)
        except language.Failed as failure:
            why = f"{skill.name}, line {failure.line}: {failure}"
            if isinstance(failure, language.NotMine):
                continue
            return why
        return "" if task.completed(answer) else f"{skill.name} answers {shown(answer)}, not {shown(task.answer)}"
    return why


def check() -> None:
    """Raises Refused for the first step that there is not."""
    for skill in read_skills():
        for number, text in skill.steps:
            if not language.known(text):
                raise Refused(f"{skill.name}, line {number}: unknown step: {text}")


def shown(value: Any) -> str:
    """A value in a line of the log."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def show() -> None:
    """What becomes of the tasks that everyone may see."""
    skills = read_skills()
    for skill in skills:
        if not skill.when:
            print(f'{skill.name}: no line `Use when the request says "…".`, so it is never used')
    drawn = tasks.draw(SHOWN_SEED, SHOWN_EACH)
    done, failures = Counter(), defaultdict(list)
    for task in drawn:
        why = attempt(skills, task)
        done[task.kind] += not why
        if why:
            failures[task.kind].append(f"  {task.request} {why}")
    for kind in dict.fromkeys(task.kind for task in drawn):
        print(f"{kind}: {done[kind]} of {SHOWN_EACH}")
        for line in dict.fromkeys(failures[kind][:SHOWN_LINES]):
            print(line)
    print("\n---")
    print(f"visible_completed: {done.total() / len(drawn):.4f}")
    print(f"num_skills:        {len(skills)}")
    print(f"num_skill_steps:   {sum(len(skill.steps) for skill in skills)}")


def referee() -> None:
    """The share of new tasks that the skills complete."""
    skills = read_skills()
    drawn = tasks.draw(int(os.environ.get("AUTORESEARCH_DRAW") or secrets.randbits(31)), SCORED_EACH)
    scores = [int(not attempt(skills, task)) for task in drawn]
    print(f"METRIC:completed={sum(scores) / len(scores):.6f}")
    # One for each task, so that two sets of skills are compared task by task.
    steps = sum(len(skill.steps) for skill in skills)
    print(json.dumps({"scores": scores, "num_skills": len(skills), "num_skill_steps": steps}))


def main() -> int:
    try:
        {"--check": check, "--referee": referee}.get("".join(sys.argv[1:]), show)()
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
