"""What one worker has in hand: claimed calls with their plans, and the requests that go out for them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.judging.exchange import Address, Tokens, Trouble
from pipeline.judging.plans import Ask, Plan, Request, Told
from pipeline.judging.protocol import Brief, ProtocolError
from pipeline.models import Judge


@dataclass(eq=False)
class Work:
    """A call that this worker may ask and must settle, with its plan: what it waits for, and what it came to.

    The row of the call is this worker's as long as its claim stands, so its counts are kept here and written whole.
    """

    call: Any  # a JudgeCall, or a StudyCall, which has the same counts
    brief: Brief
    plan: Plan[Any]
    requests: Sequence[Request] = ()
    told: dict[int, Told] = field(default_factory=dict)  # by place among the requests
    outcome: Any = None  # an Outcome, of a JudgeCall
    trouble: Trouble | None = None
    failure: str = ""  # why it cannot be asked at all
    out: int = 0  # requests of its own that are under way
    shared: int = 0  # requests of others that it waits for
    lost: bool = False  # another worker has taken it over
    withdrawn: bool = False  # some of its requests will not be sent: it is due again

    @property
    def waits(self) -> bool:
        return self.out > 0 or self.shared > 0

    def advance(self) -> None:
        """Give the plan its replies; it wants more, or has come to an outcome."""
        try:
            if self.requests:
                self.requests = self.plan.send([self.told[place] for place in range(len(self.requests))])
            else:
                self.requests = next(self.plan)
        except StopIteration as stop:
            self.outcome, self.requests = stop.value, ()
        except ProtocolError as error:
            self.failure, self.requests = str(error), ()
        self.told = {}

    @property
    def is_over(self) -> bool:
        return self.outcome is not None or bool(self.failure)


@dataclass(eq=False)
class Letter:
    """One request that is to be sent: whose model is asked, what it may cost, and who waits for its reply.

    `judge` is the judge whose model is asked, as it stood when the request was reserved: its prices are the cost's.
    """

    work: Work
    place: int
    request: Request
    key: str
    judge: Judge
    address: Address | None  # None for a tool
    units: int
    waiting: list[tuple[Work, int]] = field(default_factory=list)
    most: Tokens = Tokens(0, 0)  # that it can read and write


def key_of(request: Request, address: Address | None) -> str:
    """SHA-256 (hex) of a request's content: the same question to the same model has the same key."""
    if isinstance(request, Ask):
        assert address is not None
        content: Any = [
            address.base_url,
            address.model,
            address.max_tokens,
            request.form.messages,
            request.heat,
            request.logprobs,
            request.sample,
        ]
    else:
        content = ["tool", request.tool, request.text]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def step_of(request: Request) -> str:
    """What a request is for, as its kept reply says it."""
    return request.step if isinstance(request, Ask) else f"tool {request.tool}"
