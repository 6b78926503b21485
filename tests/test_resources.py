from pathlib import Path

import pytest

from bdscan.resources import IN_CHECKOUT, Resource, resource


@pytest.mark.parametrize("name", ["rules", "templates"])
def test_packaged_folder_wins_over_the_checkout(tmp_path: Path, name: Resource) -> None:
    package = tmp_path / "scanner" / "bdscan"
    checkout = tmp_path / IN_CHECKOUT[name]
    checkout.mkdir(parents=True)
    assert resource(name, package) == checkout
    (package / name).mkdir(parents=True)
    assert resource(name, package) == package / name


def test_missing_folder_is_said_with_both_places(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"templates are missing.*install it again"):
        resource("templates", tmp_path / "scanner" / "bdscan")


def test_this_installation_has_its_templates() -> None:
    assert (resource("templates") / "report.html.j2").is_file()
