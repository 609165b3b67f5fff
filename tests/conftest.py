"""For all tests: how properties are tried."""

import hypothesis

# A busy machine is no failure: pytest's own timeout ends what hangs.
hypothesis.settings.register_profile(
    "steady", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("steady")
