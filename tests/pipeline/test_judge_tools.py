"""What judges may compute with: the calculator, locked Python, the site's search; and how protocols are checked."""

import pytest

from pipeline.judging import config, evidence, sandbox, setup
from pipeline.judging.config import Protocol
from pipeline.ml.configs import ConfigError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2 + 3 * 4", "= 14"),
        ("2^10", "= 1024"),
        ("sqrt(16) + max(1, 2)", "= 6.0"),
        ("1/0", "This cannot be worked out: division by zero."),
        ("9**9**9", "This cannot be worked out: the number is too long."),
        ("__import__(1)", "This cannot be worked out: it calls '__import__', which is no function here."),
        ("(1).__class__", "This cannot be worked out: it holds something that is no arithmetic."),
        ("2 +", "This is not an arithmetic expression."),
    ],
)
def test_the_calculator(text, found):
    assert sandbox.calculate(text) == found


@pytest.mark.stage
@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("import math; print(math.comb(5, 2))", "10"),
        ("print(open('/etc/passwd').read())", "PermissionError"),
        ("open('/tmp/from-a-judge', 'w')", "PermissionError"),
        ("import os; os.listdir('/')", "PermissionError"),
        ("import os; os.fork()", "PermissionError"),
        ("import _socket; _socket.socket()", "Error"),
        ("import os; os.kill(os.getppid(), 9)", "PermissionError"),
        ("import os; print(os.environ.get('PATH'), os.environ.get('DATABASE_URL'))", "None None"),
        ("x = 'a' * 10**9", "MemoryError"),
        ("pass", "The program printed nothing."),
    ],
)
def test_python_computes_and_reaches_nothing(program, found):
    assert sandbox.can_run_python()
    assert found in sandbox.run_python(program)


def look_up(text):
    """A site's own search, as an admin may write one."""
    if text == "down":
        raise ConnectionError
    return f"{text} is found " + "x" * 5000


def test_the_site_s_search_is_a_function_that_the_admin_names(settings):
    how = Protocol(search=True)
    settings.JUDGE_SEARCH = f"{__name__}.look_up"
    tool = evidence.tools_of(how)["search"]
    found = tool("tides")
    assert found.startswith("tides is found")
    assert len(found) == evidence.MOST_FOUND + 1
    assert tool("down") == "The search found nothing (ConnectionError)."
    settings.JUDGE_SEARCH = "nowhere.look_up"
    with pytest.raises(setup.SetupError, match="cannot be imported"):
        setup.checked_protocol({"search": True})
    settings.JUDGE_SEARCH = ""
    with pytest.raises(setup.SetupError, match="set JUDGE_SEARCH"):
        setup.checked_protocol({"search": True})


def test_a_protocol_is_checked_when_it_is_made():
    assert config.kept(config.protocol_of({"samples": 3}))["samples"] == 3
    assert Protocol(questions=" helpful, safe ,helpful").asked == ("helpful", "safe")
    assert (Protocol().heat, Protocol(samples=2).heat) == (0.0, 0.7)
    for wrong in ({"samples": 0}, {"orders": "three"}, {"critique": True, "pairwise": "ratings"}, {"colour": "red"}):
        with pytest.raises(ConfigError):
            config.protocol_of(wrong)
