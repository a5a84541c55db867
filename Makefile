# make demo   a real model on a sample of every standard benchmark (installs itself first)
# make demo-images   a small image-text model, trained here on drawings, shows that pictures arrive
# make install  the program and its plugins into .venv, without what only tests need
# make vote   two variants of the demo's model answer nine questions; vote which answer is better
# make elo    the ratings by the votes of make vote
# make test   the whole test suite
# make test-next   the same on the published pre-release of lm-eval; tests/next.toml lists what cannot pass there
# make lint   ruff and mypy
# make coverage  the test suite but for installing, and which share of the lines and branches it runs
# make mutants  which faults put into the source no test notices: make mutants OF="stats compare --all"
# make bench  speed, against stock lm-eval, in one run
# make changelog  the change notes of the next release
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-images install vote elo test lint coverage mutants bench changelog clean

# the example is there to copy from
PLUGINS := $(filter-out %-example,$(wildcard plugins/*-plugin-*))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

ACTIVATE := To put gptalt-eval on the PATH of this shell, type:  . $(BIN)/activate

# installed once, and again when what is to be installed changes: for users, and with what developers need
.venv/plain: pyproject.toml constraints.txt $(PLUGINS:=/pyproject.toml)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (once; torch is large) ..."
	@$(PIP) -e . $(addprefix -e ./,$(PLUGINS))
	@touch $@

.venv/installed: .venv/plain
	@echo "Installing what the tests need ..."
	@$(PIP) -e ".[dev]" -e ./plugins/gptalt-eval-plugin-example
	@touch $@

demo: .venv/plain
	@$(BIN)/gptalt-eval --model smollm2 --tasks gptalt_demo --data_dir sample --batch_size 8 --gen_kwargs max_gen_toks=64
	@echo
	@echo "Open the report in a browser. $(ACTIVATE)"
	@echo "Then try:"
	@echo "  gptalt-eval ls tasks                             what else there is to run"
	@echo "  gptalt-eval show task arc_easy                   a prompt as the model gets it"
	@echo "  gptalt-eval --model smollm2 --tasks medqa_zh --data_dir sample           medicine in Chinese, a plugin"
	@echo "  gptalt-eval --model smollm2 --tasks arc_easy --data_dir FOLDER           on the real files"
	@echo "  gptalt-eval --model hf --model_args pretrained=YOUR_MODEL --tasks piqa --data_dir sample"
	@echo "  make vote                                        judge two variants' answers yourself, blind"

# questions 43 to 54 are about the pictures of examples 1 and 2: exchanged, they make the answers wrong
SEE := $(BIN)/gptalt-eval --model hf-multimodal --model_args pretrained=$$(cat .venv/tiny) --tasks scienceqa_img --data_dir sample --device cpu

demo-images: .venv/plain
	@echo "Training a small image-text model on drawings, once (some minutes on one core) ..."
	@$(BIN)/python plugins/gptalt-eval-plugin-scienceqa/train_tiny.py > .venv/tiny
	@echo
	@echo "Questions about their own pictures, and about those of the two examples:"
	@$(SEE) --shot_qids 1,2
	@echo
	@echo "With the examples exchanged, what is asked about them is answered wrongly:"
	@$(SEE) --shot_qids 2,1
	@echo
	@echo "Open the reports in a browser: they show the pictures. $(ACTIVATE)"
	@echo "Then try:"
	@echo "  gptalt-eval show task scienceqa_ll --data_dir sample          a prompt as the model gets it"
	@echo "  gptalt-eval --model smollm2 --tasks scienceqa --data_dir sample --metadata use_caption=true   without pictures"
	@echo "  gptalt-eval ls models                                         image-text models by name"
	@echo "  gptalt-eval --model hf-multimodal --model_args pretrained=YOUR_MODEL --tasks scienceqa --data_dir FOLDER"

# anew, as a plugin may have been uninstalled
install:
	@rm -f .venv/plain
	@$(MAKE) --no-print-directory .venv/plain
	@echo "gptalt-eval and its plugins are in .venv. $(ACTIVATE)"

ASK := $(BIN)/gptalt-eval answers --models smollm2 --limit 1 --language en --batch_size 9 --output_path runs/vote

# one person alone has no second judge
vote: .venv/plain
	@echo "Two variants of smollm2 answer nine questions: two to three minutes on two cores, and once only."
	@echo "Answers are cut after 128 tokens."
	@$(ASK) --gen_kwargs max_gen_toks=128
	@$(ASK) --gen_kwargs max_gen_toks=128,do_sample=true,temperature=1 --name smollm2-sampled
	@echo
	@echo "Open your link in a browser. After voting, stop the server with Ctrl-C and type:  make elo"
	@$(BIN)/gptalt-eval votes serve --answers runs/vote --annotators you --twice 0

elo: .venv/plain
	@$(BIN)/gptalt-eval elo runs/vote

test: .venv/installed
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

# the pre-release of lm-eval, which pyproject.toml keeps out, in front of what .venv has; fresh environments
# of the install tests would not see that
.venv-next/installed: .venv/installed Makefile
	@$(BIN)/python -m venv --clear .venv-next
	@$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
	  > $$(echo .venv-next/lib/python*/site-packages)/behind.pth
	@.venv-next/bin/python -m pip install --quiet --disable-pip-version-check --no-deps lm_eval==0.5.0.dev1
	@touch $@

test-next: .venv-next/installed
	@.venv-next/bin/python -m pytest -n 2 --dist loadgroup -m "not install"

lint: .venv/installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

coverage: .venv/installed
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not install" --cov --cov-report term:skip-covered

mutants: .venv/installed
	@$(BIN)/python tests/mutation/measure.py $(OF)

bench: .venv/installed
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

changelog: .venv/installed
	@$(BIN)/towncrier build --draft

clean:
	rm -rf .venv .venv-next build dist
