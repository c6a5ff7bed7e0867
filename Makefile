# SPDX-License-Identifier: Apache-2.0
#
# make          build everything under build/
# make demo     a daemon, some simulated models, and what to type   (SECONDS=10 ends by itself)
# make test     everything that must hold        make check   format, layers, static analysis
# make bench    measure against baselines        make install DESTDIR= PREFIX=
# make deps     install what is needed (Debian)  make clean
# make valgrind some of the client's units under valgrind
#
# SAN=address,undefined or SAN=thread builds and tests under sanitizers, in a directory of its own.

VERSION := $(shell cat VERSION)
SOVERSION := 0
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
# Where this machine's Python looks for packages below PREFIX, if it does.
PYTHONDIR ?= $(or $(shell python3 -c 'import site; print(*(p for p in site.getsitepackages() \
	if p.startswith("$(PREFIX)/lib/")))' 2>/dev/null | cut -d' ' -f1),$(PREFIX)/lib/python3/dist-packages)
DOCDIR ?= $(PREFIX)/share/doc/ttmem
SAN ?=
BUILD ?= build$(if $(SAN),/$(subst $(comma),-,$(SAN)))
comma := ,
# One name for each directory, or make would take its objects for other files.
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(BUILD)))

PACKAGES := fuse3 libuv glib-2.0 jansson
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null)

CC ?= gcc
OPT ?= -O2
WARN := $(if $(findstring thread,$(SAN)),-Wno-tsan) -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wvla -Wformat=2
HARDEN := -fstack-protector-strong -fstack-clash-protection $(if $(SAN),,-D_FORTIFY_SOURCE=2)
# GCC 12 compares the address of a thread's variable with NULL by the flags of the addition that makes
# it, and the linker may replace that by one that sets none. ASan finds what uses NULL, too.
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
	$(if $(findstring undefined,$(SAN)),-fno-sanitize=null)
CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DTTMEM_VERSION='"$(VERSION)"' -Iclient -MMD -MP
CFLAGS += -std=gnu11 $(OPT) -g $(WARN) $(HARDEN) $(SANFLAGS)
LDFLAGS += -Wl,-z,relro,-z,now $(SANFLAGS)

CLIENT := $(patsubst %.c,$(BUILD)/%.o,$(wildcard client/*.c))
CORE := $(patsubst %.c,$(BUILD)/%.o,$(filter-out collector/main.c,$(wildcard collector/*.c fs/*.c)))
TOOLS := $(patsubst tools/%.c,$(BUILD)/%,$(wildcard tools/*.c))
UNITS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*_unit.c))
# Threads meet here, and so once more where the kernel does not make their fences.
FENCED = $(patsubst %,$(BUILD)/tests/unit/%_unit,doorbell signals storm sums threads)
PEERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/peers/*.c))
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/*_fuzz.c))
BENCHES := $(patsubst %.c,$(BUILD)/%,$(wildcard bench/*.c))
SONAME := libttmem.so.$(SOVERSION)
LIBS := $(BUILD)/libttmem.a $(BUILD)/libttmem.so

SOURCES := $(wildcard client/*.[ch] collector/*.[ch] fs/*.[ch] tools/*.[ch] tools/sim/*.[ch] bench/*.[ch] \
	tests/unit/*.[ch] tests/peers/*.[ch] tests/plugin/*.c tests/fuzz/*.[ch] client/*.hpp \
	tests/bindings/*.cpp examples/*/*.c examples/*/*.cpp)

.PHONY: all lib daemon deps demo test unit fuzz fuzz-corpus compat mount-test metal-test bindings-test \
	doc-test san-test valgrind check bench install clean format

all: lib daemon $(TOOLS)

deps:
	tools/deps.sh test

# A recursive make sees the flags of what was just installed.
demo:
	@tools/deps.sh build
	@$(MAKE) --no-print-directory -s -j$$(nproc) all
	@tools/demo.sh $(BUILD) $(SECONDS)

test:
	@tools/deps.sh test
	$(MAKE) -s -j$$(nproc) all $(UNITS) $(FUZZERS) $(PEERS) $(BENCHES)
	$(MAKE) unit fuzz-corpus compat mount-test metal-test bindings-test doc-test

# One of them looks for ledgers of others, and would find those of the rest.
ALONE = $(BUILD)/tests/unit/server_unit
unit: $(UNITS)
	tests/units.sh $(ALONE)
	tests/units.sh $(filter-out $(ALONE),$(UNITS))
	tests/units.sh --env TTMEM_TEST_FENCES=1 $(FENCED)

# Each fuzz target over its corpus and simple changes of it.
fuzz-corpus: $(FUZZERS)
	@set -e; for target in $(FUZZERS); do \
		echo "$$target"; $$target tests/fuzz/corpus/$$(basename $$target _fuzz); done

# libFuzzer, each target for SECONDS=10. What it finds is written to build/fuzz/.
FUZZ_SECONDS = $(or $(SECONDS),10)
fuzz:
	@tools/deps.sh test
	@mkdir -p $(BUILD)/fuzz
	@set -e; for source in $(wildcard tests/fuzz/*_fuzz.c); do \
		name=$$(basename $$source _fuzz.c); mkdir -p $(BUILD)/fuzz/$$name; \
		clang -g -O1 -std=gnu11 -D_GNU_SOURCE -Iclient -Icollector -fno-sanitize-recover=all \
			-fsanitize=fuzzer,address,undefined -o $(BUILD)/fuzz/$${name}_fuzz \
			$$source collector/$$name.c; \
		$(BUILD)/fuzz/$${name}_fuzz -max_total_time=$(FUZZ_SECONDS) -verbosity=0 \
			-print_final_stats=1 -artifact_prefix=$(BUILD)/fuzz/ \
			$(BUILD)/fuzz/$$name tests/fuzz/corpus/$$name; done

# The last release, built from its sources for the tests in which it meets this one.
COMPAT := $(patsubst tests/compat/%.tar.xz,build/compat/%/built,$(wildcard tests/compat/*.tar.xz))
compat: $(COMPAT)
build/compat/%/built: tests/compat/%.tar.xz tests/compat/build.sh
	tests/compat/build.sh $< build/compat

# MOUNT_TESTS="adoption restart" runs those alone.
mount-test: all compat $(PEERS)
	python3 tests/mount/run.py --build $(BUILD) $(MOUNT_TESTS)

# client/tt-metal/ with a stand-in for TT-Metal: what the script makes of it, built and run.
metal-test: all
	python3 tests/tt-metal/run.py --build $(BUILD)

bindings-test: lib
	tests/bindings/hpp.sh $(BUILD)
	python3 tests/bindings/python_test.py $(BUILD)

doc-test: all
	tests/installed.sh $(BUILD)
	python3 tests/blocks.py --self-test
	python3 tests/abi.py $(BUILD)
	python3 tests/abi.py $(BUILD) --self-test
	tests/headers.sh
	python3 tests/ledger_doc.py
	python3 tests/ledger_doc.py --self-test
	python3 tests/paths_doc.py
	python3 tests/paths_doc.py --self-test
	python3 tests/host_doc.py
	python3 tests/host_doc.py --self-test
	tests/layers.sh --self-test

# What sanitizers can watch: the units, and the daemon and its peers on real mounts. GLib hands list
# nodes from thread to thread under locks that they cannot see, so it is told not to.
san-test:
	@tools/deps.sh test
	$(MAKE) -s -j$$(nproc) all $(UNITS) $(FUZZERS) $(PEERS)
	G_SLICE=always-malloc TTMEM_TEST_SLOWNESS=4 $(MAKE) unit fuzz-corpus mount-test

# Valgrind's word on the client, which is all it can run of us: it has no pidfd_open().
VALGRIND_UNITS := $(addprefix $(BUILD)/tests/unit/,alone_unit cancel_unit closing_unit hello_unit \
	limits_unit pages_unit stress_unit)
valgrind:
	@tools/deps.sh test
	@$(MAKE) --no-print-directory -s -j$$(nproc) $(VALGRIND_UNITS)
	@set -e; for unit in $(VALGRIND_UNITS); do \
		echo "$$unit"; valgrind -q --error-exitcode=9 --fair-sched=yes $$unit; done

bench:
	@tools/deps.sh test
	@$(MAKE) --no-print-directory -s -j$$(nproc) all $(BENCHES)
	python3 bench/run.py --build $(BUILD) --json $(BUILD)/bench.json

check:
	@tools/deps.sh test
	tests/check.sh

format:
	clang-format -i $(SOURCES)

install: all
	sed -e 's,@PREFIX@,$(PREFIX),' -e 's,@LIBDIR@,$(LIBDIR),' -e 's,@VERSION@,$(VERSION),' \
		client/ttmem.pc.in > $(BUILD)/ttmem.pc
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(LIBDIR)/pkgconfig \
		$(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/man/man3 $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/ttmem/tt-metal $(DESTDIR)$(PYTHONDIR)/ttmem
	install -m 755 $(BUILD)/ttmemd $(DESTDIR)$(PREFIX)/sbin/
	install -m 755 $(BUILD)/ttmem-sim $(DESTDIR)$(PREFIX)/bin/
	install -m 644 client/ttmem.h client/ttmem.hpp $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(BUILD)/libttmem.a $(DESTDIR)$(LIBDIR)/
	install -m 755 $(BUILD)/$(SONAME) $(DESTDIR)$(LIBDIR)/
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libttmem.so
	install -m 644 $(BUILD)/ttmem.pc $(DESTDIR)$(LIBDIR)/pkgconfig/
	install -m 644 client/python/ttmem/*.py client/python/ttmem/py.typed \
		$(DESTDIR)$(PYTHONDIR)/ttmem/
	install -m 644 docs/man/ttmemd.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 644 docs/man/*.3 $(DESTDIR)$(PREFIX)/share/man/man3/
	for names in ttmem_free:ttmem_alloc ttmem_free_handle:ttmem_alloc_handle \
		ttmem_tag_pop:ttmem_tag_push TTMEM_TAG_SCOPE:ttmem_tag_push; do \
		ln -sf $${names#*:}.3 $(DESTDIR)$(PREFIX)/share/man/man3/$${names%:*}.3; done
	for language in c cxx python; do \
		install -d $(DESTDIR)$(DOCDIR)/examples/$$language && \
		install -m 644 examples/$$language/*.* $(DESTDIR)$(DOCDIR)/examples/$$language; done
	install -m 644 docs/snapshot.schema.json $(DESTDIR)$(PREFIX)/share/ttmem/
	install -m 755 client/tt-metal/integrate $(DESTDIR)$(PREFIX)/share/ttmem/tt-metal/
	install -m 644 client/tt-metal/places.py client/tt-metal/ttmem.cmake client/tt-metal/*.[ch]pp \
		$(DESTDIR)$(PREFIX)/share/ttmem/tt-metal/

clean:
	rm -rf build
lib: $(LIBS)
daemon: $(BUILD)/ttmemd

# --- libttmem ---------------------------------------------------------------------------------
$(BUILD)/client/%.o: CFLAGS += -fPIC -fvisibility=hidden -ftls-model=initial-exec

$(BUILD)/libttmem.a: $(CLIENT)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/$(SONAME): $(CLIENT) client/ttmem.map
	$(CC) $(CFLAGS) -shared $(LDFLAGS) -Wl,-soname,$(SONAME) -Wl,-z,nodelete -Wl,-z,defs \
		-Wl,--version-script=client/ttmem.map -o $@ $(CLIENT) -pthread

$(BUILD)/libttmem.so: $(BUILD)/$(SONAME)
	ln -sf $(SONAME) $@

# --- ttmemd -----------------------------------------------------------------------------------
$(BUILD)/collector/%.o $(BUILD)/fs/%.o: CPPFLAGS += -Icollector -Ifs $(PKG_CFLAGS)
$(BUILD)/collector/%.o $(BUILD)/fs/%.o: CFLAGS += -fPIE

$(BUILD)/ttmemd: $(BUILD)/collector/main.o $(CORE)
	$(CC) $(CFLAGS) -pie $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -pthread

# --- programs for people, tests and measurements ------------------------------------------------
SIM := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tools/sim/*.c))

# Each tool takes what it needs of it.
$(BUILD)/tools/libsim.a: $(SIM)
	rm -f $@ && ar rcs $@ $^

$(TOOLS): $(BUILD)/%: $(BUILD)/tools/%.o $(BUILD)/tools/libsim.a $(BUILD)/libttmem.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -pthread -lm

$(BUILD)/tests/%.o: CPPFLAGS += -Icollector -Ifs -Itests $(PKG_CFLAGS)
$(UNITS): $(BUILD)/%: $(BUILD)/%.o $(CORE) $(BUILD)/libttmem.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lcmocka -pthread

# A plugin that is linked with the library, and one that has the archive in itself.
PLUGINS := $(BUILD)/tests/plugin/with_library.so $(BUILD)/tests/plugin/with_archive.so
$(BUILD)/tests/plugin/%.o: CFLAGS += -fPIC
$(BUILD)/tests/plugin/with_library.so: $(BUILD)/tests/plugin/plugin.o $(BUILD)/libttmem.so
	$(CC) $(CFLAGS) -shared $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/../..' -o $@ $^ -pthread
$(BUILD)/tests/plugin/with_archive.so: $(BUILD)/tests/plugin/plugin.o $(BUILD)/libttmem.a
	$(CC) $(CFLAGS) -shared $(LDFLAGS) -Wl,-Bsymbolic -o $@ $^ -pthread
$(BUILD)/tests/unit/plugin_unit: | $(PLUGINS)

$(FUZZERS): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/tests/fuzz/replay.o $(CORE)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -pthread

$(PEERS): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/libttmem.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -pthread

$(BUILD)/bench/%.o: CPPFLAGS += $(PKG_CFLAGS)
$(BENCHES): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/libttmem.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -pthread

$(BUILD)/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
.SECONDARY:
