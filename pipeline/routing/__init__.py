"""Routing: who is asked about an item, and why.

fixed_share.py   a policy: a pure function from an item to a decision, its reason and its propensity
deciding.py      decides about what is not routed yet, and keeps every decision: route_items
"""

from pipeline.routing.deciding import projects_to_route, route_items

__all__ = ["projects_to_route", "route_items"]
