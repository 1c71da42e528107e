"""Settings every test shares: the profiles of the property tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples each time, so that a red test is red for everybody; `make soak` explores.
# No deadline: how long an example takes says more about the machine than about the code.
settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=50)
settings.register_profile(
    "soak",
    max_examples=5_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fixed")
