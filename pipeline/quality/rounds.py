"""One worker's round for one study: asks its calls through the judge's protocol, and books every reply.

Each request is reserved before it is sent and booked when its reply is there, as for items (`pipeline.judging.books`):
the spend cap holds, and what a dead worker had reserved stays booked as unknown (`studies.take_lease`). A call whose
requests ran into trouble is asked again from its kept replies.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from pipeline.judging import calls, exchange, parsing, settling
from pipeline.judging.asking import never
from pipeline.judging.plans import Ask, Plan, Request, Told
from pipeline.judging.protocol import ProtocolError
from pipeline.judging.secrets import SecretError
from pipeline.judging.voices import address_of
from pipeline.judging.works import key_of
from pipeline.models import Judge, JudgeReply, Study, StudyCall
from pipeline.quality import audits, studies
from pipeline.quality.studies import MOST_ERROR, Kind, StudyError

RENEW = 10.0  # seconds between signs of life
MOST_TROUBLES = 4  # of one call; then it is given up
GIVE_UP = 6  # troubles in a row; then the endpoint does not work, and the study waits for somebody
BACKOFF = 1.0  # seconds before asking again after a failure, doubled each time
PATIENCE = 20.0  # seconds that a worker waits for the endpoint; a longer rest it leaves to the next one
GLANCE = 0.25
FAREWELL = 3.0
SAMPLES = 10_000  # more samples than a protocol ever asks for


def run_study(
    *, study: Study, kind: Kind, seconds: float | None = None, stop: Callable[[], bool] = never
) -> Mapping[str, int]:
    """Ask what is pending until it is done, has to wait, or `seconds` are over; returns calls by state.

    Returns at once while another worker has the study.
    """
    token = studies.take_lease(study.pk)
    if token is not None:
        try:
            ask_all(study.pk, token, kind, seconds, stop)
        finally:
            studies.give_back(study.pk, token)
    return studies.counts(study)


WHOLE = ("judge__project", "judge__rater", "judge__model_version", "judge__prompt")


def ask_all(study_id: int, token: str, kind: Kind, seconds: float | None, stop: Callable[[], bool]) -> None:
    from pipeline.judging.client import Endpoint  # here, because it takes a moment to import

    study = Study.objects.select_related(*WHOLE).get(pk=study_id)
    try:
        if audits.evaluator_of(study.judge) != study.evaluator:
            raise StudyError("The judge's model, prompt or protocol was changed meanwhile: start it anew.")
        with Endpoint() as endpoint:
            Round(study, token, kind, endpoint, seconds, stop).run()
    except (SecretError, ProtocolError, StudyError) as error:
        studies.halt(study, str(error))
        return
    study.refresh_from_db(fields=["state"])
    if study.state == Study.DUE and not study.calls.filter(state=StudyCall.PENDING).exists():
        studies.finish(study, kind)


@dataclass(eq=False)
class Task:
    """A call in hand, with its plan and what it waits for."""

    call: StudyCall
    plan: Plan[tuple[str, str]]
    requests: Sequence[Request] = ()
    told: dict[int, Told] = field(default_factory=dict)
    out: int = 0  # requests under way
    trouble: exchange.Trouble | None = None
    result: tuple[str, str] | None = None

    def advance(self) -> None:
        """Give the plan its replies; it wants more, or has its result."""
        try:
            said = [self.told[place] for place in range(len(self.requests))]
            self.requests = self.plan.send(said) if said else next(self.plan)
        except StopIteration as stop:
            self.requests, self.result = (), stop.value
        self.told = {}


@dataclass(frozen=True)
class Letter:
    """A request that is under way: for whom, its key, and what is reserved for it."""

    task: Task
    place: int
    request: Ask
    key: str
    units: int


class Round:
    """What is under way for one study. One thread talks to the database, the endpoint's loop to the network."""

    def __init__(
        self, study: Study, token: str, kind: Kind, endpoint: Any, seconds: float | None, stop: Callable[[], bool]
    ) -> None:
        self.study, self.token, self.kind, self.endpoint, self.stop = study, token, kind, endpoint, stop
        self.judge = study.judge
        self.judge.max_tokens = max(self.judge.max_tokens, kind.longest)  # of this round; it is not saved
        self.address = address_of(study.judge)
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.waiting = deque(study.calls.filter(state=StudyCall.PENDING).order_by("pk"))
        self.under_way: dict[Future[exchange.Reply], Letter] = {}
        self.troubles: dict[int, int] = {}  # call → how often it ran into trouble
        self.pause_until = 0.0
        self.renewed = time.monotonic()
        self.is_over = False

    def run(self) -> None:
        try:
            while not self.is_over and (self.waiting or self.under_way):
                self.is_over = self.stop() or (self.deadline is not None and time.monotonic() > self.deadline)
                self.renew()
                if not self.is_over and time.monotonic() >= self.pause_until:
                    self.fill()
                self.collect(GLANCE)
            until = time.monotonic() + FAREWELL
            while self.under_way and time.monotonic() < until:
                self.collect(GLANCE)
        finally:
            for letter in self.under_way.values():
                self.book(letter.units, None, charged=True)

    def renew(self) -> None:
        """Stay the one worker; stop where the study was stopped or taken over."""
        if time.monotonic() - self.renewed < RENEW:
            return
        held = Study.objects.filter(pk=self.study.pk, lease_token=self.token, state=Study.DUE)
        self.is_over = not held.update(lease_until=timezone.now() + studies.LEASE) or self.is_over
        self.renewed = time.monotonic()

    # --- Asking -----------------------------------------------------------------------------------------------
    def fill(self) -> None:
        """Take calls in hand as long as more may be under way."""
        while self.waiting and not self.is_over and len(self.under_way) < self.judge.concurrency:
            call = self.waiting.popleft()
            task = Task(call, self.kind.plan(self.study, call))
            task.advance()
            if not self.launch(task):
                return

    def launch(self, task: Task) -> bool:
        """Answer what a task asks from kept replies and send the rest; False where the cap allows no more now."""
        while task.result is None:
            keys = [self.key(request) for request in task.requests]
            task.told = self.kept(keys)
            missing = [place for place in range(len(keys)) if place not in task.told]
            if missing:
                return self.send(task, keys, missing)
            task.advance()
        self.conclude(task)
        return True

    def key(self, request: Request) -> str:
        """Under what a reply is kept; of a study that asks anew, under a key of its own."""
        if self.kind.anew and isinstance(request, Ask):
            request = replace(request, sample=request.sample + SAMPLES * self.study.pk)
        return key_of(request, self.address)

    def kept(self, keys: Sequence[str]) -> dict[int, Told]:
        rows = JudgeReply.objects.filter(project=self.judge.project_id, key__in=keys)
        known = {row.key: Told(row.text, row.finish_reason, row.logprobs) for row in rows}
        return {place: known[key] for place, key in enumerate(keys) if key in known}

    def send(self, task: Task, keys: Sequence[str], missing: Sequence[int]) -> bool:
        asks = {place: request for place in missing if isinstance(request := task.requests[place], Ask)}
        units = {place: calls.bound(self.judge, ask.form.messages) for place, ask in asks.items()}
        if not self.reserve(sum(units.values())):
            task.plan.close()
            self.waiting.appendleft(task.call)
            return False
        for place, ask in asks.items():
            sampling = {"heat": ask.heat, "logprobs": ask.logprobs}
            future = self.endpoint.ask(self.address, ask.form.messages, self.judge.dialect, **sampling)
            self.under_way[future] = Letter(task, place, ask, keys[place], units[place])
        task.out += len(asks)
        task.call.attempts += len(asks)
        return True

    def reserve(self, units: int) -> bool:
        """Set the cost aside; False where the cap does not allow it now. Stops the study if it never will."""
        with transaction.atomic():
            judge = Judge.objects.select_for_update().get(pk=self.judge.pk)
            left = judge.units_left()
            if left is None or units <= left:
                calls.book(judge.pk, reserved=units)
                Study.objects.filter(pk=self.study.pk).update(reserved_units=F("reserved_units") + units)
                return True
        if not self.under_way:
            studies.halt(self.study, calls.cap_reached(judge, units))
            self.is_over = True
        return False

    # --- What came back ---------------------------------------------------------------------------------------
    def collect(self, seconds: float) -> None:
        if not self.under_way:
            time.sleep(max(0.0, min(seconds, self.pause_until - time.monotonic())))
            return
        done, _ = wait(self.under_way, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            letter = self.under_way.pop(future)
            letter.task.out -= 1
            try:
                self.told(letter, future.result())
            except exchange.Trouble as trouble:
                self.troubled(letter, trouble)
            if not letter.task.out:
                self.go_on(letter.task)

    @transaction.atomic
    def told(self, letter: Letter, reply: exchange.Reply) -> None:
        """Keep a reply and book its cost."""
        tokens, allowed = settling.tokens_of(reply), letter.request.form.allowed
        logprobs = parsing.verdict_logprobs(reply.logprobs, allowed) if allowed else {}
        told = Told(reply.text, reply.finish_reason[:40], logprobs)
        letter.task.told[letter.place] = told
        letter.task.call.reply = reply.text
        self.study.failures = 0
        cost = self.paid(letter, tokens, charged=True)
        kept = JudgeReply(
            project_id=self.judge.project_id,
            judge=self.judge,
            key=letter.key,
            step=letter.request.step[:120],
            model=self.judge.model,
            temperature=letter.request.heat,
            sample=letter.request.sample,
            text=reply.text,
            finish_reason=told.finish_reason,
            logprobs=logprobs,
            tokens_input=reply.tokens_input,
            tokens_output=reply.tokens_output,
            cost_units=cost,
            seconds=reply.seconds,
        )
        JudgeReply.objects.bulk_create([kept], ignore_conflicts=True)

    @transaction.atomic
    def troubled(self, letter: Letter, trouble: exchange.Trouble) -> None:
        """Book what a request without a usable reply may have cost; its call is settled once nothing of it is out."""
        self.paid(letter, trouble.tokens, charged=trouble.maybe_charged or trouble.tokens is not None)
        letter.task.trouble = letter.task.trouble or trouble
        if trouble.dialect:
            self.judge.dialect = {**self.judge.dialect, **trouble.dialect}
            Judge.objects.filter(pk=self.judge.pk).update(dialect=self.judge.dialect)

    def paid(self, letter: Letter, tokens: tuple[int, int] | None, *, charged: bool) -> int:
        cost = self.book(letter.units, tokens, charged=charged)
        call = letter.task.call
        call.tokens_input += (tokens or (0, 0))[0]
        call.tokens_output += (tokens or (0, 0))[1]
        call.cost_units += cost
        call.save()
        return cost

    def book(self, units: int, tokens: tuple[int, int] | None, *, charged: bool) -> int:
        """Settle what was reserved; returns the cost. Where nobody tells it, the most that it can be stays booked."""
        cost = settling.cost_of(self.judge, tokens)
        unknown = units if charged and tokens is None else 0
        with transaction.atomic():
            held = Study.objects.filter(pk=self.study.pk, lease_token=self.token)
            if held.update(reserved_units=F("reserved_units") - units):
                calls.book(self.judge.pk, spent=cost, reserved=-units, unknown=unknown)
            else:  # taken over meanwhile: what was reserved stands as unknown, and now it is known, so far as it is
                calls.book(self.judge.pk, spent=cost, unknown=unknown - units)
        return cost

    def go_on(self, task: Task) -> None:
        """Nothing of a call is out any more: go on with its plan, or see what its trouble means."""
        if task.trouble is None:
            task.advance()
            self.launch(task)
            return
        task.plan.close()
        self.settle_trouble(task.call, task.trouble)

    def conclude(self, task: Task) -> None:
        assert task.result is not None
        choice, error = task.result
        task.call.state = StudyCall.UNPARSABLE if error else StudyCall.ANSWERED
        task.call.choice, task.call.error = ("unparsable" if error else choice), error[:MOST_ERROR]
        task.call.save()

    def settle_trouble(self, call: StudyCall, trouble: exchange.Trouble) -> None:
        """Ask again, later or otherwise; or give the call up; or stop."""
        call.error = trouble.sentence[:MOST_ERROR]
        if trouble.kind == exchange.REFUSED:
            studies.halt(self.study, trouble.sentence)
            self.is_over = True
        elif trouble.kind == exchange.BUSY:
            self.pause(BACKOFF if trouble.retry_after is None else trouble.retry_after)
        elif trouble.kind != exchange.DIALECT:
            self.failed(call, trouble)
        call.save()
        if call.state == StudyCall.PENDING:
            self.waiting.append(call)

    def failed(self, call: StudyCall, trouble: exchange.Trouble) -> None:
        self.study.failures += 1
        self.troubles[call.pk] = self.troubles.get(call.pk, 0) + 1
        if trouble.kind == exchange.REJECTED or self.troubles[call.pk] >= MOST_TROUBLES:
            call.state = StudyCall.FAILED
        if self.study.failures >= GIVE_UP:
            studies.halt(self.study, f"The endpoint does not work. {trouble.sentence}")
            self.is_over = True
        elif trouble.kind == exchange.DOWN:
            self.pause(trouble.retry_after or BACKOFF * 2 ** (self.study.failures - 1))

    def pause(self, seconds: float) -> None:
        """Ask nothing for so long; a rest that is longer than this worker's patience is left to the next one."""
        self.pause_until = time.monotonic() + min(seconds, PATIENCE)
        if seconds > PATIENCE:
            Study.objects.filter(pk=self.study.pk).update(due_at=timezone.now() + timedelta(seconds=seconds))
            self.is_over = True
