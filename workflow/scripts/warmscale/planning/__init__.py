"""What a study will cost and what of it fits a budget: a cost model of steps and jobs, and the plan. Standard library,
numpy, scipy and pulp; nothing of torch."""
