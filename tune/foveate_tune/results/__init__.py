"""Results of a sweep: leaderboard, Pareto front, verdict, and the trial to train."""
