"""The fixtures of all tests, where tests run: the process that hands them out to two others imports nothing that takes long."""

import gc

import pytest

gc.set_threshold(50_000, 20, 50)  # torch and the tests themselves are many objects, which stay


def pytest_sessionstart(session: pytest.Session) -> None:
    plugins = session.config.pluginmanager
    if not plugins.hasplugin("dsession"):
        plugins.import_plugin("tests.support.fixtures")


def pytest_collection_finish() -> None:
    gc.freeze()
