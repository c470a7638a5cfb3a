# ftpd: build and test. `make help` lists the targets.

CXX        ?= g++
BUILD      ?= build
VERSION    := 0.1.0

# --- what is installed by `make deps`: the one list of packages (Debian 12) -----------------------
PACKAGES := g++ make pkg-config \
            libfmt-dev libsimdjson-dev doctest-dev libtomlplusplus-dev libcli11-dev \
            libssl-dev libsystemd-dev libarchive-dev \
            python3 netcat-openbsd procps mandoc man-db \
            clang-19 libclang-rt-19-dev clang-format-19 clang-tidy-19
# What the benchmarks compare with; only `make bench` wants it.
BENCH_PACKAGES := redis-server nginx-light vsftpd openssh-server openssh-client rsync netcat-openbsd tar

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

# --- flavours: each has its own directory, so they never mix --------------------------------------
FLAVOUR ?= release
O := $(BUILD)$(if $(filter release,$(FLAVOUR)),,/$(FLAVOUR))

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wswitch-enum -Wnon-virtual-dtor \
            -Wold-style-cast $(if $(WERROR),-Werror)
HARDEN   := -fPIE -fstack-protector-strong -D_GLIBCXX_ASSERTIONS
CPPFLAGS += -D_GNU_SOURCE -Iinclude -Isrc -DFTPD_VERSION='"$(VERSION)"'
CXXFLAGS_release  := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 $(HARDEN)
# vptr: its check asks the kernel with a pipe, and cries wolf when no descriptor is left.
CXXFLAGS_asan     := -O1 -g -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=undefined -fno-omit-frame-pointer $(HARDEN)
CXXFLAGS_tsan     := -O1 -g -fsanitize=thread -fno-omit-frame-pointer $(HARDEN)
LDFLAGS_asan      := -fsanitize=address,undefined
LDFLAGS_tsan      := -fsanitize=thread
ALL_CXXFLAGS = -std=c++23 -pthread $(WARNINGS) $(CXXFLAGS_$(FLAVOUR)) $(CXXFLAGS)
ALL_LDFLAGS  = -pthread -pie -Wl,-z,relro,-z,now $(LDFLAGS_$(FLAVOUR)) $(LDFLAGS)
LIBRARIES    = -lsimdjson -lfmt -lcrypto -lsystemd -larchive

# --- layers: an archive each; what stands right of it is what it may use --------------------------
LAYERS := base wire reactor net store exec access config server client
USES_base    :=
USES_wire    :=
USES_reactor := base
USES_net     := reactor base
USES_store   := reactor base
USES_exec    := reactor base
USES_access  := base
USES_config  := base
USES_server  := net store exec access config wire reactor base
USES_client  := net wire reactor base

archive  = $(O)/lib$(1).a
archives = $(foreach layer,$(1) $(USES_$(1)),$(call archive,$(layer)))

V ?=
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)';)

.PHONY: all run check unit e2e fuzz fuzz-replay asan tsan bench lint format layers tidy clean deps bench-deps help
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
# Not .SECONDARY: that would take a missing object for up to date when its archive is newer.
.PRECIOUS: $(O)/obj/%.o

all: $(O)/ftpd $(O)/ftpc ## build the daemon and the client: build/ftpd, build/ftpc

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- compiling ------------------------------------------------------------------------------------
$(O)/obj/%.o: %.cpp
	@mkdir -p $(@D)
	$(call say,CXX,$<)$(CXX) $(CPPFLAGS) $(ALL_CXXFLAGS) -MMD -MP -c -o $@ $<

define layer_rules
$(call archive,$(1)): $(patsubst %.cpp,$(O)/obj/%.o,$(filter-out %/main.cpp,$(wildcard src/$(1)/*.cpp)))
	@rm -f $$@
	$$(call say,AR,$$@)ar rcs $$@ $$^
endef
$(foreach layer,$(LAYERS),$(eval $(call layer_rules,$(layer))))

link = $(call say,LINK,$@)$(CXX) $(ALL_LDFLAGS) -o $@ $(1) $(LIBRARIES)

$(O)/ftpd: $(patsubst %.cpp,$(O)/obj/%.o,$(wildcard src/daemon/*.cpp)) $(call archives,server)
	$(call link,$^)

$(O)/ftpc: $(O)/obj/src/client/main.o $(call archives,client)
	$(call link,$^)

# --- tests ----------------------------------------------------------------------------------------
# One unit-test program for each layer that has tests, linked with the layers it may use.
TESTED := $(sort $(foreach test,$(wildcard tests/unit/*_test.cpp),$(firstword $(subst _, ,$(notdir $(test))))))
SUPPORT := $(patsubst %.cpp,$(O)/obj/%.o,$(wildcard tests/support/*.cpp))

define unit_rules
$(O)/unit/$(1): $(patsubst %.cpp,$(O)/obj/%.o,$(wildcard tests/unit/$(1)_*_test.cpp)) $(SUPPORT) $(call archives,$(1))
	@mkdir -p $$(@D)
	$$(call link,$$^)
endef
$(foreach layer,$(TESTED),$(eval $(call unit_rules,$(layer))))
$(O)/obj/tests/%.o: CPPFLAGS += -Itests

FUZZ_TARGETS := $(patsubst tests/fuzz/%_fuzz.cpp,%,$(wildcard tests/fuzz/*_fuzz.cpp))
$(O)/fuzz/replay-%: $(O)/obj/tests/fuzz/%_fuzz.o $(O)/obj/tests/fuzz/replay_main.o $(call archives,wire)
	@mkdir -p $(@D)
	$(call link,$^)

UNITS := $(patsubst %,$(O)/unit/%,$(or $(LAYER),$(TESTED)))
unit: $(UNITS) ## the unit tests alone (LAYER=wire for one layer)
	@tests/run unit $(UNITS)

fuzz-replay: $(FUZZ_TARGETS:%=$(O)/fuzz/replay-%) ## every fuzz target over its corpus
	@tests/run replay $(FUZZ_TARGETS:%=$(O)/fuzz/replay-%)

# The benchmarks know the daemon from outside only: sockets and /proc.
$(O)/bench/bench: $(patsubst %.cpp,$(O)/obj/%.o,$(wildcard tests/bench/*.cpp)) $(call archives,base)
	@mkdir -p $(@D)
	$(call link,$^)

bench: $(O)/ftpd $(O)/bench/bench ## compare with limits and peers; prints tables (BENCH=name for one, SHORT=1 for a quick run)
	@$(O)/bench/bench $(if $(SHORT),--short) --ftpd $(O)/ftpd $(BENCH)

bench-deps: ## install what the benchmarks compare with
	@$(MAKE) --no-print-directory deps PACKAGES='$(BENCH_PACKAGES)'

# The fuzzer needs clang; it works on a corpus of its own, so that a run leaves the tree as it was.
FUZZ_SECONDS ?= 60
FUZZ_O := $(BUILD)/fuzz-clang
$(FUZZ_O)/%: tests/fuzz/%_fuzz.cpp $(wildcard src/wire/*.cpp src/wire/*.h include/ftpd/*.h tests/support/*.h)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)clang++-19 -std=c++23 -pthread -O1 -g -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=undefined $(CPPFLAGS) -Itests -o $@ $(filter %.cpp,$^) $(LIBRARIES)

fuzz: $(FUZZ_TARGETS:%=$(FUZZ_O)/%) ## fuzz each target for FUZZ_SECONDS (60)
	$(Q)for target in $(FUZZ_TARGETS); do \
	  mkdir -p $(FUZZ_O)/corpus/$$target; \
	  $(FUZZ_O)/$$target -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(FUZZ_O)/$$target- \
	    $(FUZZ_O)/corpus/$$target tests/fuzz/corpus/$$target || exit 1; \
	done

e2e: all ## the end-to-end tests alone (TEST=pattern for some)
	@tests/run e2e $(O)

check: all $(TESTED:%=$(O)/unit/%) $(FUZZ_TARGETS:%=$(O)/fuzz/replay-%) ## every test; the last line is `N passed, N failed`
	@tests/run all $(O)

asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory FLAVOUR=asan check

tsan: ## every test under ThreadSanitizer
	@$(MAKE) --no-print-directory FLAVOUR=tsan check

# --- what reads the sources instead of running them -----------------------------------------------
CLANG_FORMAT ?= clang-format-19
CLANG_TIDY   ?= clang-tidy-19
SOURCES = $(shell find include src tests -name '*.h' -o -name '*.cpp' | sort)
TIDIED  = $(if $(FILES),$(FILES),$(sort $(wildcard src/*/*.cpp)))

layers: ## check that no #include goes against the layers
	@python3 tests/tools/check_layers.py $(foreach layer,$(LAYERS),'$(layer):$(USES_$(layer))') 'daemon:server $(USES_server)'

lint: ## check formatting, manuals, scripts and units, without building
	@tests/tools/lint $(CLANG_FORMAT)

format: ## format every C++ file in place
	@$(CLANG_FORMAT) -i $(SOURCES)

tidy: ## clang-tidy over src/ (slow; FILES="src/wire/message.cpp …" for some)
	@printf '%s\n' $(TIDIED) | xargs -P "$$(nproc)" -I FILE $(CLANG_TIDY) --quiet FILE -- $(CPPFLAGS) -std=c++23

run: all ## serve on 127.0.0.1:8080 with commands on, files under build/ftpd-root
	@mkdir -p $(O)/ftpd-root
	@printf '%s\n' \
	  'Serving files under $(O)/ftpd-root and commands on 127.0.0.1:8080 (Ctrl-C stops). Try in another terminal:' \
	  "  printf 'uname -a\n' | nc -N 127.0.0.1 8080" \
	  '  $(O)/ftpc put README.md && $(O)/ftpc ls -l' \
	  '  $(O)/ftpc exec -- ls -l'
	@exec $(O)/ftpd -l 127.0.0.1:8080 -r $(O)/ftpd-root -e

clean: ## remove what was built
	rm -rf $(BUILD)

deps: ## install the packages that building and testing need (Debian 12)
	@missing=$$(for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  echo "installing:" $$missing; \
	  $(SUDO) apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get -qq -y --no-install-recommends install $$missing >/dev/null; \
	fi

-include $(shell find $(O)/obj -name '*.d' 2>/dev/null)
