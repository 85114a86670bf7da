"""What Airflow itself makes of the distribution's entry point."""

import importlib
import warnings

from podtask_airflow.get_provider_info import get_provider_info


def _load(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_every_path_leads_somewhere() -> None:
    info = get_provider_info()
    for decorator in info["task-decorators"]:
        assert callable(_load(decorator["class-name"]))
    for link in info["extra-links"]:
        assert _load(link)
    for kind in ("operators", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                importlib.import_module(module)


def test_airflow_finds_the_provider() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from airflow.providers_manager import ProvidersManager

        manager = ProvidersManager()
        assert "airflow-provider-podtask" in manager.providers
        assert "podtask" in dict(manager.taskflow_decorators)
        assert "podtask_airflow.links.podtask.PodTaskLink" in manager.extra_links_class_names


def test_the_decorator_is_in_airflow_s_own_namespace() -> None:
    try:
        from airflow.sdk import task
    except ImportError:
        from airflow.decorators import task
    assert task.podtask
    assert task.podtask_cmd


def test_options_have_what_airflow_asks_of_them() -> None:
    for option in get_provider_info()["config"]["podtask"]["options"].values():
        assert set(option) == {"description", "version_added", "type", "example", "default"}
        assert option["default"] is None or isinstance(option["default"], str)


def test_no_connection_type_is_taken_away() -> None:
    assert "connection-types" not in get_provider_info()
