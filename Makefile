# SPDX-License-Identifier: Apache-2.0
# What a person types. CMake does the building (see CMakePresets.json), .ci/run is what CI runs.

.DEFAULT_GOAL := help
.PHONY: help build run test test-golden soak format clean packages packages-test tests-built model data

BUILD  := build
MODEL  ?= gemma3-270m
PROMPT ?= The capital of France is
GOLDEN ?= tests/golden
JOBS   ?= $(shell nproc)
PYTHON := /usr/bin/python3

help:
	@echo "make run [PROMPT=\"...\"] [MODEL=name or path]  build, bring the default model, answer"
	@echo "make build                    the program: build/carat"
	@echo "make test                     build and run all tests"
	@echo "make test-golden GOLDEN=DIR   compare with reference outputs laid out like tests/golden"
	@echo "make soak                     long runs: fuzzing, very long contexts, benchmarks"
	@echo "make format                   clang-format all C++ files"
	@echo "make clean                    remove the build folders"

packages:
	@tools/install_packages.sh .ci/packages-build.txt

packages-test:
	@tools/install_packages.sh .ci/packages-build.txt .ci/packages-test.txt

# Tests stay out of a first configuration, because their packages may be missing; a build folder
# that `make test` has configured keeps them.
$(BUILD)/CMakeCache.txt: | packages
	@cmake --preset release -DCARAT_TESTS=OFF -DCARAT_BENCH=OFF

build: packages $(BUILD)/CMakeCache.txt
	@cmake --build $(BUILD) -j $(JOBS) --target carat

# A model that is not one of ours to bring (a path, another name) is left to the program to find.
model:
	@if [ "$(MODEL)" = gemma3-270m ]; then $(PYTHON) tools/fetch_model.py $(MODEL) >/dev/null; fi

run: build model
	@$(BUILD)/carat run "$(MODEL)" "$$CARAT_PROMPT"
run: export CARAT_PROMPT = $(PROMPT)

tests-built: packages-test
	@cmake --preset release -DCARAT_TESTS=ON -DCARAT_BENCH=ON $(CMAKE_ARGS)
	@cmake --build $(BUILD) -j $(JOBS)

# What tests use and the repository does not hold. Without a network they run without it and say so.
data: packages-test
	@tools/bring_test_data.sh

test: tests-built data
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

test-golden: tests-built data
	@$(PYTHON) tests/golden/run_golden.py --carat $(BUILD)/carat $(GOLDEN_ARGS) "$(GOLDEN)"

soak: tests-built data
	@tests/soak/run.sh long

format: packages-test
	@git ls-files -co --exclude-standard '*.h' '*.cc' | xargs clang-format-14 -i

clean:
	@rm -rf build build-*
