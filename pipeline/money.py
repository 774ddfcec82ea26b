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


def cost(*, tokens_input: int, tokens_output: int, price_input: Decimal, price_output: Decimal) -> int:
    """What so many tokens cost, in units; prices are per million tokens."""
    return units((tokens_input * price_input + tokens_output * price_output) / 10**6)
