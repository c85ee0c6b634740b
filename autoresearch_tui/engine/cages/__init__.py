"""Who may see and do what: the cages of runs and of agents, and the proof that they hold."""
