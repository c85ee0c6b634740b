"""autoresearch.toml: defaults, and mistakes named with the nearest known key."""

from pathlib import Path

import pytest
from msgspec.structs import asdict

from autoresearch_tui.lab.settings import Settings, front_as_researcher, fronts_with_their_own
from autoresearch_tui.lab.settings_reading import from_table, table
from autoresearch_tui.util.errors import UserError


def read(folder: Path) -> Settings:
    return from_table(*table(folder))


def load(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "autoresearch.toml").write_text(text)
    return read(tmp_path)


def test_the_defaults_fit_the_reference(tmp_path: Path) -> None:
    defaults = read(tmp_path)
    assert defaults.lab.editable == ("train.py",)
    assert defaults.run.command == ("uv", "run", "train.py")
    assert (defaults.run.budget_seconds, defaults.run.timeout_seconds) == (300, 600)
    assert (defaults.review.mode, defaults.review.unattended) == ("ask", "hold")
    assert defaults.researcher.kind == "claude"


def test_every_key_of_the_documented_file_is_known(tmp_path: Path) -> None:
    text = """
    [lab]
    program = "p.md"
    editable = ["a.py"]
    locked = ["b.py"]
    [run]
    command = ["python", "a.py"]
    budget_seconds = 10
    budget_tokens = 5
    timeout_seconds = 20.5
    env = { A = "1" }
    [metric]
    name = "mse"
    pattern = '^METRIC:mse=(\\S+)'
    goal = "maximize"
    referee = ["judge"]
    keep_margin = 0.1
    baseline_runs = 3
    [researcher]
    kind = "command"
    model = "m"
    command = ["claude", "-p"]
    effort = "max"
    thinking = "off"
    env = ["MY_KEY"]
    home = [".config/mine"]
    timeout_seconds = 60
    silence_seconds = 30
    max_usd = 4
    max_tokens = 1_000_000
    queue = 3
    [review]
    mode = "auto"
    unattended = "veto"
    after_seconds = 5
    """
    loaded = load(tmp_path, text)
    assert loaded.run.env == {"A": "1"}
    assert loaded.metric.goal == "maximize"
    assert loaded.researcher.command == ("claude", "-p")
    assert loaded.review.after_seconds == 5.0


def test_pyproject_may_hold_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.autoresearch.run]\nbudget_seconds = 7\n")
    assert read(tmp_path).run.budget_seconds == 7


def test_autoresearch_toml_wins_over_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.autoresearch.run]\nbudget_seconds = 7\n")
    assert load(tmp_path, "[run]\nbudget_seconds = 8\n").run.budget_seconds == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[run]\nbudget_second = 3", ("run.budget_second", "did you mean `run.budget_seconds`")),
        ("[rum]\nx = 1", ("unknown key `rum`", "`run`")),
        ("[run]\nzzz = 1", ("unknown key `run.zzz`", "known:", "budget_tokens")),
        ('[run]\nbudget_seconds = "3"', ("run.budget_seconds", "a number")),
        ("[run]\nbudget_seconds = true", ("run.budget_seconds", "a number")),
        ("[run]\nbudget_seconds = 0", ("run.budget_seconds", "more than 0")),
        ("[run]\nbudget_seconds = nan", ("run.budget_seconds",)),
        ("[run]\nbudget_tokens = 1.5", ("run.budget_tokens", "a whole number")),
        ("[run]\ncommand = []", ("run.command", "empty")),
        ('[run]\ncommand = "python"', ("run.command", "list of strings")),
        ("[run]\nenv = { A = 1 }", ("run.env", "table of strings")),
        ('[metric]\ngoal = "lowest"', ("metric.goal", "'minimize'", "'maximize'")),
        ('[metric]\npattern = "("', ("metric.pattern", "regular expression")),
        ('[metric]\npattern = "x"', ("metric.pattern", "one group")),
        ("[metric]\nkeep_margin = -1", ("metric.keep_margin", "less than 0")),
        ('[researcher]\nkind = "gpt"', ("researcher.kind", "'claude'", "'search'")),
        ('[researcher]\nkind = "command"', ("researcher.command", "empty")),
        ('[researcher]\neffort = "huge"', ("researcher.effort", "'xhigh'")),
        ('[researcher]\nthinking = "on"', ("researcher.thinking", "'adaptive'")),
        ("[researcher]\nmax_tokens = -1", ("researcher.max_tokens", "less than 0")),
        ("[researcher]\nmax_tokens = 1.5", ("researcher.max_tokens", "a whole number")),
        ("[researcher]\nqueue = 0", ("researcher.queue", "more than 0")),
        ("[researcher]\nqueue = 9", ("researcher.queue", "at most 8")),
        ("[researcher]\nsilence_seconds = 0", ("researcher.silence_seconds", "more than 0")),
        ("[researcher]\ntimeout_second = 5", ("did you mean `researcher.timeout_seconds`",)),
        ('[researcher]\nhome = ["~/.ssh"]', ("researcher.home", "relative to your home")),
        ('[researcher]\nhome = [".."]', ("researcher.home", "relative to your home")),
        ('[researcher]\nhome = ["."]', ("researcher.home", "relative to your home")),
        ("[lab]\neditable = []", ("lab.editable", "empty")),
        ('[lab]\neditable = ["/etc/passwd"]', ("lab.editable", "relative")),
        ('[lab]\neditable = ["../x.py"]', ("lab.editable", "relative")),
        ('[lab]\nlocked = ["train.py"]', ("train.py", "both")),
        ('[metric]\ncolumns = ["val_bpb"]', ("metric.columns", "the metric itself")),
        ('[metric]\ncolumns = ["a", "+a"]', ("metric.columns", "there twice")),
        ('[metric]\ncolumns = ["a b"]', ("metric.columns", "'a b'", "name a number")),
        (f"[metric]\ncolumns = {list('abcdefghi')}", ("metric.columns", "9 names", "at most 8")),
        ('[lab]\neditable = ["./train.py"]', ("lab.editable", "plainly")),
        ('[lab]\neditable = ["train.py", "./prepare.py"]', ("lab.editable", "plainly")),
        ('[lab]\neditable = [""]', ("lab.editable", "name a file")),
        ('[lab]\neditable = ["a.py", "a.py"]', ("lab.editable", "twice")),
        ('[lab]\neditable = [".git/config"]', ("lab.editable", "no file of the lab's own")),
        ('[lab]\nlocked = [".autoresearch/x"]', ("lab.locked", "no file of the lab's own")),
        ('[lab]\nprogram = "/etc/passwd"', ("lab.program", "relative")),
        ('[run]\ncommand = [""]', ("run.command", "empty word")),
        ('[run]\ncommand = ["a\\u0000"]', ("run.command", "NUL")),
        ('[run]\nenv = { "A=B" = "1" }', ("run.env", "'A=B'", "variable")),
        ('[run]\nenv = { "" = "1" }', ("run.env", "variable")),
        ('[run]\nenv = { A = "\\u0000" }', ("run.env", "'A'", "NUL")),
        ('[metric]\nreferee = [""]', ("metric.referee", "empty word")),
        ('[metric]\nname = ""', ("metric.name", "one line")),
        ('[metric]\nname = "a\\tb"', ("metric.name", "one line")),
        ('[hooks]\nbest = [" "]', ("hooks.best", "empty word")),
        ("lab = 3", ("[lab]", "table")),
        ("[run", ("not valid TOML",)),
        ('[review]\ncritic = { effort = "low" }\n', ("`review.critic` has no `kind`",)),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_key(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert "autoresearch.toml" in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "autoresearch.toml").write_bytes(b"# \xff\n")
    with pytest.raises(UserError, match="not UTF-8 at byte 2"):
        read(tmp_path)


def test_a_mark_at_the_beginning_and_windows_line_ends_are_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "autoresearch.toml").write_bytes(b"\xef\xbb\xbf[run]\r\nbudget_seconds = 7\r\n")
    assert read(tmp_path).run.budget_seconds == 7


@pytest.mark.parametrize("kind", ["folder", "dangling", "loop", "device"])
def test_what_stands_in_the_place_of_the_settings_is_named_and_not_passed_over(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "autoresearch.toml"
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"dangling": "nowhere", "loop": "autoresearch.toml", "device": "/dev/zero"}[kind])
    with pytest.raises(UserError, match=r"autoresearch\.toml: (not a file|cannot be read)"):
        read(tmp_path)


def test_a_link_to_the_settings_is_followed(tmp_path: Path) -> None:
    (tmp_path / "shared.toml").write_text("[run]\nbudget_seconds = 7\n")
    (tmp_path / "autoresearch.toml").symlink_to("shared.toml")
    assert read(tmp_path).run.budget_seconds == 7


@pytest.mark.parametrize(
    ("text", "words"),
    [("tool = 3", None), ("[tool]\nautoresearch = 3", ("[tool.autoresearch]", "table")), ("x", ("not valid TOML",))],
)
def test_a_pyproject_of_another_form(tmp_path: Path, text: str, words: tuple[str, ...] | None) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    if words is None:
        assert read(tmp_path) == Settings()
        return
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    for word in ("pyproject.toml", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("value", ["[1]", "[1, 0]", "[0, 1, 2]", "[true, 2]", '["a", "b"]', "3", "[nan, 1]", "[1, 1]"])
def test_a_range_is_two_numbers_in_order(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"`metric\.range` must be the lowest and the highest score, such as \[0, 1\]"):
        load(tmp_path, f"[metric]\nrange = {value}\n")


def test_a_range_may_be_open(tmp_path: Path) -> None:
    assert load(tmp_path, "[metric]\nrange = [-inf, 3]\n").metric.range == (float("-inf"), 3.0)


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../model.pt", "~/model.pt", "", "out/**"])
def test_what_a_run_leaves_elsewhere_cannot_be_kept(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(UserError, match=r"`run.keep` has .*; name a file in the run's folder, such as model.pt"):
        load(tmp_path, f'run.keep = ["{pattern}"]\n')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits.max_usd = -1", "`limits.max_usd` must not be less than 0, not -1"),
        ('limits.max_usd = "20"', "`limits.max_usd` must be a number, not '20'"),
        (
            "limits.accelerator_usd = 2",
            "unknown key `limits.accelerator_usd`; did you mean `limits.accelerator_usd_per_hour`",
        ),
        ('search.front.optimizer = { kind = "search" }', "`search.front.optimizer`: fronts are A to H"),
        ('search.front.B = { kind = "command" }', "`search.front.B.command` is empty; for example"),
        ('search.front.B = { kin = "search" }', "unknown key `search.front.B.kin`; did you mean `search.front.B.kind`"),
        ('search.front = "B"', "`search.front` must be a table of tables"),
        ('search.front.B = "search"', "[search.front.B] must be a table"),
        ("run.keep_frontiers = 0", "`run.keep_frontiers` must be more than 0, not 0"),
        (f"run.keep_frontiers = {10**400}", "`run.keep_frontiers` has a number that is too large"),
        ("run.timeout_seconds = 1e300", "`run.timeout_seconds` must be at most 31536000, a year, not 1e+300"),
        (f"metric.at_most = {{ a = {10**400} }}", "`metric.at_most` has a number that is too large"),
        ("metric.at_least = { a = inf }", "`metric.at_least.a` must be a finite number, not inf"),
        ("transfer.factor = 0.5", "`transfer.factor` must be at least 1, not 0.5"),
        ('review.critic = { kind = "search", rounds = 0 }', "`review.critic.rounds` must be more than 0, not 0"),
        ('run.keep = "model.pt"', "`run.keep` must be a list of strings"),
        ('hooks.end = ["x"]', "unknown key `hooks.end`; did you mean `hooks.ended`"),
    ],
)
def test_limits_that_make_no_sense_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)


def test_a_front_has_its_own_researcher_over_the_usual_one(tmp_path: Path) -> None:
    text = """
    researcher = { model = "usual", effort = "low" }
    search.front.B = { model = "other" }
    search.front.C = { kind = "command", command = ["agent"] }
    search.front.D = { model = "usual" }
    """
    settings = load(tmp_path, text)
    usual, other, agent = (front_as_researcher(settings, front) for front in range(3))
    assert usual is settings.researcher
    assert (other.kind, other.model, other.effort) == ("claude", "other", "low")
    assert (agent.kind, agent.command) == ("command", ("agent",))
    assert fronts_with_their_own(settings) == (1, 2)


def test_no_number_may_be_negative_or_infinite(tmp_path: Path) -> None:
    settings = Settings()
    for part, values in asdict(settings).items():
        for key, value in asdict(values).items():
            if type(value) not in (int, float):
                continue
            for wrong in ("-1", "inf", "nan") if type(value) is float else ("-1",):
                with pytest.raises(UserError, match=f"`{part}.{key}` must"):
                    load(tmp_path, f"{part}.{key} = {wrong}")
