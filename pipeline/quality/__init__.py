"""How good a judge is, and what makes it better.

Pure: calibrating.py (margins to probabilities), options.py (choices and ratings to probabilities), leaning.py
(biases), drifting.py (has it changed?), comparing.py (two ways to judge, on the same items), phrasing.py (phrases by
contrast), guarding.py (responses that are none), probes.py (attacks).

With the database: audits.py and grading.py (where people and the judge can be compared: on preferences; on choices and
ratings), measuring.py (a judge's report and its calibrations), priors.py (what a calibrated judge says about an item
goes to aggregation), people.py (what people decided and why), studies.py, wording.py, rounds.py and by_runs.py (asking
a judge of any kind about itself), and the kinds of study: attacks.py, proposals.py, writing.py. showing.py is what
pages show.
"""
