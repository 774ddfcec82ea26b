"""Which policy a project has: the sole writer of RoutingPolicy. Without one, the shares of its settings hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from annotate import audit
from annotate.models import Project, User
from pipeline.models import Judge, RoutingPolicy
from pipeline.routing import budgets
from pipeline.routing.choosing.plans import SHARES, Budget, Plan, plan_from
from pipeline.routing.fixed_share import FixedShare


@dataclass(frozen=True)
class InForce:
    """The policy of a project as it holds now. `number` is 0 where the shares of the settings hold.

    `has_judge` says whether one is enabled whom the policy's money lets ask.
    """

    plan: Plan
    version: str
    number: int
    has_judge: bool

    @property
    def shares(self) -> FixedShare:
        return FixedShare(judge=self.plan.judge, both=self.plan.both)


def in_force(project: Project) -> InForce:
    """The newest policy, else what the project's settings ask for."""
    kept = RoutingPolicy.objects.filter(project=project).first()
    if kept is not None:
        plan = plan_from(kept.settings)
        return InForce(plan, str(kept), kept.number, can_ask(project, plan.budget))
    has_judge = Judge.objects.filter(project=project, enabled=True).exists()
    plan = Plan(ranking=SHARES, audit=0.0, judge=project.judge_share, both=project.both_share)
    version = FixedShare(judge=plan.judge, both=plan.both).version if has_judge else "1/no-judge"
    return InForce(plan, version, 0, has_judge)


def base(policy: InForce) -> Plan:
    """What a new version starts from: the policy in force, or the usual settings where there is none yet."""
    if policy.number:
        return policy.plan
    return Plan(ranking=SHARES, judge=policy.plan.judge, both=policy.plan.both)


def can_ask(project: Project, budget: Budget) -> bool:
    """Is a judge enabled whom the policy's money still lets ask? What is under way counts as spent."""
    enabled = Judge.objects.filter(project=project, enabled=True)
    if budget.money is None:
        return enabled.exists()
    paid = budgets.priced(enabled)
    if enabled.exclude(pk__in=paid).exists():
        return True
    if budgets.booked(Judge.objects.filter(project=project)) >= budgets.units_of(budget.money):
        return False
    return paid.exclude(**stopped_by_policy()).exists()


def stopped_by_policy() -> dict[str, str]:
    """How a judge looks that was stopped because the policy's money did not pay its next question."""
    return {"state": Judge.STOPPED, "message__startswith": budgets.POLICY_MONEY}


@transaction.atomic
def adopt(
    *, project: Project, plan: Plan, by: User | None, note: str = "", evidence: Mapping[str, Any] | None = None
) -> RoutingPolicy:
    """Put a policy in force under the next version."""
    from pipeline.judging import settling  # here, because what asks judges looks at the policy in force

    Project.objects.select_for_update().get(pk=project.pk)
    before = RoutingPolicy.objects.filter(project=project).first()
    made = RoutingPolicy.objects.create(
        project=project,
        number=before.number + 1 if before else 1,
        settings=plan.as_json(),
        note=note[:300],
        evidence=dict(evidence or {}),
        created_by=by,
    )
    audit.record_change(
        project=project,
        by=by,
        kind="routing policy",
        object_id=made.pk,
        words=f"{made}: {note}" if note else str(made),
        old={**(before.settings if before else {}), "version": before.number if before else 0},
        new={**made.settings, "version": made.number},
    )
    # The new version may leave more money: who was stopped for want of it asks again, and stops again if not.
    for judge in Judge.objects.filter(project=project, **stopped_by_policy()):
        settling.resume(judge=judge)
    return made
