# Needs GNU make and Python 3.11 or newer with its venv module; everything else goes into .venv.

PYTHON ?= python3
PY := .venv/bin/python
# Tests at a time: small machines have 2 cores, and the workflow tests start processes of their own.
PYTEST_WORKERS ?= 2
# Debian packages that the tests need and a bare CI machine lacks. Without them, tests of Slurm, mpirun and jpegtran are skipped.
TEST_PACKAGES := slurm-wlm munge openmpi-bin libjpeg-turbo-progs

# 1: exactly requirements.lock. 0: pyproject's lower bounds beside the site's own torch.
# A .venv made with LOCK=0 stays one until `make install LOCK=1` is asked for.
LOCK := $(if $(wildcard .venv/.installed-0),0,1)
STAMP := .venv/.installed-$(LOCK)

# Rules and launchers find `python` and `torchrun` on the PATH. Two threads a process are many times slower than one
# as soon as processes share cores.
demo test bench: export PATH := $(CURDIR)/.venv/bin:$(PATH)
demo test: export OMP_NUM_THREADS := 1

.PHONY: help install demo test lint bench lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## .venv as locked; LOCK=0: from the lower bounds, with the site's own torch

# The project itself never brings dependencies along, and is built by the locked setuptools.
.venv/.installed-1: requirements.lock pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv .venv
	rm -f .venv/.installed-*
	$(PY) -m pip install --require-hashes -r requirements.lock
	$(PY) -m pip install --no-deps --no-build-isolation -e .
	touch $@

# The site's torch goes in as a constraint: else a torchvision that the site lacks may bring its own torch. A torch below
# our bound ends in pip's conflict message, not in a second torch.
.venv/.installed-0: pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv --system-site-packages .venv
	rm -f .venv/.installed-*
	$(PY) -m pip list --format=freeze | grep -E '^(torch|torchvision)==' > .venv/site-torch.txt || :
	$(PY) -m pip install -c .venv/site-torch.txt -e '.[test]'
	touch $@

demo: install ## train the embedded digits study and write its report
	$(PY) -m snakemake --profile profiles/local --configfile config/digits.yaml
	@echo "The report is results/digits/report/index.html"

# pytest comes last, so that its summary is the last thing on the screen.
test: install lint ## lint, then all tests (PYTEST_WORKERS=2)
	@if dpkg -s $(TEST_PACKAGES) >/dev/null 2>&1; then :; \
	elif ! command -v apt-get >/dev/null || test "$$(id -u)" != 0; then \
	echo "Tests that need $(TEST_PACKAGES) are skipped where these lack: only root can install them, with apt-get"; \
	else apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(TEST_PACKAGES); fi
	@$(PY) -m pytest -n $(PYTEST_WORKERS)

# `snakemake --lint` is a test: it allows one finding, explicitly.
lint: install ## ruff, snakefmt, and whether what is made from the code is fresh
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m snakefmt --check Snakefile workflow
	.venv/bin/warmscale schema --check
	$(PY) benchmarks/readme.py --check

bench: install ## run all benchmarks and renew the tables that show them
	$(PY) benchmarks/run_all.py

# Keeps every pin that pyproject.toml still allows; LOCK_FLAGS=--upgrade resolves anew. For Python 3.11 on Linux x86-64
# with the CUDA build of torch, and for everybody: pip's local settings (wheel folders, mirrors) must not show in it.
# To move one package: LOCK_FLAGS='-P torch==X'. If that finds "no stable configuration", remove requirements.lock first.
lock: ## make requirements.lock again (LOCK_FLAGS=--upgrade: with new versions)
	$(PYTHON) -c 'import platform as p, sys; sys.exit((sys.version_info[:2], p.system(), p.machine()) != ((3, 11), "Linux", "x86_64") and "make lock needs Python 3.11 on Linux x86-64: set PYTHON")'
	$(PYTHON) -m venv build/lock-venv
	build/lock-venv/bin/python -m pip install --quiet pip-tools==7.6.2
	unset PIP_FIND_LINKS PIP_EXTRA_INDEX_URL; PIP_CONFIG_FILE=/dev/null CUSTOM_COMPILE_COMMAND='make lock' \
	build/lock-venv/bin/python -m piptools compile --quiet $(LOCK_FLAGS) --extra test --generate-hashes --allow-unsafe \
	--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml
	sed 's/^# This file .* with Python 3.11$$/& on Linux x86-64/' requirements.lock > build/requirements.lock
	cp build/requirements.lock requirements.lock

clean: ## remove caches and build leftovers (not .venv, results/ or data/)
	rm -rf build .pytest_cache .ruff_cache .hypothesis workflow/scripts/warmscale.egg-info
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
