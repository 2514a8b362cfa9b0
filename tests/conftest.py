"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# Machines are noisy: no test is timed. In CI the examples are the same every time, so that a red
# run can be repeated.
settings.register_profile("mien", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("mien")
