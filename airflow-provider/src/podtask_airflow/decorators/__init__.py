"""The decorators @task.podtask and @task.podtask_cmd."""
