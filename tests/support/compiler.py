"""Tests of compiled code, where there is a C compiler."""

import pytest

from sme.common import library
from sme.common.library import NoCompilerError


def there():
    try:
        library.compiler()
    except NoCompilerError:
        return False
    return True


needs_compiler = pytest.mark.skipif(not there(), reason="no C compiler")
