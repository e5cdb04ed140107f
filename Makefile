# `make` lists the targets. `env=cloud` reads .env.cloud instead of .env.local.
PYTHON ?= python3
env ?= $(or $(CHURN_ENV),local)
export CHURN_ENV := $(env)

BIN := .venv/bin
UV := $(BIN)/uv
STACK := $(BIN)/python -m deploy.embedded.stack
CODE := bento churn_assets stream_worker deploy benchmarks churn_assets_tests

# uv reads none of pip's settings: hand over an index of the user's own. Hashes make it safe to
# take a version from any of several.
pip_setting = $(shell [ -x $(BIN)/pip ] && $(BIN)/pip config get global.$(1) 2>/dev/null)
with_index = UV_INDEX_STRATEGY=unsafe-best-match \
	UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$(call pip_setting,index-url)}}" \
	UV_INDEX="$${UV_INDEX:-$${PIP_EXTRA_INDEX_URL:-$(call pip_setting,extra-index-url)}}" \
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-$(call pip_setting,find-links)}}"

.DEFAULT_GOAL := help

##@ Start here

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z_-]+:.*## / {printf "  \033[36m%-26s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: install ## From nothing to a registered champion; ONCE=1 stops the platform at the end
	@$(BIN)/python -m deploy.embedded.demo $(if $(ONCE),--once)

.PHONY: test
test: ## Run the tests; CHURN_RAW_DATA=FILE adds those on real customers; suite=unit, integration: only those
	$(BIN)/python -m pytest $(if $(suite),-m "$(if $(filter unit,$(suite)),not integration,$(suite))")

##@ Platform

.PHONY: up
up: install ## Start the platform and wait until it is ready; programs="mlflow": only those
	@$(STACK) up $(programs)

.PHONY: down
down: ## Stop the platform; its state stays
	@$(STACK) down

.PHONY: status
status: ## Show the servers: state, pid, port, URL
	@$(STACK) status

.PHONY: logs
logs: ## Follow the logs; program=mlflow: only that one
	@$(STACK) logs $(program)

.PHONY: reset
reset: ## Stop the platform and delete its state
	@$(STACK) reset

##@ Model

.PHONY: promote
promote: ## Make the version of an MLflow run champion: make promote RUN_ID=...
	@$(BIN)/python -m churn_assets.promote "$(RUN_ID)"

.PHONY: rollback
rollback: ## Go back to the champion before the present one
	@$(BIN)/python -m churn_assets.promote --rollback

.PHONY: releases
releases: ## List the packaged champions and which one is live; needs no MLflow
	@$(BIN)/python -m churn_assets.release list

.PHONY: rollback-live
rollback-live: ## Make the previous champion live (tag=TAG: that one), also while MLflow is down
	@$(BIN)/python -m churn_assets.release $(if $(tag),to $(tag),back)

##@ Customers and predictions

.PHONY: quarantine
quarantine: ## List the rows that became no customer, and why
	@$(BIN)/python -m churn_assets.defs.features.quarantine

.PHONY: score
score: ## Score files with the live champion: make score data=INPUT out=OUTPUT (files, folders, s3://)
	@$(BIN)/python -m churn_assets.score "$(data)" "$(out)"

.PHONY: simulate
simulate: ## Send customers over HTTP every 60 s (RATE=50: a second; COVARIATE_DRIFT=, CONCEPT_DRIFT= 0..1; LABELS_AFTER=60)
	@$(BIN)/python -m churn_assets.simulator http $(if $(RATE),--rate $(RATE)) $(if $(LABELS_AFTER),--labels-after $(LABELS_AFTER)) \
		$(if $(COVARIATE_DRIFT),--covariate-drift $(COVARIATE_DRIFT)) $(if $(CONCEPT_DRIFT),--concept-drift $(CONCEPT_DRIFT))

.PHONY: simulate-stream
simulate-stream: ## Stream a customer a minute and read the answers; RATE=100: so many a second
	@$(BIN)/python -m churn_assets.simulator stream $(if $(RATE),--rate $(RATE)) $(if $(COUNT),--count $(COUNT))

.PHONY: dead-letters
dead-letters: ## List the streamed records that are no customer; REPLAY=1 scores those that are by now
	@$(BIN)/python -m stream_worker dead-letters $(if $(REPLAY),--replay)

##@ Docker: the platform in containers (docs/compose.md)

# Without `local`, the stand-ins of a cloud stay away, and containers reach AWS itself.
profiles ?= train,serve,monitor
COMPOSE = $(if $(filter cloud,$(env)),EMULATOR_URL= CHURN_INTERNAL=false) \
	COMPOSE_PROFILES=$(profiles)$(if $(filter local,$(env)),$(comma)local) \
	docker compose --env-file .env.$(env) --env-file .env
comma := ,
IN_CONTAINERS = COMPOSE="env $(COMPOSE)" $(PYTHON) -m deploy.compose

.PHONY: compose-up
compose-up: .env images ## Images, all servers, training, release: until the predecessor's curl is answered
	@$(IN_CONTAINERS) up

.PHONY: compose
compose: .env ## Any command of Docker Compose: make compose do="logs -f http" (profiles=serve env=cloud)
	@$(COMPOSE) $(do)

.PHONY: setup-model-registry
setup-model-registry: .env ## Start what trains: PostgreSQL, MLflow, Dagster, the AWS emulator
	@$(MAKE) --no-print-directory compose profiles=train do="up --detach --wait"

.PHONY: init_aws
init_aws: .env ## Bucket, streams and customers in the AWS emulator; CHURN_RAW_DATA=FILE: those
	@$(COMPOSE) run --rm $(if $(CHURN_RAW_DATA),--env CHURN_RAW_DATA=/data/$(notdir $(CHURN_RAW_DATA)) \
		--volume $(abspath $(CHURN_RAW_DATA)):/data/$(notdir $(CHURN_RAW_DATA)):ro) init

.PHONY: apply-model-train-flow
apply-model-train-flow: .env ## Train, promote and release a model in the containers
	@$(IN_CONTAINERS) train

.PHONY: setup-model-serve
setup-model-serve: .env ## Start what serves and watches: HTTP, worker, MongoDB, Prometheus, Grafana, reports
	@$(MAKE) --no-print-directory compose profiles=serve,monitor do="up --detach --wait"

.PHONY: apply-prediction-reporting
apply-prediction-reporting: .env ## Report on the present window now; the schedule does on each that ends
	@$(IN_CONTAINERS) report

.PHONY: start-serve
start-serve: .env ## Start the two model servers (with another RUN_ID of .env.local: anew)
	@$(MAKE) --no-print-directory compose profiles=serve do="up --detach --wait http worker"

.PHONY: stop-serve
stop-serve: .env ## Stop the two model servers
	@$(MAKE) --no-print-directory compose profiles=serve do="stop http worker"

.PHONY: compose-down
compose-down: .env ## Stop and remove the containers; the data stay
	@$(COMPOSE) down --remove-orphans

.PHONY: reset_all
reset_all: .env ## Remove the containers and all their data
	@$(COMPOSE) down --remove-orphans --volumes

.PHONY: run_tests
run_tests: test ## The predecessor's name for `make test`

.env: deploy/compose/secrets.sh
	@deploy/compose/secrets.sh

##@ Images

ENGINE := eval "$$(deploy/check/engine.sh start)"
IMAGES := dagster worker exporter lambda emulator http

.PHONY: images
images: .venv/.installed ## Build the images; image="worker http": only those; BASE_IMAGE=, CHURN_VERSION=, CHURN_REGISTRY=
	@$(ENGINE) && deploy/check/base.sh $${BASE_IMAGE:-} && deploy/images.sh $(or $(image),$(IMAGES))

.PHONY: image-sizes
image-sizes: ## Show each image's size and its largest packages
	@$(ENGINE) && deploy/image_sizes.sh $(or $(image),$(IMAGES))

.PHONY: sbom
sbom: .venv-check/.installed ## Write what each image holds to build/sbom (CycloneDX)
	@$(ENGINE) && deploy/sbom.sh $(or $(image),$(IMAGES))

.PHONY: engine-stop
engine-stop: ## Stop the container engine that the image and check targets started
	@deploy/check/engine.sh stop

##@ Code

.PHONY: install
install: .venv/.installed .venv-emulator/.installed ## Install everything from the locks into .venv and .venv-emulator

$(UV): deploy/bootstrap.lock
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed: make install PYTHON=/path/to/it"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

.venv/.installed: requirements.lock pyproject.toml $(UV)
	@echo 'installing requirements.lock'
	@$(with_index) $(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode $<
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline --editable .
	@touch $@

.venv-emulator/.installed: deploy/embedded/requirements.lock $(UV)
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-emulator
	@$(with_index) $(UV) pip sync --quiet --python .venv-emulator/bin/python --require-hashes --compile-bytecode $<
	@touch $@

.venv-check/.installed: deploy/check/requirements.lock $(UV)
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-check
	@$(with_index) $(UV) pip sync --quiet --python .venv-check/bin/python --require-hashes $<
	@touch $@

.PHONY: install-kinesalite
install-kinesalite: ## Install the Kinesis emulator that reshards, for tests (needs node)
	@npm install --prefix .kinesalite --no-save --no-audit --no-fund --loglevel error kinesalite@3.3.3

.PHONY: lock
lock: ## Resolve the locks again from pyproject.toml
	@$(with_index) deploy/lock.sh

.PHONY: lint
lint: ## Look for faults and for unformatted code (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: format
format: ## Format the code and mend what can be mended (ruff)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: ## Check the types (mypy --strict)
	$(BIN)/mypy $(CODE)

.venv-spark/.installed: deploy/spark.lock pyproject.toml $(UV)
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-spark
	@$(with_index) $(UV) pip sync --quiet --python .venv-spark/bin/python --require-hashes $<
	@$(UV) pip install --quiet --python .venv-spark/bin/python --no-deps --no-build-isolation --offline --editable .
	@touch $@

.PHONY: test-spark
test-spark: install .venv-spark/.installed ## Score the registered model in a local Spark (needs Java 17)
	.venv-spark/bin/python -m pytest churn_assets_tests/scale/test_spark.py

.PHONY: check
check: lint types test ## lint, types and test

.PHONY: check-deploy
check-deploy: install .venv-check/.installed ## Check all of deploy/ by real tools; engine=no: without containers, only="yaml shell": those
	@$(BIN)/python -m deploy.check $(if $(filter no,$(engine)),--no-engine) $(if $(only),--only $(only))

.PHONY: audit
audit: install .venv-check/.installed ## Look for known vulnerabilities in all locks (pip-audit)
	@$(BIN)/python -m deploy.check --only audit

.PHONY: check-deploy-faults
check-deploy-faults: install .venv-check/.installed ## Show that every check finds the faults it is for; engine=no, only="yaml shell"
	@$(BIN)/python -m deploy.check --faults $(if $(filter no,$(engine)),--no-engine) $(if $(only),--only $(only))

.PHONY: package
package: $(UV) ## Build wheel and source into dist/ and try the wheel; tag=v1.2.3: as that release
	@$(with_index) deploy/delivery/package.sh "$(tag)" dist
