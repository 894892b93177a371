import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmscale.records import FAILURE_CLASSES
from warmscale.training.policy import PERMANENT, why_given_up


def attempt(before, done, *, failure_class="node", state="paused", failure="broken"):
    return {
        "steps_before": before,
        "steps_done": done,
        "state": state,
        "failure_class": failure_class,
        "failure": failure,
    }


@pytest.mark.parametrize("failure_class", PERMANENT)
def test_a_permanent_class_gives_up_at_once_whatever_progress_there_was(failure_class):
    assert why_given_up([attempt(0, 50, failure_class=failure_class)]) == "broken"


@pytest.mark.parametrize("failure_class", ["walltime", "communication", "node", "unknown"])
def test_one_attempt_without_a_step_is_followed_by_another(failure_class):
    assert why_given_up([attempt(0, 0, failure_class=failure_class)]) is None


def test_two_attempts_in_a_row_without_a_step_give_up():
    assert why_given_up([attempt(0, 0), attempt(0, 0)]) == "two attempts in a row added no step: broken"


def test_a_step_between_them_resets_the_count():
    assert why_given_up([attempt(0, 0), attempt(0, 3), attempt(3, 3)]) is None


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=50))
def test_resuming_is_unlimited_while_it_progresses(steps):
    attempts, done = [], 0
    for added in steps:
        attempts.append(attempt(done, done := done + added, failure_class="walltime", failure=None))
        assert why_given_up(attempts) is None


def test_attempts_of_an_earlier_command_do_not_count():
    earlier = [attempt(0, 0), attempt(0, 0, state="failed")]
    assert why_given_up([*earlier, attempt(0, 0)]) is None
    assert why_given_up([*earlier, attempt(0, 0), attempt(0, 0)])


def test_being_asked_to_stop_tells_nothing_of_the_run():
    asked = attempt(0, 0, failure_class=None, failure=None)
    assert why_given_up([asked] * 9) is None
    assert why_given_up([attempt(0, 0), asked]) is None


def test_a_scheduler_that_ends_each_attempt_at_its_limit_ends_no_run_that_progresses():
    """It is asked to stop, saves, and the master notes of its job that it was ended: two lines a job."""
    attempts = []
    for step in range(0, 50, 5):
        attempts.append(attempt(step, step + 5, failure_class=None, failure=None))
        attempts.append(attempt(step + 5, step + 5, failure_class="walltime", state="killed"))
        assert why_given_up(attempts) is None


def test_ten_requests_to_stop_before_the_first_step_are_a_schedulers():
    asked = attempt(0, 0, failure_class=None, failure=None)
    assert why_given_up([asked] * 10) == "10 attempts in a row were ended before they added a step"
    assert why_given_up([attempt(0, 1), *[asked] * 9]) is None


def test_a_walltime_too_short_for_a_step_gives_up():
    short = attempt(0, 0, failure_class="walltime", failure=None)
    assert why_given_up([short, short]) == "two attempts in a row added no step: walltime"


def test_permanent_classes_are_classes():
    assert set(PERMANENT) <= set(FAILURE_CLASSES)
