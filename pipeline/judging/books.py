"""A worker's books: claims calls, reserves and books money, keeps replies, records annotations.

Everything that comes back within a moment is settled by one transaction, and the next questions are claimed by another
one ahead of need, so that the endpoint never waits for the database. A call is settled once, by the holder of its
claim; its row is written whole from what that holder knows. Replies are kept by their content (JudgeReply), so that a
plan that is run again, after a kill or a failure, goes on where it was and pays for nothing twice.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from pipeline.judging import calls, parsing, protocol, settling
from pipeline.judging.concluding import Ended, conclude, keep_calls
from pipeline.judging.exchange import Reply, Trouble
from pipeline.judging.plans import Ask, Plan, Request, Subject, Told
from pipeline.judging.protocol import Brief
from pipeline.judging.voices import Voices
from pipeline.judging.works import Letter, Work, key_of, step_of
from pipeline.models import Judge, JudgeCall, JudgeReply, StudyCall
from pipeline.routing import budgets

JUDGE_FIELDS = [
    "spent_units", "reserved_units", "unknown_units", "state", "message", "resume_at", "failures", "answered_at",
    "dialect",
]  # fmt: skip
Result = tuple[Letter, Reply | Trouble]


class Books:
    """One worker's books for one judge. Nothing here waits for the network; `outgoing` is what to send next.

    What it asks are the judge's calls about items; `pipeline.quality.rounds` asks the calls of studies in the same
    way, by other answers to: what is due, with which plan, and what follows.
    """

    rows: type[JudgeCall] | type[StudyCall] = JudgeCall

    def __init__(self, judge_id: int, token: str) -> None:
        self.judge_id = judge_id
        self.token = token
        self.kept_voices: Voices | None = None
        self.works: set[Work] = set()
        self.asking: dict[str, Letter] = {}  # by key: what has been reserved and not come back
        self.outgoing: list[Letter] = []
        self.settled: list[str] = []  # the states of calls that have come to an end
        self.is_leaving = False  # nothing new is asked
        self.is_capped = False  # the cap allows no more until something turns out cheaper
        self.members: dict[int, Judge] = {}  # of a panel or a cascade, as they stand and held like the judge
        self.elsewhere: Counter[int] = Counter()  # by member: what this transaction adds to what groups spend at it

    def locked_judge(self) -> Judge:
        """The judge as it stands, held until the transaction ends, and its members likewise."""
        whole = Judge.objects.select_related("project", "prompt", "model_version", "rater")
        judge = whole.select_for_update(of=("self",)).get(pk=self.judge_id)
        self.members = {member.pk: member for member in held_members(judge)}
        self.elsewhere.clear()
        return budgets.allow(judge)

    def voices(self, judge: Judge) -> Voices:
        """Who is asked, as the judge and its members are set up now."""
        members = list(self.members.values())
        self.kept_voices = self.kept_voices.renewed(judge, members) if self.kept_voices else Voices(judge, members)
        return self.kept_voices

    # --- Claiming ---------------------------------------------------------------------------------------------
    @transaction.atomic
    def claim(self, most: int, horizon: int | None = None) -> int:
        """Take up to `most` calls that are due, and reserve what their first requests may cost; returns how many.

        None beyond the call `horizon`, if there is one; none while the judge waits or is stopped. Stops the judge when
        the next call could overrun its cap and none is under way that may turn out cheaper. Raises LeaseLost.
        """
        judge = self.locked_judge()
        self.check_lease(judge)
        now = timezone.now()
        if not calls.may_ask(judge, now) or self.is_capped:
            return 0
        most = 1 - len(self.asking) if judge.failures >= calls.BREAKER else most
        due = self.pending(judge).filter(Q(due_at=None) | Q(due_at__lte=now), claim="", **calls.up_to(horizon))
        due = due.order_by(calls.FRESH_FIRST, "id")  # what fails again and again must not hold up the others
        found = list(due.select_for_update(of=("self",))[: max(0, most)])
        if found:
            voices = self.voices(judge)
            self.launch(judge, voices, [self.begun(voices, call, now) for call in found])
            self.keep(judge, found)
        return len(found)

    def check_lease(self, judge: Judge) -> None:
        """Raises LeaseLost."""
        if judge.lease_token != self.token:
            raise calls.LeaseLost

    def pending(self, judge: Judge) -> QuerySet[Any]:
        """The calls that have no end yet, with what their plans need."""
        return calls.pending(judge).select_related("item").prefetch_related("item__responses")

    def plan_of(self, voices: Voices, call: Any) -> tuple[Brief, Plan[Any]]:
        """What is to be asked for a call."""
        subject = Subject(call.item.prompt, calls.answers_of(call.item), call.order)
        return voices.plan(call.prompt_version, subject)

    def begun(self, voices: Voices, call: Any, now: datetime) -> Work:
        call.claim, call.claimed_at = secrets.token_hex(16), now
        work = Work(call, *self.plan_of(voices, call))
        work.advance()
        self.works.add(work)
        return work

    # --- Asking -----------------------------------------------------------------------------------------------
    def launch(self, judge: Judge, voices: Voices, works: Sequence[Work]) -> None:
        """Answer what the works ask from kept replies, and reserve the rest, as far as the cap allows."""
        todo = list(works)
        finished = [work for work in todo if work.is_over]
        todo = [work for work in todo if not work.is_over]
        while todo:
            keys = {work: [self.key(request, voices) for request in work.requests] for work in todo}
            kept = self.kept_replies(judge, {key for each in keys.values() for key in each})
            for work in todo:
                self.ask(judge, voices, work, keys[work], kept)
            answered = [work for work in todo if not work.waits and work in self.works]
            for work in answered:
                work.advance()
            finished += [work for work in answered if work.is_over]
            todo = [work for work in answered if not work.is_over]
        self.finish(judge, finished)

    def key(self, request: Request, voices: Voices) -> str:
        """Under what a reply is kept."""
        return key_of(request, voices.address(request))

    def kept_replies(self, judge: Judge, keys: set[str]) -> dict[str, Told]:
        found = JudgeReply.objects.filter(project=judge.project_id, key__in=keys)
        rows = found.values_list("key", "text", "finish_reason", "logprobs")
        return {key: Told(text, finish, logprobs) for key, text, finish, logprobs in rows}

    def ask(self, judge: Judge, voices: Voices, work: Work, keys: Sequence[str], kept: dict[str, Told]) -> None:
        """One work's requests: told from what is kept, shared with who asks the same, or reserved and sent."""
        new: dict[str, Letter] = {}
        shared: list[tuple[Letter, int]] = []
        for place, (request, key) in enumerate(zip(work.requests, keys, strict=True)):
            if key in kept:
                work.told[place] = kept[key]
            elif key in self.asking or key in new:
                shared.append((self.asking.get(key) or new[key], place))
            else:
                new[key] = voices.letter(work, place, request, key)
        units = sum(letter.units for letter in new.values())
        capped = self.capped(judge, list(new.values()))
        if capped or (new and self.is_leaving):
            self.put_back(judge, work, capped)
            return
        for letter, place in shared:
            letter.waiting.append((work, place))
        for request in work.requests:
            if isinstance(request, Ask):
                work.call.prompt_sha256 = protocol.fingerprint(request.form.messages)
        work.shared += len(shared)
        work.out += len(new)
        work.call.attempts = min(work.call.attempts + len(new), calls.MOST_COUNTED)
        work.call.reserved_units += units
        judge.reserved_units += units
        for letter in new.values():
            self.spend_elsewhere(letter, letter.units)
        self.asking |= new
        self.outgoing += new.values()

    def capped(self, judge: Judge, letters: Sequence[Letter]) -> str:
        """Why these requests could overrun a cap, the judge's or that of one whose model is asked; empty if not."""
        units: dict[Judge, int] = {judge: 0}
        for letter in letters:
            units[judge] += letter.units
            if letter.judge.pk in self.members:
                member = self.members[letter.judge.pk]
                units[member] = units.get(member, 0) + letter.units
        for payer, most in units.items():
            left = payer.units_left()
            if left is not None and most > left:
                return calls.cap_reached(payer, most, member_of=judge)
        return ""

    def spend_elsewhere(self, letter: Letter, units: int) -> None:
        """Add to what groups have spent at a member; nothing where the judge's own model is asked."""
        if letter.judge.pk in self.members:
            self.elsewhere[letter.judge.pk] += units
            self.members[letter.judge.pk].elsewhere_units += units

    def put_back(self, judge: Judge, work: Work, capped: str) -> None:
        """The call is due again: its next requests cannot be asked now. What it was told is kept."""
        self.release(work)
        if self.is_leaving:
            return
        self.is_capped = True
        if not self.asking:
            settling.stop(judge, capped)

    def release(self, work: Work) -> None:
        work.call.claim = ""
        work.plan.close()
        self.works.discard(work)

    # --- What came back ---------------------------------------------------------------------------------------
    @transaction.atomic
    def settle(self, results: Sequence[Result]) -> None:
        """Book these replies and troubles, and go on with the calls that waited for them."""
        judge = self.locked_judge()
        touched = who_waits([letter for letter, _ in results])
        self.notice_lost(touched)
        replies: list[JudgeReply] = []
        for letter, result in results:
            del self.asking[letter.key]
            self.book(judge, letter, result)
            if isinstance(result, Reply):
                replies.append(self.told(judge, letter, result))
            else:
                self.failed(judge, letter, result)
        JudgeReply.objects.bulk_create(replies, ignore_conflicts=True)
        self.is_capped = False
        self.go_on(judge, [work for work in touched if not work.waits and work in self.works])
        self.keep(judge, [work.call for work in touched if not work.lost])
        if judge.state == Judge.STOPPED and judge.answered_at is None:
            settling.ask_again(judge=judge)  # it never took any question: nothing is given up on its account

    def notice_lost(self, works: Iterable[Work]) -> None:
        """Find out which calls another worker has taken over meanwhile, and hold the others."""
        rows = self.rows.objects.select_for_update().filter(pk__in=[work.call.pk for work in works])
        claims = {pk: (state, claim) for pk, state, claim in rows.values_list("pk", "state", "claim")}
        for work in works:
            if claims.get(work.call.pk) != (JudgeCall.PENDING, work.call.claim):
                work.lost = True

    def book(self, judge: Judge, letter: Letter, result: Reply | Trouble) -> None:
        """What one exchange cost, on the judge and on its call."""
        call = letter.work.call
        letter.work.out -= 1
        charged = isinstance(result, Reply) or result.maybe_charged or result.tokens is not None
        tokens = settling.believed(result.tokens, letter.most)
        cost = settling.cost_of(letter.judge, tokens)
        unknown = letter.units if charged and tokens is None else 0
        read, written = (tokens.read, tokens.written) if tokens else (0, 0)
        judge.spent_units += cost
        self.spend_elsewhere(letter, cost + unknown - letter.units)
        if letter.work.lost:
            # Taken over while it was under way: its reservation stands as unknown. Now it is known, so far as it is.
            judge.unknown_units += unknown - letter.units
            self.rows.objects.filter(pk=call.pk).update(
                tokens_input=F("tokens_input") + read,
                tokens_output=F("tokens_output") + written,
                cost_units=F("cost_units") + cost,
            )
            return
        judge.reserved_units -= letter.units
        judge.unknown_units += unknown
        call.reserved_units -= letter.units
        call.tokens_input += read
        call.tokens_output += written
        call.cost_units += cost

    def told(self, judge: Judge, letter: Letter, reply: Reply) -> JudgeReply:
        """Tell everyone who waits for it what a reply says; returns the row that keeps it."""
        request, call = letter.request, letter.work.call
        is_ask = isinstance(request, Ask)
        allowed = request.form.allowed if isinstance(request, Ask) else ()
        logprobs = parsing.verdict_logprobs(reply.logprobs, allowed, reply.text) if allowed else {}
        told = Told(reply.text, reply.finish_reason[:40], logprobs)
        letter.work.told[letter.place] = told
        for work, place in letter.waiting:
            work.told[place] = told
            work.shared -= 1
        call.seconds += reply.seconds
        if is_ask:
            settling.answers_again(judge, timezone.now())
            call.replies = min(call.replies + 1, calls.MOST_COUNTED)
            call.reply = reply.text
        tokens = settling.believed(reply.tokens, letter.most)
        return JudgeReply(
            project_id=judge.project_id,
            judge=judge,
            call=call if isinstance(call, JudgeCall) else None,
            key=letter.key,
            step=step_of(request)[:120],
            model=letter.judge.model if is_ask else "",
            temperature=request.heat if isinstance(request, Ask) else 0.0,
            sample=request.sample if isinstance(request, Ask) else 0,
            text=reply.text,
            finish_reason=told.finish_reason,
            logprobs=logprobs,
            tokens_input=tokens.read if tokens else None,
            tokens_output=tokens.written if tokens else None,
            cost_units=settling.cost_of(letter.judge, tokens),
            seconds=reply.seconds,
        )

    def failed(self, judge: Judge, letter: Letter, trouble: Trouble) -> None:
        """A request without a usable reply: its own call is in trouble, and who shared it is due again."""
        letter.work.trouble = letter.work.trouble or trouble
        for work, _ in letter.waiting:
            work.shared -= 1
            work.withdrawn = True
        if trouble.dialect and letter.judge.pk == judge.pk:
            judge.dialect = {**judge.dialect, **trouble.dialect}
        elif trouble.dialect:
            letter.judge.dialect = {**letter.judge.dialect, **trouble.dialect}
            Judge.objects.filter(pk=letter.judge.pk).update(dialect=letter.judge.dialect)

    def go_on(self, judge: Judge, works: Sequence[Work]) -> None:
        """Works that wait for nothing: end those in trouble, and let the others ask on or come to an end."""
        now = timezone.now()
        onward = []
        for work in works:
            if work.lost:
                self.works.discard(work)
            elif work.trouble is not None:
                settling.troubled(judge, work.call, work.trouble, now)
                self.release(work)
                self.settled.append(work.call.state)
            elif work.withdrawn:
                self.release(work)
            else:
                work.advance()
                onward.append(work)
        if onward:
            self.launch(judge, self.voices(judge), onward)

    # --- The end of a call ------------------------------------------------------------------------------------
    def finish(self, judge: Judge, works: Sequence[Work]) -> None:
        """Record what finished calls came to, as annotations in stored order, and set the calls' states."""
        conclude(judge, [Ended(work.call, work.brief, work.outcome, work.failure) for work in works])
        for work in works:
            self.release(work)
            self.settled.append(work.call.state)

    def keep(self, judge: Judge, rows: Iterable[Any]) -> None:
        """Write the judge, its members' share and the calls, whose rows this transaction holds."""
        judge.save(update_fields=JUDGE_FIELDS)
        self.keep_members()
        keep_calls(list(rows))

    def keep_members(self) -> None:
        for member, units in sorted(self.elsewhere.items()):
            Judge.objects.filter(pk=member).update(elsewhere_units=F("elsewhere_units") + units)
        self.elsewhere.clear()

    # --- Leaving ----------------------------------------------------------------------------------------------
    @transaction.atomic
    def take_back(self, letters: Sequence[Letter]) -> None:
        """These requests were not sent: they cost nothing, and their calls are due again once nothing is under way."""
        if not letters:
            return
        judge = self.locked_judge()
        touched = who_waits(letters)
        self.notice_lost(touched)
        for letter in letters:
            work, call = letter.work, letter.work.call
            del self.asking[letter.key]
            work.out -= 1
            self.spend_elsewhere(letter, -letter.units)
            if work.lost:
                judge.unknown_units -= letter.units
            else:
                judge.reserved_units -= letter.units
                call.reserved_units -= letter.units
                call.attempts -= 1
            work.withdrawn = True
            for other, _ in letter.waiting:
                other.withdrawn = True
                other.shared -= 1
        self.is_capped = False
        self.go_on(judge, [work for work in touched if not work.waits and work in self.works])
        self.keep(judge, [work.call for work in touched if not work.lost])

    def abandon(self) -> None:
        """This worker goes before some replies came: their calls are due again, and their cost is not known."""
        gone = Trouble("gone", "The worker stopped before the reply came.", maybe_charged=True)
        letters = list(self.asking.values())
        if not letters:
            return
        with transaction.atomic():
            judge = self.locked_judge()
            self.notice_lost(self.works)
            for letter in letters:
                self.book(judge, letter, gone)
                letter.work.call.error = gone.sentence
            for work in self.works:
                work.call.claim = ""
            held = [work.call for work in self.works if not work.lost]
            self.asking.clear()
            self.works.clear()
            self.keep(judge, held)


def held_members(judge: Judge) -> list[Judge]:
    """The judges whose models a panel or a cascade asks, in its order, held until the transaction ends."""
    if judge.kind not in Judge.OF_MEMBERS:
        return []
    seats = dict(judge.seats.values_list("member", "position"))
    held = Judge.objects.select_related("prompt").select_for_update(of=("self",)).filter(pk__in=seats)
    return sorted(held.order_by("pk"), key=lambda member: seats[member.pk])


def who_waits(letters: Iterable[Letter]) -> dict[Work, None]:
    """The works that wait for these letters, their own and others', each once, in their order."""
    found: dict[Work, None] = {}
    for letter in letters:
        found[letter.work] = None
        found |= dict.fromkeys(work for work, _ in letter.waiting)
    return found
