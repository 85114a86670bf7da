# PodTask. `make` alone prints this help; a target without a `##` line is not for people.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
RUN := PYTHONPATH=controller:hack:. $(BIN)/python
CLUSTER ?= podtask
JOBS ?= 4
LIVES ?= 100000
TASKS ?= 40
STAGE := hack/stage

.PHONY: help
help:  ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use
.PHONY: demo
demo: .venv/.ready  ## Bring a cluster up, run the guide's two examples as PodTasks and a DAG on Airflow
	@hack/demo

##@ Work
.PHONY: dev
dev: .venv/.ready  ## Make the virtual environment from the lock file

.PHONY: check
check: lint type docs unit  ## The quick ones, under a minute: lint, types, imports, docs, unit and property tests

.PHONY: lint
lint: .venv/.ready  ## Lint, format, import contracts, spelling, shell scripts, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@PYTHONPATH=controller:hack $(BIN)/lint-imports
	@cd airflow-provider && PYTHONPATH=src ../$(BIN)/lint-imports
	@$(BIN)/codespell $$(git ls-files | grep -vE '\.(lock|sum)$$|/locks/')
	@$(BIN)/shellcheck $$(git ls-files hack .ci | xargs grep -lE '^#!/usr/bin/env bash')
	@$(BIN)/yamllint -s crds .yamllint.yaml charts/podtask/values.yaml charts/podtask/Chart.yaml charts/podtask/ci
	@$(RUN) -m podtask.crdgen --check
	@$(RUN) -m chartgen --check
	@$(RUN) -m bench.pages --check
	@hack/words

.PHONY: docs
docs: .venv/.ready  ## Build the documentation site strictly into build/site
	@$(RUN) -m docsite

.PHONY: type
type: .venv/.ready  ## Types, strictly
	@$(BIN)/mypy
	@cd airflow-provider && ../$(BIN)/mypy

.PHONY: unit
unit: .venv/.ready  ## Unit, property and contract tests: no cluster, no network
	@$(RUN) -m pytest tests/unit tests/property tests/contract -q -n $(JOBS) -m "not apiserver and not node"

.PHONY: fmt
fmt: .venv/.ready  ## Format, and mend what the linter can mend
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: generate
generate: .venv/.ready  ## Write the CRD, its copy in the chart, the chart's README and schema, and the references
	@$(RUN) -m podtask.crdgen
	@$(RUN) -m chartgen

.PHONY: lock
lock: .venv/.ready  ## Make the lock files anew: names, versions and hashes, no address
	@hack/lock

##@ Test
.PHONY: test
test:  ## Everything: sets up what it needs, then runs every test on a real Kubernetes
	@hack/test

.PHONY: cover
cover: .venv/.ready  ## Coverage of the controller by unit, property and contract tests
	@hack/cover

.PHONY: simulate
simulate: .venv/.ready  ## 100,000 whole lives under seeded faults (LIVES=, SEED=)
	@$(RUN) -m tests.simulation --lives $(LIVES) $(if $(SEED),--seed $(SEED))

.PHONY: chaos
chaos: .venv/.ready  ## Every fault on a real cluster with the real chart, 40 tasks each (TASKS=, SEED=); prints the table
	@$(RUN) -m tests.chaos --tasks $(TASKS) $(if $(SEED),--seed $(SEED))

.PHONY: chaos-airflow
chaos-airflow: .venv/.ready  ## kill -9 of worker, triggerer, controller over 200 tasks on real Airflow, the original beside it
	@$(RUN) -m tests.airflow.chaos --tasks 200 --operator ours original

.PHONY: bench
bench: .venv/.ready  ## Every load on PodTask and its peers, one round (45 min, goes on where it was); writes docs/performance.md
	@$(RUN) -m bench --profile machine --add
	@$(RUN) -m bench.kubelet
	@$(RUN) -m bench.imports
	@$(RUN) -m bench.pages

##@ Image
.PHONY: image
image: .venv/.ready  ## Build the controller's and the sidecar's image; prints their archives
	@$(RUN) -m cluster images controller sidecar

.PHONY: sbom
sbom: .venv/.ready  ## Write the bill of materials of the controller's image to build/sbom.cdx.json
	@mkdir -p build
	@$(RUN) -m cluster.images.bill $$($(RUN) -m cluster images controller) > build/sbom.cdx.json
	@echo build/sbom.cdx.json

##@ Cluster
.PHONY: cluster-up
cluster-up: .venv/.ready  ## Bring the development cluster up (kind where Docker answers, else embedded)
	@PYTHONPATH=hack $(BIN)/python -m cluster up --name $(CLUSTER) --form node

.PHONY: cluster-down
cluster-down: .venv/.ready  ## Take it down without a trace
	@PYTHONPATH=hack $(BIN)/python -m cluster down --name $(CLUSTER)

.venv/.ready: requirements-dev.lock
	@hack/bootstrap $(PYTHON)
