"""Limits are positive, and a prompt has one."""

import pytest

from semcorr.app.limits import Limits, check_letters
from semcorr.errors import SettingsError


def test_limits_are_positive() -> None:
    with pytest.raises(SettingsError, match="'megabytes': expected a positive number, got 0"):
        Limits(megabytes=0)


def test_a_prompt_has_a_maximum_length() -> None:
    check_letters("a" * 1000, Limits())
    with pytest.raises(SettingsError, match="at most 1000 letters, got 1001"):
        check_letters("a" * 1001, Limits())
