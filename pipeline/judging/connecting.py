"""What can be found out about an endpoint before it is a judge: does it answer, which models has it, what they cost.

Asks `GET …/models` of the protocol, which costs nothing. Whatever goes wrong is one sentence with a remedy.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx2

from pipeline.judging.exchange import storable
from pipeline.judging.setup import SetupError, checked_key, checked_url

LONGEST = 10.0  # seconds; somebody waits
MOST_BYTES = 1 << 23
MOST_MODELS, MOST_NAME = 1000, 200


@dataclass(frozen=True)
class Listed:
    """A model as an endpoint lists it; its prices per million tokens, where it tells them."""

    name: str
    price_input: Decimal | None = None
    price_output: Decimal | None = None


@dataclass(frozen=True)
class Connection:
    """What came of it: whether it works, in one sentence; the address that answered, and what it has."""

    works: bool
    sentence: str
    base_url: str
    models: tuple[Listed, ...] = ()

    def listed(self, model: str) -> Listed | None:
        return next((each for each in self.models if each.name == model), None)


class NoList(Exception):
    """No list of models at an address; the message says what there is instead. `elsewhere`: another may have one."""

    def __init__(self, sentence: str, *, elsewhere: bool = False) -> None:
        super().__init__(sentence)
        self.elsewhere = elsewhere


def connect(base_url: str, key: str, model: str = "") -> Connection:
    """Ask an endpoint for its models. An address that only lacks its /v1 is found, and given back."""
    try:
        address, key = checked_url(base_url), checked_key(key)
    except SetupError as error:
        return Connection(False, str(error), base_url)
    try:
        return found(address, listed(address, key), model)
    except NoList as error:
        if not error.elsewhere or address.endswith("/v1"):
            return Connection(False, str(error), address)
        first = error
    try:
        return found(f"{address}/v1", listed(f"{address}/v1", key), model, " with /v1 at its end")
    except NoList:
        return Connection(False, str(first), address)


def found(address: str, models: tuple[Listed, ...], model: str, how: str = "") -> Connection:
    names = [each.name for each in models]
    if model and model not in names:
        few = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        return Connection(False, f"It answers{how}, and has no model {model!r}: it has {few}.", address, models)
    several = f"{len(models)} models: choose one"
    what = model or (several if len(models) > 1 else f"one model: {names[0]}")
    return Connection(True, f"It answers{how} and has {what}.", address, models)


def listed(address: str, key: str) -> tuple[Listed, ...]:
    """The models at an address. Raises NoList."""
    headers = {"accept-encoding": "identity"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        with (
            httpx2.Client(timeout=LONGEST, follow_redirects=False, headers=headers) as client,
            client.stream("GET", f"{address}/models") as response,
        ):
            body = bytearray()
            for part in response.iter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise NoList("It answers with far more than a list of models: is this the right address?")
    except httpx2.TimeoutException:
        raise NoList(f"No answer within {LONGEST:g} s from {address}: is it up, and no wall before it?") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NoList(unreachable(address, error)) from None
    if not response.is_success:
        raise refusal(response.status_code, response.headers, key)
    return models_in(bytes(body))


def unreachable(address: str, error: Exception) -> str:
    said = str(error) or type(error).__name__
    if "certificate" in said.lower():
        return f"The certificate of {address} is not one that this machine trusts ({said})."
    if "Name or service not known" in said or "nodename nor servname" in said or "No address" in said:
        return f"There is no machine of this name: check the address {address}."
    if "refused" in said.lower() or isinstance(error, httpx2.ConnectError):
        return f"Nobody answers at {address}: is the server running, and the port right? ({said})"
    return f"What answers at {address} does not speak the protocol ({said})."


def refusal(status: int, headers: Mapping[str, str], key: str) -> NoList:
    """A status that is no success, as a sentence."""
    if status in (401, 403):
        return NoList(f"It refuses the key ({status}): copy it again." if key else f"It wants a key ({status}).")
    if status < 400:
        where = storable(headers.get("location", "another address"))[:MOST_NAME]
        return NoList(f"It sends us on to {where} ({status}): if you trust that address, enter it.")
    if status in (404, 405):
        return NoList(
            f"It answers, and lists no models here ({status}): does the address end in /v1? If it does, write the "
            "model's name yourself.",
            elsewhere=True,
        )
    return NoList(f"It answers with {status} to the question for its models: try again in a moment.")


def models_in(body: bytes) -> tuple[Listed, ...]:
    """The models in a reply: {"data": [{"id": …}, …]}. Raises NoList."""
    try:
        data = json.loads(body)["data"]
        rows = [row for row in data[:MOST_MODELS] if isinstance(row["id"], str) and row["id"]]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise NoList("What answers there lists no models: does the address end in /v1?", elsewhere=True) from None
    if not rows:
        raise NoList("It answers, and has no model: load one there first.")
    return tuple(Listed(storable(row["id"])[:MOST_NAME], *prices_in(row)) for row in rows)


def prices_in(row: Mapping[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Prices per million tokens, where a list tells them per token as OpenRouter's does."""
    told = row.get("pricing")
    if not isinstance(told, dict):
        return None, None
    return per_million(told.get("prompt")), per_million(told.get("completion"))


def per_million(price: Any) -> Decimal | None:
    try:
        amount = (Decimal(str(price)) * 10**6).quantize(Decimal("0.000001"))
    except InvalidOperation:
        return None
    return amount if 0 <= amount < 10**6 else None
