"""Who may label what: the sole writer of Pool and of an item's pool.

An item without a pool is for everybody in the project. A pool is for the people that it names and for the members
who have all of its skills. A project has few pools: those that files ask for are shared by the items that ask alike.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from django.db import transaction

from annotate import audit, slots, tallies
from annotate.models import Item, Membership, Pool, Project, User

NAME = 120  # characters, as the table has them


class PoolError(Exception):
    """A pool cannot be made, changed or removed as asked; the message says why."""


def words(text: str) -> list[str]:
    """Skills or names from a line with commas: lower case for skills is the caller's, blanks and doubles go."""
    return list(dict.fromkeys(word for word in (part.strip() for part in text.split(",")) if word))


def skills_in(text: str) -> list[str]:
    """“Python, DE” → ["python", "de"]: skills are compared in lower case."""
    return list(dict.fromkeys(word.lower() for word in words(text)))


def admits(pool: Pool, user: User, member: Membership) -> bool:
    """May this member label the pool's items?"""
    skilled = bool(pool.skills) and set(pool.skills) <= set(member.skills)
    return skilled or user.username in pool.people


def open_to(user: User, member: Membership) -> list[int | None]:
    """The pools that a member may label from; None stands for the items without one."""
    if member.has_pools is False:
        return [None]
    pools = Pool.objects.filter(project_id=member.project_id).order_by("pk")
    return [None, *(pool.pk for pool in pools if admits(pool, user, member))]


def tally_of(pool_id: int) -> str:
    """The kept count of a pool's items."""
    return f"pool_{pool_id}"


def named(people: Sequence[str], skills: Sequence[str]) -> str:
    """A name for a pool that a file asked for: “mira, jonas · de + medical”."""
    name = " · ".join(part for part in (", ".join(people), " + ".join(skills)) if part)
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def pool_for(*, project: Project, people: Sequence[str], skills: Sequence[str]) -> Pool:
    """The project's pool for exactly these people and skills, made when first asked for."""
    people, skills = sorted(set(people)), sorted(set(skills))
    same = Pool.objects.filter(project=project, people=people, skills=skills).order_by("pk").first()
    return same or Pool.objects.create(
        project=project, name=free_name(project, named(people, skills)), people=people, skills=skills
    )


def free_name(project: Project, name: str) -> str:
    taken = set(Pool.objects.filter(project=project).values_list("name", flat=True))
    numbered = (f"{name[: NAME - 6]} ({number})" for number in range(2, len(taken) + 3))
    return next(free for free in [name, *numbered] if free not in taken)


@transaction.atomic
def save_pool(
    *,
    project: Project,
    name: str,
    people: Iterable[str],
    skills: Iterable[str],
    pool: Pool | None = None,
    by: User | None = None,
) -> Pool:
    """Make a pool, or change one: its items are for those whom it admits from now on. Raises PoolError."""
    people, skills = sorted(set(people)), sorted(set(skills))
    if not people and not skills:
        raise PoolError("Nobody could label its items: name people, or skills that they need.")
    others = Pool.objects.filter(project=project, name=name)
    if (others.exclude(pk=pool.pk) if pool else others).exists():
        raise PoolError(f"There is a pool “{name}” already: choose another name.")
    changed = pool or Pool(project=project)
    old = {"name": changed.name, "people": changed.people, "skills": changed.skills} if pool else {}
    changed.name, changed.people, changed.skills = name, people, skills
    changed.save()
    before, after = audit.difference(old, {"name": name, "people": people, "skills": skills})
    verb = audit.CHANGED if pool else audit.CREATED
    record(changed, verb, by, before=before if pool else {}, after=after)
    return changed


def record(pool: Pool, verb: str, by: User | None, **values: dict[str, object]) -> None:
    audit.record(project=pool.project, by=by, verb=verb, kind="pool", object_id=pool.pk, words=str(pool), **values)


@transaction.atomic
def remove_pool(*, pool: Pool, by: User | None = None) -> None:
    """Take away a pool that no item is in. Raises PoolError."""
    if Item.objects.filter(pool=pool).exists():
        raise PoolError(f"“{pool}” has items: move them to another pool first.")
    record(pool, audit.REMOVED, by)
    pool.delete()


@transaction.atomic
def move_items(*, project: Project, item_ids: Sequence[int], pool: Pool | None, by: User | None = None) -> int:
    """Put items into a pool, or with None open them to everybody; returns how many moved. Leases stay as they are."""
    moved: Counter[str] = Counter()
    for batch in slots.batches(item_ids):
        slots.lock(batch)
        here = Item.objects.filter(project=project, pk__in=batch)
        before = list(here.values_list("pk", "pool_id"))
        leaving = [(pk, was) for pk, was in before if was != (pool.pk if pool else None)]
        Item.objects.filter(pk__in=[pk for pk, _ in leaving]).update(pool=pool)
        moved.update(tally_of(was) for _, was in leaving if was is not None)
        moved["all"] += len(leaving)
    count = moved.pop("all", 0)
    change = {name: -by for name, by in moved.items()}
    if pool is not None:
        change[tally_of(pool.pk)] = count
    tallies.add(project_id=project.pk, counts=change)
    if by is not None:  # an import puts its items where its file says; the import is the act
        after = {"pool": pool.name if pool else None, "items": count}
        words = f"item {item_ids[0]}" if len(item_ids) == 1 else f"{len(item_ids)} items"
        audit.record(project=project, by=by, verb=audit.CHANGED, kind="pool of items", words=words, after=after)
    return count


def rows(project: Project) -> list[dict[str, object]]:
    """What managers see of the pools: each with its items (a kept count) and the members whom it admits."""
    members = list(Membership.objects.filter(project=project).select_related("user").order_by("user__username"))
    counts = tallies.read(project.pk)
    return [
        {
            "pool": pool,
            "items": counts.get(tally_of(pool.pk), 0),
            "members": [str(member.user) for member in members if admits(pool, member.user, member)],
        }
        for pool in project.pools.all()
    ]
