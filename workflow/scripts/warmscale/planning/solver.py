"""What solves the program of a plan, through PuLP: HiGHS where highspy is installed, else CBC."""

from __future__ import annotations

import pulp

GAP = 1e-6
"""Relative to the best value: below, a solution counts as the best."""


class InfeasibleError(Exception):
    """What is required does not fit."""


def solver(time_limit_sec: float, gap: float = GAP) -> pulp.LpSolver:
    """What solves: HiGHS, a CBC of this machine, or the one that comes with PuLP."""
    known = (pulp.HiGHS, pulp.COIN_CMD, pulp.PULP_CBC_CMD)
    solvers = (one(msg=False, timeLimit=time_limit_sec, gapRel=gap) for one in known)
    return next(one for one in solvers if one.available())


def solver_name() -> str:
    """Its name, for the record."""
    return "HiGHS" if isinstance(solver(1.0), pulp.HiGHS) else "CBC"


def solved(problem: pulp.LpProblem, time_limit_sec: float, gap: float = GAP) -> bool:
    """Solve; whether the solution is known to be the best. Raises InfeasibleError where none was found."""
    problem.solve(solver(time_limit_sec, gap))
    if problem.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
        raise InfeasibleError("what is required does not fit into the limits")
    return problem.sol_status == pulp.LpSolutionOptimal


def relaxed(time_limit_sec: float) -> pulp.LpSolver:
    """What solves the linear relaxation, for a bound."""
    found = solver(time_limit_sec)
    found.mip = False
    return found
