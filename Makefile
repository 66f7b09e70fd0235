# SPDX-License-Identifier: MIT
# The front door. Meson and ninja do the work; this file names what a person wants.
#
#   make run              set up, build, start the daemon, send it one request, stay until Ctrl-C
#   make run ONCE=1       the same, and stop after the answer
#   make run MODEL=F      with your own GGUF file instead of the demo model
#   make check            every test, and each fuzzer for FUZZ_SECONDS (5)
#   make asan | tsan      the same tests under AddressSanitizer+UBSan | ThreadSanitizer
#   make soak             more of the simulator, on every core: SEEDS=n or MINUTES=n; and then the
#                         fault campaigns in full: FAULTS=n in a thousand
#   make fuzz             the fuzzers, each for SECONDS (60); KEEP=1 keeps what they found
#   make bench            the benchmarks, with their peers
#   make install          DESTDIR and PREFIX are honoured
#   make fmt | lint       format the sources | look for mistakes in them

BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
MESON_FLAGS ?=
# The fuzzers take clang, and so a folder of their own; an empty name leaves them out.
FUZZ_BUILD ?= build-fuzz
FUZZ_SECONDS ?=
SECONDS ?= 60

.PHONY: all setup build run check asan tsan soak fuzz bench install fmt lint clean
all: build

setup:
	@tools/setup

$(BUILD)/build.ninja: | setup
	meson setup $(BUILD) --prefix=$(PREFIX) $(MESON_FLAGS)

build: setup $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS) --quiet

run: build
	@tools/run --build $(BUILD) $(if $(ONCE),--once) $(if $(MODEL),--model '$(MODEL)')

check: build
	@JOBS='$(JOBS)' MESON_FLAGS='$(MESON_FLAGS)' FUZZ_SECONDS='$(FUZZ_SECONDS)' \
		tools/check $(BUILD) $(FUZZ_BUILD)

asan:
	@$(MAKE) --no-print-directory check BUILD=build-asan FUZZ_BUILD= \
		MESON_FLAGS='-Db_sanitize=address,undefined -Db_lundef=false --optimization=1'

tsan:
	@$(MAKE) --no-print-directory check BUILD=build-tsan FUZZ_BUILD= \
		MESON_FLAGS='-Db_sanitize=thread -Db_lundef=false --optimization=1'

soak: build
	@SEEDS='$(SEEDS)' MINUTES='$(MINUTES)' START='$(START)' tools/soak $(BUILD)
	@tools/soak-faults $(BUILD)

fuzz: setup
	@JOBS='$(JOBS)' MESON_FLAGS='$(MESON_FLAGS)' FUZZ_SECONDS='$(SECONDS)' FUZZ_KEEP='$(KEEP)' \
		tools/fuzz $(FUZZ_BUILD)

bench:
	@tools/setup bench
	@$(MAKE) --no-print-directory build BUILD=build-bench MESON_FLAGS='--buildtype=release'
	@tools/bench build-bench

install: build
	DESTDIR='$(DESTDIR)' meson install -C $(BUILD) --no-rebuild

fmt:
	@tools/setup lint
	@git ls-files '*.c' '*.h' | xargs clang-format -i

lint: build
	@tools/setup lint
	@tools/lint $(BUILD)

clean:
	rm -rf build build-asan build-tsan build-bench build-fuzz
