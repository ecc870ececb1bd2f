"""What the tests of whole runs share."""

import pytest

from tests.support.train_process import environment


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a file's runs on one device: they share data and compiled programs."""
    return environment(tmp_path_factory.mktemp("shared"))
