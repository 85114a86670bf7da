"""A task in a language other than Python: a Haskell program prints a greeting.

The arguments are those of a DAG written for KubernetesPodOperator, old names included; only the import is another.
Both ways of waiting are here: `hello_haskell` keeps a worker slot while the Pod runs, `hello_haskell_deferrable` does
not.
"""

from podtask_airflow import KubernetesPodOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG


def hello(dag_id: str, *, deferrable: bool) -> DAG:
    """Make the DAG. A manual run may set another image, namespace or name (`params`)."""
    with DAG(
        dag_id,
        description="Print a greeting in Haskell",
        schedule=None,
        params={
            "image": "localhost/podtask/hello-haskell:dev",
            "namespace": "default",
            "name_to_greet": "Ada",
        },
        tags=["podtask", "example"],
    ) as dag:
        KubernetesPodOperator(
            task_id="say_hello",
            # Where it runs: the cluster of this connection, in this namespace.
            kubernetes_conn_id="kubernetes_default",
            in_cluster=False,
            namespace="{{ params.namespace }}",
            # What runs.
            image="{{ params.image }}",
            env_vars={"NAME_TO_GREET": "{{ params.name_to_greet }}"},
            # What its Pod is called, and how it is found: kubectl get pods -l app=greeter
            name="hello-haskell",
            random_name_suffix=True,
            labels={"app": "greeter", "env": "dev"},
            # A worker that is lost loses no work: the next try goes on with the same PodTask.
            reattach_on_restart=True,
            is_delete_operator_pod=True,
            # What the program prints is in the task's log, and so is the cluster's view where it fails.
            get_logs=True,
            log_events_on_failure=True,
            deferrable=deferrable,
        )
    return dag


hello("hello_haskell", deferrable=False)
hello("hello_haskell_deferrable", deferrable=True)
