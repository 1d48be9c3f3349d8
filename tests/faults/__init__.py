import pytest

# What these assert is shown as in the test modules themselves.
pytest.register_assert_rewrite("tests.faults.verdict", "tests.faults.evidence")
