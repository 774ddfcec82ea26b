"""Try a judge on one item, in every order and through its whole protocol: nothing is kept but what it cost."""

import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from django.db import transaction

from annotate.models import Item
from pipeline import money
from pipeline.judging import calls, evidence, exchange, protocol, settling
from pipeline.judging.parsing import verdict_logprobs
from pipeline.judging.plans import Ask, Outcome, Plan, Request, Subject, Told, Use
from pipeline.judging.voices import Voice, Voices
from pipeline.judging.works import key_of, step_of
from pipeline.models import Judge, JudgePrompt
from pipeline.routing import budgets

LONGEST = 25.0  # seconds that one request may take, because somebody waits for a page


@dataclass(frozen=True)
class Exchange:
    """One request: what was sent, what came back, what it cost."""

    step: str
    member: str
    sent: str
    received: str
    error: str = ""
    tokens: tuple[int, int] | None = None
    cost: Decimal = Decimal(0)
    seconds: float | None = None


@dataclass
class Trial:
    """One order of the item: its exchanges, and what they come to."""

    order: list[int]
    exchanges: list[Exchange] = field(default_factory=list)
    outcome: Outcome | None = None
    error: str = ""

    @property
    def cost(self) -> Decimal:
        return sum((each.cost for each in self.exchanges), Decimal(0))

    @property
    def answers(self) -> dict[str, str]:
        """What it says to each question, in stored order."""
        said = self.outcome.answers if self.outcome else {}
        return {name: in_words(answer) for name, answer in said.items()}


def in_words(answer: Any) -> str:
    """An answer for people: a preference's choice with its strength, else as JSON."""
    if isinstance(answer, dict) and "choice" in answer:
        return f"{answer['choice']}, strength {answer['strength']}" if "strength" in answer else str(answer["choice"])
    return json.dumps(answer, ensure_ascii=False)


def subject_of(item: Item, order: tuple[int, ...]) -> Subject:
    return Subject(item.prompt, calls.answers_of(item), order)


def preview(judge: Judge, item: Item, prompt: JudgePrompt | None = None) -> list[tuple[str, list[dict[str, str]]]]:
    """The first requests that a judge makes about an item, with `prompt` in place of its own: (step, messages) each.

    Raises ProtocolError, or SecretError where its key cannot be read.
    """
    if judge.kind == Judge.REWARD:
        return []
    if judge.kind == Judge.LOCAL:
        brief = protocol.brief_of(judge.project, prompt or judge.prompt)
        return [
            ("verdict", protocol.messages(brief, item.prompt, calls.answers_of(item), (0, 1), protocol.LETTER_REPLY))
        ]
    if prompt is not None:
        judge.prompt, judge.prompt_version = prompt, prompt.name
    order = calls.orders(judge, item.responses.count())[0]
    _, plan = Voices(judge).plan(judge.prompt_version, subject_of(item, order))
    return [(request.step, request.form.messages) for request in next(plan) if isinstance(request, Ask)]


def try_judge(*, judge: Judge, item: Item, prompt: JudgePrompt | None = None) -> list[Trial]:
    """Ask a judge about one item, now, in the words of `prompt` if one is given; members keep their own words.

    Raises ProtocolError, SecretError, EvidenceError or settling.CapReached. An endpoint that will not take one of our
    parameters is asked again without it, which is remembered.
    """
    if prompt is not None:
        judge.prompt, judge.prompt_version = prompt, prompt.name  # of this object only: nothing is saved
    return Trying(judge, item).run()


class Trying:
    """One try: the plans of all orders, driven together; the same request of two orders is sent once."""

    def __init__(self, judge: Judge, item: Item) -> None:
        self.judge = judge
        self.voices = Voices(judge)
        self.tools = {
            name: tool for voice in self.voices.by_id.values() for name, tool in evidence.tools_of(voice.how).items()
        }
        self.trials: list[Trial] = []
        self.plans: list[Plan[Outcome]] = []
        for order in calls.orders(judge, item.responses.count()):
            _, plan = self.voices.plan(judge.prompt_version, subject_of(item, order))
            self.trials.append(Trial(list(order)))
            self.plans.append(plan)
        self.told: dict[str, Told | str] = {}  # by key: what was said, or why nothing was

    def run(self) -> list[Trial]:
        from pipeline.judging.client import Endpoint  # here, because it takes a moment to import

        waiting = {place: next(plan) for place, plan in enumerate(self.plans)}
        with Endpoint() as endpoint:
            while waiting:
                self.ask_all(endpoint, waiting)
                waiting = self.go_on(waiting)
        return self.trials

    def go_on(self, waiting: dict[int, Any]) -> dict[int, Any]:
        """Give each plan its replies; those that want more, by place."""
        onward = {}
        for place, requests in waiting.items():
            said = [self.told[self.key(request)] for request in requests]
            failures = [one for one in said if isinstance(one, str)]
            if failures:
                self.trials[place].error = failures[0]
                continue
            try:
                onward[place] = self.plans[place].send([one for one in said if isinstance(one, Told)])
            except StopIteration as stop:
                self.trials[place].outcome, self.trials[place].error = stop.value, stop.value.error
        return onward

    def key(self, request: Request) -> str:
        return key_of(request, self.voices.address(request))

    def ask_all(self, endpoint: Any, waiting: dict[int, Any]) -> None:
        """Send what nobody has sent yet, all at once, and note every exchange with the order that asked first."""
        asked: list[tuple[int, Request]] = []
        for place, requests in waiting.items():
            for request in requests:
                if self.key(request) not in self.told:
                    self.told[self.key(request)] = ""
                    asked.append((place, request))
        units = [self.units(request) for _, request in asked]
        reserve(self.judge, [(self.payer(request), most) for (_, request), most in zip(asked, units, strict=True)])
        under_way = [self.start(endpoint, request) for _, request in asked]
        for (place, request), most, future in zip(asked, units, under_way, strict=True):
            made, told = self.settled(endpoint, request, most, future)
            self.told[self.key(request)] = told
            self.trials[place].exchanges.append(made)

    def units(self, request: Request) -> int:
        if isinstance(request, Use):
            return 0
        return settling.bound(self.voice(request).judge, request.form.messages)

    def payer(self, request: Request) -> Judge:
        """Whose model is asked."""
        return self.voice(request).judge if isinstance(request, Ask) else self.judge

    def voice(self, request: Ask) -> Voice:
        return self.voices.by_id[request.member]

    def start(self, endpoint: Any, request: Request) -> "Future[exchange.Reply] | None":
        if isinstance(request, Use):
            return None
        voice = self.voice(request)
        address = replace(voice.address, timeout=min(voice.address.timeout, LONGEST))
        sampling = {"heat": request.heat, "logprobs": request.logprobs}
        started: Future[exchange.Reply] = endpoint.ask(address, request.form.messages, voice.judge.dialect, **sampling)
        return started

    def settled(
        self, endpoint: Any, request: Request, most: int, future: "Future[exchange.Reply] | None"
    ) -> tuple[Exchange, Told | str]:
        """One exchange to its end, and what it says, or why it says nothing."""
        if isinstance(request, Use) or future is None:
            assert isinstance(request, Use)
            found = self.tools[request.tool](request.text)
            return Exchange(step_of(request), "", request.text, found), Told(found)
        voice = self.voice(request)
        for _ in range(len(exchange.DIALECTS) + 1):
            outcome = outcome_of(future)
            made = booked(self.judge, voice, request, most, outcome)
            if isinstance(outcome, exchange.Reply):
                allowed = request.form.allowed
                logprobs = verdict_logprobs(outcome.logprobs, allowed, outcome.text) if allowed else {}
                return made, Told(outcome.text, outcome.finish_reason, logprobs)
            if not outcome.dialect:
                break
            voice.judge.dialect = {**voice.judge.dialect, **outcome.dialect}
            Judge.objects.filter(pk=voice.judge.pk).update(dialect=voice.judge.dialect)
            reserve(self.judge, [(voice.judge, most)])
            again = self.start(endpoint, request)
            assert again is not None
            future = again
        return made, made.error


Result = exchange.Reply | exchange.Trouble


def outcome_of(future: "Future[exchange.Reply]") -> Result:
    try:
        return future.result()
    except exchange.Trouble as trouble:
        return trouble


@transaction.atomic
def reserve(judge: Judge, wanted: Sequence[tuple[Judge, int]]) -> None:
    """Set aside what `judge` may spend: units at its own model or at a member's. Raises CapReached.

    It is booked as unknown until the replies are there, so it stays right if this process does not live to see them.
    """
    for asked, units in wanted:
        for payer in dict.fromkeys((judge.pk, asked.pk)):
            locked = Judge.objects.select_for_update().get(pk=payer)
            left = (budgets.allow(locked) if payer == judge.pk else locked).units_left()
            if left is not None and units > left:
                raise settling.CapReached(calls.cap_reached(locked, units, member_of=judge))
        calls.book(judge.pk, unknown=units)
        calls.book_elsewhere(judge.pk, asked.pk, units)


def booked(judge: Judge, voice: Voice, request: Ask, units: int, result: Result) -> Exchange:
    """Book what one question cost."""
    trouble = result if isinstance(result, exchange.Trouble) else None
    tokens = settling.believed(result.tokens, settling.most_tokens(voice.judge, request.form.messages))
    cost = settling.cost_of(voice.judge, tokens)
    lost = tokens is None and (trouble is None or trouble.maybe_charged or trouble.tokens is not None)
    calls.book(judge.pk, spent=cost, unknown=0 if lost else -units)
    calls.book_elsewhere(judge.pk, voice.judge.pk, 0 if lost else cost - units)
    sampling = {"heat": request.heat, "logprobs": request.logprobs}
    sent = exchange.request(voice.address, request.form.messages, voice.judge.dialect, **sampling)  # type: ignore[arg-type]
    return Exchange(
        step=request.step,
        member=voice.judge.name if request.member else "",
        sent=pretty(sent),
        received=pretty_text(result.body),
        error=trouble.sentence if trouble else "",
        tokens=(tokens.read, tokens.written) if tokens else None,
        cost=money.amount(cost),
        seconds=None if trouble else result.seconds,  # type: ignore[union-attr]
    )


def pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def pretty_text(body: str) -> str:
    """A body as JSON with line breaks, or as it is where it is none."""
    try:
        return pretty(json.loads(body))
    except (ValueError, RecursionError):
        return body
