"""Policies replayed on past data.

curves.py   accuracy against budget, area, skill, what is saved
"""
