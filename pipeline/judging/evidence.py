"""An optional step before the verdict: the judge asks for tools, and what they find is shown to it as material.

A tool is a function from text to text. Three are known: a calculator, Python in a locked process (`sandbox.py`), and
the site's own search, a function that the admin names by its dotted path (JUDGE_SEARCH). What a tool returns is
fenced like everything else that the judge did not write.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from pipeline.judging import parsing, protocol, sandbox
from pipeline.judging.config import Protocol
from pipeline.judging.kinds import Form
from pipeline.judging.parsing import Unparsable
from pipeline.judging.plans import Ask, Gather, Plan, Subject, Use, read
from pipeline.judging.protocol import JSON_ONLY, Brief, Shown

MOST_INPUT, MOST_FOUND = 4_000, 4_000  # characters of what a tool is given, and of what it returns
TOOLS: Mapping[str, str] = {
    "calculator": "works out one arithmetic expression, such as (1.07**10 - 1) * 2500",
    "python": "runs a short Python program without files or network; what it prints is the evidence",
    "search": "looks something up; give it a few words",
}


class EvidenceError(Exception):
    """A tool cannot be used on this site; the message says why."""


def gatherer(how: Protocol) -> Gather | None:
    """The evidence step of a protocol, if it has one."""
    if not how.tools:
        return None

    def gather(brief: Brief, subject: Subject) -> Plan[str]:
        form = asking(brief, subject, how)
        wanted = yield from read(Ask("tools", form))
        if isinstance(wanted, Unparsable):
            raise wanted
        uses = wanted[0]
        if not uses:
            return ""
        found = yield uses
        return "\n\n".join(f"[{use.tool}] {use.text}\n{told.text}" for use, told in zip(uses, found, strict=True))

    return gather


def asking(brief: Brief, subject: Subject, how: Protocol) -> Form:
    """Which tools the judge wants to use before it says anything."""
    tools = "\n".join(f'- "{name}": {TOOLS[name]}' for name in how.tools)
    reply = (
        f"Before you judge you may use tools, at most {how.evidence_calls} times:\n{tools}\n\n"
        "One JSON object and nothing else, with an empty list where no tool would help:\n"
        f'{{"uses": [{{"tool": {protocol.spoken(how.tools)}, "input": "…"}}, …]}}'
    )
    shown = Shown(subject.prompt, subject.lettered)
    kind = "preference" if brief.question else brief.asked[0].kind
    messages = protocol.write(brief, kind, shown, reply, f"What would you look up or work out? {JSON_ONLY}")
    return Form(messages, lambda text: read_uses(text, how))


def read_uses(text: str, how: Protocol) -> list[Use]:
    wanted = parsing.fields_of(text, ["uses"])["uses"]
    if not isinstance(wanted, list) or len(wanted) > how.evidence_calls:
        raise Unparsable(f"The uses must be a list of at most {how.evidence_calls}.")
    uses = [use_of(one, how) for one in wanted]
    return list(dict.fromkeys(uses))


def use_of(wanted: Any, how: Protocol) -> Use:
    if not isinstance(wanted, Mapping) or set(wanted) != {"tool", "input"}:
        raise Unparsable("Each use must be an object with “tool” and “input” only.")
    tool = parsing.one_of(wanted, "tool", how.tools)
    said = wanted["input"]
    if not isinstance(said, str) or not said.strip() or len(said) > MOST_INPUT:
        raise Unparsable(f"The input of a tool must be a text of at most {MOST_INPUT:,} characters.")
    return Use(tool, said)


# --- The tools ------------------------------------------------------------------------------------------------
def tools_of(how: Protocol) -> dict[str, Callable[[str], str]]:
    """The functions behind a protocol's tools. Raises EvidenceError where the site lacks one."""
    return {name: short(MAKERS[name]()) for name in how.tools}


def short(tool: Callable[[str], str]) -> Callable[[str], str]:
    """A tool whose findings are not too long."""

    def use(text: str) -> str:
        found = tool(text)
        return found if len(found) <= MOST_FOUND else found[:MOST_FOUND] + "…"

    return use


def search() -> Callable[[str], str]:
    """The site's search function. Raises EvidenceError."""
    path = settings.JUDGE_SEARCH
    if not path:
        raise EvidenceError("This site has no search for judges: set JUDGE_SEARCH, or turn the judge's search off.")
    try:
        found: Callable[[str], str] = import_string(path)
    except ImportError as error:
        raise EvidenceError(f"JUDGE_SEARCH is {path!r}, which cannot be imported ({error}).") from None

    def look_up(text: str) -> str:
        try:
            return str(found(text))
        except (OSError, LookupError, ValueError) as error:  # what a search that fails may be expected to raise
            return f"The search found nothing ({type(error).__name__})."

    return look_up


def locked_python() -> Callable[[str], str]:
    """Python in a locked process. Raises EvidenceError where this machine cannot lock one."""
    if not sandbox.can_run_python():
        raise EvidenceError("This machine cannot lock a process away, so judges cannot run Python here: turn it off.")
    return sandbox.run_python


MAKERS: Mapping[str, Callable[[], Callable[[str], str]]] = {
    "calculator": lambda: sandbox.calculate,
    "python": locked_python,
    "search": search,
}
