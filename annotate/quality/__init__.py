"""How good answers are, and what is done about it: known answers, training, a quiz, review, trust, cost."""
