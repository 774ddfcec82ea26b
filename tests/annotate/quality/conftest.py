"""What the tests of quality share."""

import pytest

from annotate import queue
from annotate.models import Assignment, Gold
from annotate.quality import gold
from annotate.submitting import submit_annotation
from tests import factories

A, B = {"preference": {"choice": "a"}}, {"preference": {"choice": "b"}}


@pytest.fixture
def golden(project, manager):
    """Makes gold items of a use, “a” expected of each."""

    def make(count: int = 1, use: str = Gold.MIXED, **values) -> list[Gold]:
        values = {"explanation": "Because *a* answers the question.", **values}
        return [
            gold.mark(item=factories.item(project), answers=A, by=manager, use=use, **values) for _ in range(count)
        ]

    return make


@pytest.fixture
def work(project):
    """Answers one item after another as a user and returns the items; `answer` maps an assignment to answers."""

    def do(user, most: int, answer=lambda assignment: A) -> list[Assignment]:
        done = []
        while len(done) < most and (held := queue.next_assignment(user=user, project=project)) is not None:
            submit_annotation(assignment=held, answers=answer(held))
            done.append(held)
        return done

    return do
