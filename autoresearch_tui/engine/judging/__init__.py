"""From a run's end to its verdict: the referee's word, the score, and what a gain has to hold up to."""
