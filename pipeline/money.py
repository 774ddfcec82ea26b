"""Money as whole units of 10⁻¹² of a currency, so that sums are exact whatever the database makes of decimals.

Prices are per million tokens and have six decimals: one token at the least price, 0.000001, costs exactly one unit.
"""

from decimal import Decimal

UNIT = 10**12


def units(amount: Decimal) -> int:
    """An amount in whole units."""
    return int(amount * UNIT)


def amount(units: int) -> Decimal:
    """Whole units as an amount of the currency."""
    return Decimal(units) / UNIT


def cost(
    *,
    tokens_input: int,
    tokens_output: int,
    price_input: Decimal,
    price_output: Decimal,
    tokens_cached: int = 0,
    price_cached: Decimal | None = None,
) -> int:
    """What so many tokens cost, in units; prices are per million tokens.

    `tokens_cached` of the input were read before, and have a price of their own where there is one.
    """
    cached = price_input if price_cached is None else price_cached
    read = (tokens_input - tokens_cached) * price_input + tokens_cached * cached
    return units((read + tokens_output * price_output) / 10**6)
