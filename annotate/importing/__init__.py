"""Files and rows become items: reading, checking, and taking in."""

from annotate.importing.errors import ImportStopped, RowError
from annotate.importing.prompts import prompts_from_text
from annotate.importing.taking_in import TakenIn, take_in

__all__ = ["ImportStopped", "RowError", "TakenIn", "prompts_from_text", "take_in"]
