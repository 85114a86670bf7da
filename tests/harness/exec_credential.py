"""A credential plugin, as `aws eks get-token` is one: prints a short-lived token each time a client asks for one."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

LIFETIME = dt.timedelta(minutes=10)


def main() -> None:
    """Ask the cluster for a token, and print it in the protocol's form."""
    kubectl, kubeconfig, account, calls = sys.argv[1:]
    ends = dt.datetime.now(dt.UTC) + LIFETIME
    command = [kubectl, f"--kubeconfig={kubeconfig}", "--namespace=default", "create", "token", account]
    token = subprocess.run(
        [*command, f"--duration={int(LIFETIME.total_seconds())}s"], check=True, capture_output=True, text=True
    ).stdout.strip()
    with Path(calls).open("a") as log:
        log.write(f"{ends:%H:%M:%S}\n")
    status = {"token": token, "expirationTimestamp": f"{ends:%Y-%m-%dT%H:%M:%SZ}"}
    print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))


if __name__ == "__main__":
    main()
