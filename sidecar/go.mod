module podtask.dev/sidecar

go 1.25
