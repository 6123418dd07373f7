"""For all tests: property tests are not judged by the clock, since the machine may be busy."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("groat", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("groat")
