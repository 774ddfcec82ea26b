"""Why a row or a file cannot come in, in words for the person who brought it."""


class ItemError(ValueError):
    """One item cannot be taken; the message says why and what to do. The reader adds the row's number."""


class RowError(Exception):
    """One row of a file cannot be taken: its number (from 1) and one sentence with the remedy."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(row, message)
        self.row = row
        self.message = message

    def __str__(self) -> str:
        return f"Row {self.row}: {self.message}"


class ImportStopped(Exception):
    """Somebody asked for the import to stop; nothing of it was written."""
