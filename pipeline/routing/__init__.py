"""Routing: who is asked about an item, and why.

choosing/        what a policy chooses, as pure functions: its settings, new items, shares
fixed_share.py   the shares that hold where a project has no policy of its own
adopting.py      which policy is in force
budgets.py       what may still be spent of people's time
buying.py        spends the budget, and acts on what came in
picking.py       which candidates are taken together
comparing.py     policies replayed on the project's own past
delivering.py    how right the delivered labels are, by audits
win_rates.py     how often each model wins, corrected by audits
showing.py       what the pages show
believing/       what the project's own answers teach about its items
deciding.py      decides about what is not routed yet, and keeps every decision: route_items
by_hand.py       decisions by a manager's word
moving.py        what the raw export takes along
audit_draw.py    what people have labelled, drawn for a judge
guard.py         responses without content, which no judge decides alone
evidence/        what is known of pairs before a person sees them, as columns
estimators/      what is learned from labels
policies/        who is worth asking, by evidence and estimates
simulating/      policies replayed on past data
"""

from pipeline.routing.deciding import projects_to_route, route_items

__all__ = ["projects_to_route", "route_items"]
