"""The fixtures of all tests, where tests run: the process that hands them out to two others imports nothing that takes long."""

import pytest


def pytest_sessionstart(session: pytest.Session) -> None:
    plugins = session.config.pluginmanager
    if not plugins.hasplugin("dsession"):
        plugins.import_plugin("tests.support.fixtures")
