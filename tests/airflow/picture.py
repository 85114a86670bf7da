"""Takes docs/images/airflow-task.png: the page of a finished task in Airflow, with the log of its container.

python -m tests.airflow.picture

The DAG is the one of docs/getting-started/airflow.md. It runs on a real Airflow and a cluster of its own. Needs
Debian's package `chromium` and a font of fixed width (`fonts-dejavu-core`).
"""

import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path

from airflows import environments, versions
from cluster import Form, down, up
from docsite import markdown
from tests.airflow.demo import VERSION
from tests.chart import shell
from tests.harness import crd
from tests.harness.airflow import Airflow
from tests.harness.airflow.settings import connection
from tests.harness.controller import ROOT, Controller

PAGE = ROOT / "docs/getting-started/airflow.md"
PICTURE = ROOT / "docs/images/airflow-task.png"
DAG_ID, TASK_ID = "first_podtask", "count_rows"
_CLUSTER = "podtask-picture"
_WINDOW = "1680,640"
_RENDER_MILLISECONDS = 20_000
"""The browser's own clock, which waits for requests and skips idle time."""


def _dag() -> str:
    return next(
        block.text for block in markdown.blocks(PAGE.read_text(encoding="utf-8")) if f'DAG("{DAG_ID}"' in block.text
    )


def _take(url: str, login: str, folder: Path) -> None:
    for address in (login, url):  # the first one sets the session's cookie
        subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--user-data-dir={folder}/profile",
                f"--window-size={_WINDOW}",
                f"--virtual-time-budget={_RENDER_MILLISECONDS}",
                f"--screenshot={folder}/page.png",
                address,
            ],
            check=True,
            timeout=120,
        )
    PICTURE.parent.mkdir(exist_ok=True)
    shutil.copy(folder / "page.png", PICTURE)


def main() -> int:
    """Run the DAG, and take the picture."""
    environments.ensure(versions.find(VERSION))
    down(_CLUSTER)
    cluster = up(_CLUSTER, Form.NODE)
    try:
        crd.install(cluster)
        with tempfile.TemporaryDirectory(prefix="podtask-picture-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            shell.load_public_images(cluster, folder)
            (folder / f"{DAG_ID}.py").write_text(_dag(), encoding="utf-8")
            dags = {folder / f"{DAG_ID}.py": [DAG_ID]}
            variables = {"AIRFLOW_CONN_KUBERNETES_DEFAULT": connection(cluster.kubeconfig)}
            with (
                Controller(cluster.kubeconfig, "--leader-election=off"),
                Airflow(VERSION, folder / "home", dags=dags, environment=variables) as airflow,
            ):
                run = airflow.api.run_to_end(DAG_ID)
                address = airflow.api.address
                run_id = urllib.parse.quote(run.run_id, safe="")
                _take(f"{address}/dags/{DAG_ID}/runs/{run_id}/tasks/{TASK_ID}", f"{address}/auth/token/login", folder)
    finally:
        cluster.down()
    print(f"{PICTURE}: run {run.state}")
    return 0 if run.state == "success" else 1


if __name__ == "__main__":
    sys.exit(main())
