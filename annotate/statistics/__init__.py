"""The statistics of raters: one file a method, pure functions over arrays. No Django, no database, no clock."""
