# The two main targets are `make duel`, which runs the main job, and `make test`. Each target
# creates or updates the environment in .tox/ that it needs.

PYTHON ?= python3
TOX := .tox/boot/bin/tox

.PHONY: help duel test random-order nightly arm edge docs lint types sanitize mutate clean
.DEFAULT_GOAL := help

help:
	@echo "make duel     set up, run the detectors on the built-in frames, write the report"
	@echo "make test     set up, check style and types, run the tests"
	@echo "make arm      the network without torch on emulated ARM cores (needs qemu-user-static)"
	@echo "make edge     the C++ program skyduel-points for x86-64 and aarch64, compared with this package"
	@echo "make nightly  also run the slow tests, the tests without torch, an hour of mutation tests"
	@echo "make random-order  the tests in random order"
	@echo "make docs     set up, build the documentation into build/docs"
	@echo "make sanitize run the compiled operators under address and undefined-behaviour sanitizers"
	@echo "make mutate   mutation tests of evaluation/; goes on where it was stopped (hours)"
	@echo "make lint     check style only   make types   check types only"
	@echo "make clean    remove environments and build products (runs/ stays)"

$(TOX):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python >= 3.11 is required, got %s. Choose another: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	$(PYTHON) -m venv .tox/boot
	.tox/boot/bin/python -m pip install --quiet -c constraints.txt tox

duel: $(TOX)
	@$(TOX) run -q -e skyduel,duel

test: $(TOX)
	@$(TOX) run -e skyduel,lint,types,tests

nightly: $(TOX)
	@$(TOX) run -e skyduel,nightly,no-torch
	# It lists the mutants that survived and does not fail: those found first are not all settled.
	-$(MAKE) mutate MUTATE="--sample 40 --minutes 60"

# Beside the environment: installed in it, pytest-randomly would shuffle every run.
random-order: $(TOX)
	@$(TOX) run -q -e skyduel
	.tox/boot/bin/python -m pip install --quiet --no-deps --target build/randomly pytest-randomly==5.1.0
	PYTHONPATH=build/randomly .tox/skyduel/bin/pytest -n 2 --dist worksteal -m "not slow" $(RANDOM_ORDER)

arm: $(TOX)
	@$(TOX) run -q -e skyduel
	.tox/skyduel/bin/python distribution/arm_system.py build/arm
	SKYDUEL_ARM=build/arm .tox/skyduel/bin/pytest tests/packaging/test_on_arm.py

# ExecuTorch lowers the model; it stays out of the environment of everything else.
edge: $(TOX)
	@$(TOX) run -q -e skyduel
	.tox/skyduel/bin/python edge/build.py build/edge
	.tox/skyduel/bin/python edge/build.py build/edge --target aarch64
	.tox/skyduel/bin/python -m pip install --quiet --no-deps --target build/edge/exporter executorch==1.5.1 torchao==0.18.0 flatbuffers ruamel.yaml tabulate
	PYTHONPATH=build/edge/exporter .tox/skyduel/bin/skyduel export full --executorch --int8 --out build/edge/skyduel.pte
	SKYDUEL_EDGE=build/edge .tox/skyduel/bin/pytest tests/packaging/test_edge_program.py

docs: $(TOX)
	@$(TOX) run -q -e skyduel,docs
	@echo "docs: build/docs/index.html"

lint types: $(TOX)
	@$(TOX) run -q -e skyduel,$@

sanitize: $(TOX)
	@$(TOX) run -q -e skyduel
	PYTHON=$(CURDIR)/.tox/skyduel/bin/python fuzz/sanitize.sh

mutate: $(TOX)
	@$(TOX) run -q -e skyduel
	.tox/skyduel/bin/python fuzz/mutate.py evaluation $(MUTATE)

clean:
	rm -rf .tox build dist src/*.egg-info cuda_ops/*.so core/native/*.so
