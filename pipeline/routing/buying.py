"""Spends the budget of people's answers where it is worth most, and acts on what came in. Decisions go to `deciding`.

One look, with the state's row held, so that workers cannot overrun the budget together:

    1. people whom the budget kept waiting are asked, and those who stand in for a judge whose money is used up
    2. where a label is sure enough, open places are closed; a live lease keeps its place
    3. where people disagree, one more is asked, or a reviewer decides
    4. where a person contradicts the judge on an item that was drawn, its nearest kin go to people
    5. the ranking fills the batch that is with people: drawn evenly first, then by worth
"""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from annotate.models import Annotation, Assignment, Item, Project, Rater
from annotate.queue import PEOPLE
from annotate.slots import counted_by_people
from pipeline.judging import calls
from pipeline.models import Belief, JudgeCall, Route, RoutingPolicy, RoutingState
from pipeline.routing import budgets, deciding, picking
from pipeline.routing.adopting import InForce, in_force
from pipeline.routing.believing import fits, following
from pipeline.routing.believing.fits import Fit
from pipeline.routing.choosing import buying
from pipeline.routing.choosing.opening import Choice
from pipeline.routing.choosing.plans import INFORMATION, REVIEWER
from pipeline.routing.deciding import Decided

AT_ONCE = 200  # items of each kind in one look
KIN = 5  # of a batch, one in so many may follow contradictions
AMONG = 500  # candidates among which kin are looked for, the best by the ranking


def projects_to_follow() -> list[int]:
    """The active projects with a policy of their own: what `wake` looks at."""
    found = RoutingPolicy.objects.filter(project__state=Project.ACTIVE)
    return sorted(set(found.values_list("project", flat=True)))


def look(project: Project) -> Counter[str]:
    """Bring beliefs up to what was said, then act on them; returns how many decisions of each part were made."""
    policy = in_force(project)
    if not policy.number:
        return Counter()
    state = following.claim(project)
    if state is None:
        return Counter()
    try:
        if policy.plan.ranks:
            following.follow(project, policy.plan, state)
        elif state.layout:
            following.retire(project, state)
    finally:
        following.release(project)
    return buy(project, policy)


@transaction.atomic
def buy(project: Project, policy: InForce) -> Counter[str]:
    """One look at the budget and what waits for it."""
    state = budgets.held(project)
    purse = Purse(project, policy, state)
    purse.pay_owed()
    purse.stand_in_for_judges()
    if policy.plan.ranks:
        fit = newest_fit(project)
        if fit is not None:
            purse.close_sure()
            purse.settle_disagreements()
            purse.follow_contradictions(fit)
            purse.fill(fit)
    budgets.keep(state)
    return purse.made


def newest_fit(project: Project) -> Fit | None:
    question = following.question_of(project)
    kept = fits.newest(question) if question else None
    return fits.opened(kept) if kept else None


def candidates(project: Project) -> QuerySet[Belief]:
    """Judged pairs about which no person was asked, as the ranking has them."""
    return Belief.objects.filter(project=project, score__gt=0)


def under_way(project: Project) -> QuerySet[Belief]:
    """Pairs that the ranking asked people about and that still wait for one: an open place, or somebody at work."""
    held = Assignment.objects.filter(item=OuterRef("item"), state=Assignment.LEASED)
    asked = Belief.objects.filter(project=project).exclude(asked="")
    return asked.filter(Q(item__slots_open__gt=0) | Exists(held))


class Purse:
    """What one look spends: the held state and the decisions made with it."""

    def __init__(self, project: Project, policy: InForce, state: RoutingState) -> None:
        self.project, self.policy, self.plan, self.state = project, policy, policy.plan, state
        self.made: Counter[str] = Counter()

    def affordable(self, each: int) -> int:
        """How many items can be paid at so many answers each."""
        left = budgets.left(self.state, self.plan.budget)
        return AT_ONCE if left is None else min(AT_ONCE, left // max(each, 1))

    def decide(self, decided: Sequence[Decided]) -> None:
        """Keep decisions, pay for them and do them."""
        deciding.keep(decided, self.policy.version)
        deciding.carry_out(decided)
        budgets.spend(self.state, sum(each.cost for each in decided))
        for each in decided:
            self.made[each.choice.arm] += 1
            budgets.count(self.state, each.choice.arm, each.cost)

    def pay_owed(self) -> None:
        """Ask the people that earlier decisions wanted and the budget did not allow."""
        if not self.state.owed:
            return
        count = self.affordable(self.project.overlap)
        waiting = Item.objects.filter(project=self.project, route__in=PEOPLE, overlap=0)
        waiting = waiting.exclude(state__in=[Item.ARCHIVED, Item.GOLD])
        ids = list(waiting.order_by("pk").values_list("pk", flat=True)[:count])
        newest = {route.item_id: route for route in Route.objects.filter(item__in=ids).order_by("number")}
        self.decide([Decided(pk, afresh(newest[pk]), None, self.project.overlap) for pk in ids if pk in newest])
        self.state.owed = self.state.owed - len(ids) if len(ids) == count else 0

    def stand_in_for_judges(self) -> None:
        """Send to people what waits for a judge that the policy's money pays no more, as far as their budget goes."""
        if self.plan.budget.money is None or self.policy.has_judge:
            return
        asked = JudgeCall.objects.filter(item=OuterRef("pk")).exclude(claim="")  # a reply may be on its way
        said = Annotation.objects.filter(item=OuterRef("pk"), rater__kind=Rater.JUDGE)
        waiting = Item.objects.filter(~Exists(said), ~Exists(asked), project=self.project, route=Item.JUDGE)
        waiting = waiting.filter(state=Item.OPEN).order_by("pk")
        ids = list(waiting.values_list("pk", flat=True)[: self.affordable(self.project.overlap)])
        choice = buying.instead_of_judge(self.plan.budget.money)
        self.decide([Decided(pk, choice, None, self.project.overlap) for pk in ids])
        calls.withdraw(ids)

    def close_sure(self) -> None:
        """Close open places of items whose labels are sure; who holds a lease keeps it."""
        found = list(Belief.objects.filter(project=self.project, enough=True).select_related("item")[:AT_ONCE])
        decided, closed, nobodys = [], 0, []
        for belief in found:
            item, staying = belief.item, answered(belief.item_id) + leases(belief.item_id)
            places = item.slots_open
            if places:
                route = item.route if staying else Item.JUDGE
                choice = buying.enough(*most_probable(belief), places, features_of(belief, route))
                decided.append(Decided(item.pk, choice, staying))
                closed += places
            if not staying:
                nobodys.append(belief.pk)
        Belief.objects.filter(pk__in=[belief.pk for belief in found]).update(enough=False)
        Belief.objects.filter(pk__in=nobodys).update(asked="")
        self.decide(decided)
        budgets.give_back(self.state, closed)

    def settle_disagreements(self) -> None:
        """One more person, or a reviewer, where people disagree and nobody else is under way."""
        found = Belief.objects.filter(project=self.project, disagree=True).select_related("item")[:AT_ONCE]
        left = self.affordable(1)
        decided = []
        for belief in found:
            item = belief.item
            if item.slots_open or leases(item.pk):
                continue
            features = features_of(belief, item.route or Item.HUMAN)
            if self.plan.split == REVIEWER or belief.people >= self.plan.most:
                why = "no further person may be asked" if belief.people >= self.plan.most else "the policy says so"
                choice, more = buying.to_reviewer(belief.votes, belief.people, features, why), 0
            elif left:
                choice, more, left = buying.another(belief.votes, belief.people, features), 1, left - 1
            else:
                continue
            decided.append(Decided(item.pk, choice, answered(item.pk) + more, more))
            Belief.objects.filter(pk=belief.pk).update(disagree=False, handled=belief.people)
        self.decide(decided)

    def follow_contradictions(self, fit: Fit) -> None:
        """Send what is most like a drawn item to people, where a person contradicted the judge on it."""
        found = list(Belief.objects.filter(project=self.project, contradicts=True).select_related("item")[:20])
        drawn = set(
            Route.objects.filter(item__in=[belief.item_id for belief in found], policy__in=buying.DRAWN).values_list(
                "item", flat=True
            )
        )
        room = min(self.room(), max(1, self.plan.batch // KIN))
        for belief in [belief for belief in found if belief.item_id in drawn][: max(0, room)]:
            self.ask_kin(belief, fit)
        Belief.objects.filter(pk__in=[belief.pk for belief in found]).update(contradicts=False)

    def ask_kin(self, belief: Belief, fit: Fit) -> None:
        """Send the candidate that is most like this pair to people, if an answer there is worth anything."""
        worth = candidates(self.project).filter(gain__gte=self.plan.least).order_by("-score")
        kin = picking.nearest(belief, worth[:AMONG], fit)
        if kin is not None:
            assert belief.judge_says is not None
            key, person = belief.item.external_id, int(np.argmax(belief.votes))
            features = {**features_of(kin, Item.JUDGE, fit), "like": key}
            self.ask([self.priced(kin, buying.of_its_kind(key, belief.judge_says, person, features, kin.gain))])

    def room(self) -> int:
        """How many more items people may be asked about now: by the batch that is with them, and by the budget."""
        return min(self.plan.batch - under_way(self.project).count(), self.affordable(self.project.overlap))

    def fill(self, fit: Fit) -> None:
        """Fill the batch that is with people."""
        room, lacking = self.room(), self.plan.seed - fits.answered(self.project)
        if room > 0 and lacking > 0:
            seeds = Belief.objects.filter(project=self.project, asked=buying.SEED).count()
            self.ask(self.seeds(min(room, max(0, lacking - seeds))))
        elif room > 0:
            self.ask(self.best(room, fit))

    def seeds(self, count: int) -> list[Decided]:
        of = candidates(self.project).count()
        count = min(count, of)
        found = self.drawn_from(candidates(self.project), of, count)
        return [self.priced(each, buying.seeded(count, of, features_of(each, Item.JUDGE))) for each in found]

    def best(self, count: int, fit: Fit) -> list[Decided]:
        """The best by the ranking, a part of them drawn evenly from the rest instead."""
        free = candidates(self.project)
        explore = max(self.plan.explore, picking.AT_RANDOM if self.plan.ranking == INFORMATION else 0.0)
        drawn = int(count * explore + self.dice().random()) if explore else 0
        worth = free.filter(layout=fit.layout.number).exclude(gain__lt=self.plan.least)
        among = list(worth.order_by("-score", "item").select_related("item")[:AMONG])
        greedy = picking.picked(self.plan, among, max(0, count - drawn), fit, self.dice().randrange(2**32))
        rest = free.exclude(item__in=[each.item_id for each in greedy])
        of = rest.count() if drawn and greedy else 0
        evenly = self.drawn_from(rest, of, min(drawn, of))
        chosen = [(each, buying.by_worth(self.plan, features_of(each, Item.JUDGE, fit), each.gain)) for each in greedy]
        for each in evenly:
            features = features_of(each, Item.JUDGE)
            chosen.append((each, buying.evenly(len(evenly), of, features, each.gain)))
        return [self.priced(each, choice) for each, choice in chosen]

    def dice(self) -> random.Random:
        """Draws that follow from the policy, the project and what was spent: they can be made again."""
        return random.Random(f"{self.policy.version}/{self.project.slug}/{self.state.spent}")

    def drawn_from(self, free: QuerySet[Belief], of: int, count: int) -> list[Belief]:
        ordered = free.order_by("item").select_related("item")
        places = sorted(self.dice().sample(range(of), count))
        return [belief for place in places for belief in ordered[place : place + 1]]

    def priced(self, belief: Belief, choice: Choice) -> Decided:
        return Decided(belief.item_id, choice, None, self.project.overlap)

    def ask(self, decided: Sequence[Decided]) -> None:
        """Ask people about items that only the judge had answered; they are no candidates from now on."""
        self.decide(decided)
        for arm in {each.choice.arm for each in decided}:
            ids = [each.item_id for each in decided if each.choice.arm == arm]
            Belief.objects.filter(item__in=ids).update(score=0.0, asked=arm)


def afresh(route: Route) -> Choice:
    """An earlier decision whose people can be paid now; it keeps the chances that it had."""
    reason = f"The budget allows it now. {route.reason.removesuffix(deciding.WAITS).strip()}"
    return Choice(route.decision, route.policy, reason, route.chances, route.features, route.expected_gain)


def leases(item_id: int) -> int:
    return Assignment.objects.filter(item=item_id, state=Assignment.LEASED).count()


def answered(item_id: int) -> int:
    """How many people's answers to the item count."""
    return counted_by_people().filter(item=item_id).values("rater").distinct().count()


def most_probable(belief: Belief) -> tuple[int, float]:
    sides = (belief.tie, belief.first, belief.second)
    side = int(np.argmax(sides))
    return side, sides[side]


def features_of(belief: Belief, route: str, fit: Fit | None = None) -> dict[str, Any]:
    """What was known of an item when something was decided about it, small enough to keep with the decision."""
    found: dict[str, Any] = {
        "believed": [round(share, 4) for share in (belief.tie, belief.first, belief.second)],
        "judge_says": belief.judge_says,
        "wrong": None if belief.wrong is None else round(belief.wrong, 4),
        "gain": round(belief.gain, 5),
        "score": round(belief.score, 5),
        "doubt": round(belief.doubt, 4),
        "triage": round(belief.triage, 4),
        "signs": belief.signs,
        "votes": belief.votes,
        "fit": belief.fit,
        "route": route,
    }
    if fit is None:
        return found
    learned_from = fit.labels if fit.errors is not None else 0
    return {**found, "learned_from": learned_from, "signals": picking.signals(belief, fit)}
