"""What is learned from labels: pure functions on arrays, no database.

label_model.py    one posterior over tie, first and second from everything known of a pair
value.py          what one more human label is worth
calibrating.py    how sure the posterior may be, and how right people are, from labels that it did not see
judge_errors.py   P(the judge is wrong), with propensity weights and calibration; the rule before there are labels
counting.py       gain as a model over counts of features, after HyPER
acquiring.py      what to label next to learn a head: BALD, k-center, facility location
certifying.py     how right delivered labels are, from audits
"""
