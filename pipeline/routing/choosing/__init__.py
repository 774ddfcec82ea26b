"""What a project's policy chooses, as pure functions: a decision can be made again from what is kept.

plans.py     a policy's settings, checked when they are made, and their words
opening.py   who is asked first about a new item: audits, rules, shares
"""
