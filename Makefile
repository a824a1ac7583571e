# SPDX-License-Identifier: GPL-2.0
# dm-writeboost: `make help` tells what there is.
#
# Everything produced goes below build/. Only install, uninstall, and the packages that demo, test,
# bench and deb need (by apt, as root) change anything outside it.

SHELL := /bin/bash

# Known in one place. debian/changelog says it too, and a test compares.
VERSION := $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
DKMS_NAME := dm-writeboost

# The scripts below dkms-test/ know BUILD too.
BUILD ?= $(CURDIR)/build
unexport BUILD

# The kernel to build for, and where its headers are.
KVER ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KVER)/build

PREFIX ?= /usr/local
DESTDIR ?=
# Where DKMS looks for sources.
SRCTREE ?= /usr/src
DKMS ?= dkms
DKMS_SRC = $(SRCTREE)/$(DKMS_NAME)-$(VERSION)

MODULE_BUILD := $(BUILD)/module/$(KVER)

# A deliberate defect of dkms-test/mutants/list. Such a module lies in a folder of its own, says in
# modinfo and when it is loaded what it is, and cannot be installed.
MUTANT ?=
ifneq ($(MUTANT),)
ifneq ($(filter-out module,$(or $(MAKECMDGOALS),all)),)
$(error MUTANT= is for `make module` alone)
endif
MODULE_BUILD := $(BUILD)/mutants/$(MUTANT)/tree/src
endif
unexport MUTANT

.PHONY: all help module tools guest-bin install uninstall install-source install-tools test test-fast \
	soak test-sanitizer mutants demo bench bench-doc deb copy-of-tree clean distclean
.DEFAULT_GOAL := all

all: tools module

help:
	@echo "make                 tools and module, for the running kernel (KVER=release for another one)"
	@echo "make module          the module alone, to build/module/RELEASE/dm-writeboost.ko"
	@echo "make tools           writeboost-ctl alone, to build/tools/"
	@echo "make install         module (through DKMS, so it is rebuilt for new kernels) and tools; as root"
	@echo "make uninstall       undo that"
	@echo "make deb             Debian packages of both, to build/deb/"
	@echo "make demo            see it work in a virtual machine: speed, a power cut, recovery, draining"
	@echo "make test            all tests, in virtual machines; last line 'N passed, N failed'"
	@echo "make test-fast       those that take little time"
	@echo "make soak            all tests, and those that take very long"
	@echo "make mutants         which test notices which deliberate defect (MUTANTS=\"name ...\", KIND=unit|sim|fuzz|guest)"
	@echo "make test-sanitizer  the cases on kernels that look for bugs, built here (SANITIZERS=\"kasan lockdep\"; smp, kcsan)"
	@echo "make bench           measure it beside other caches (ROWS=\"w4k-qd1 ...\" TARGETS=\"zero writeboost ...\")"
	@echo "make bench-doc       doc/benchmarks.md, from the results of make bench"
	@echo "make clean           remove what was built; distclean: what was downloaded, too"
	@echo
	@echo "install knows DESTDIR= (files alone, DKMS is not run), PREFIX= (of the tools, default /usr/local)"
	@echo "and KVER=. demo, test, bench and deb install the Debian packages they need, and so want root."

# --- Building -------------------------------------------------------------------------------------

# In a copy: a kernel build writes beside its sources.
module:
	@[ -e "$(KDIR)/Makefile" ] || { \
		echo "No headers of kernel $(KVER) in $(KDIR): install linux-headers-$(KVER)," \
			"or name another kernel with KVER=" \
			"(there are: $$(cd /lib/modules 2>/dev/null && echo *))" >&2; \
		exit 1; }
ifneq ($(MUTANT),)
	dkms-test/mutants/edit copy $(MUTANT) $(abspath $(MODULE_BUILD)/..)
else
	mkdir -p $(MODULE_BUILD)
	cd src && find . \( -name '*.[ch]' -o -name Kbuild \) \
		-exec cp -u --parents -t $(abspath $(MODULE_BUILD)) {} +
endif
	$(MAKE) -C $(KDIR) M=$(abspath $(MODULE_BUILD)) modules

tools:
	@pkg-config --exists devmapper blkid uuid json-c 2>/dev/null || { \
		echo "writeboost-ctl needs, on Debian: apt install gcc make pkg-config" \
			"libdevmapper-dev libblkid-dev uuid-dev libjson-c-dev" >&2; \
		exit 1; }
	$(MAKE) -C tools BUILD=$(BUILD)/tools all

# The tests' own programs, for the guests.
guest-bin:
	$(MAKE) -C dkms-test/guest-src OUT=$(BUILD)/guest-bin

# --- Installing -----------------------------------------------------------------------------------

# With DESTDIR for a package; without it on this machine.
install: tools
ifeq ($(DESTDIR),)
	@[ "$$(id -u)" = 0 ] || { echo "make install has to be run as root" >&2; exit 1; }
	@command -v $(firstword $(DKMS)) >/dev/null || { \
		echo "There is no dkms: install it (apt install dkms)" >&2; exit 1; }
	@[ -e "$(KDIR)/Makefile" ] || { \
		echo "No headers of kernel $(KVER): install linux-headers-$(KVER)," \
			"or name another kernel with KVER=" >&2; \
		exit 1; }
	@for package in dm-writeboost-dkms writeboost-dkms writeboost-tools; do \
		[ "$$(dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null)" != installed ] || { \
			echo "The package $$package is installed: remove it first (apt remove $$package)" >&2; \
			exit 1; }; \
	done
	@if [ -n "$$($(DKMS) status $(DKMS_NAME)/$(VERSION))" ]; then \
		$(DKMS) remove $(DKMS_NAME)/$(VERSION) --all; fi
endif
	$(MAKE) install-source install-tools
ifeq ($(DESTDIR),)
	$(DKMS) add $(DKMS_NAME)/$(VERSION)
	$(DKMS) install $(DKMS_NAME)/$(VERSION) -k $(KVER)
	@echo
	@echo "Installed for kernel $(KVER). Load it with: modprobe dm-writeboost. Then see: writeboost-ctl --help"
endif

uninstall:
ifeq ($(DESTDIR),)
	@[ "$$(id -u)" = 0 ] || { echo "make uninstall has to be run as root" >&2; exit 1; }
	@[ "$$(dpkg-query -W -f='$${db:Status-Status}' writeboost-dkms 2>/dev/null)" != installed ] || { \
		echo "writeboost-dkms was installed as a package: remove it with apt" >&2; exit 1; }
	@if command -v $(firstword $(DKMS)) >/dev/null && \
		[ -n "$$($(DKMS) status $(DKMS_NAME)/$(VERSION))" ]; then \
		$(DKMS) remove $(DKMS_NAME)/$(VERSION) --all; fi
endif
	rm -rf $(DESTDIR)$(DKMS_SRC)
	$(MAKE) -C tools uninstall DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)

install-source:
	rm -rf $(DESTDIR)$(DKMS_SRC)
	install -d $(DESTDIR)$(DKMS_SRC)
	install -m 644 dkms.conf $(DESTDIR)$(DKMS_SRC)/
	cd src && find . \( -name '*.[ch]' -o -name Kbuild \) \
		-exec install -D -m 644 {} $(abspath $(DESTDIR)$(DKMS_SRC))/src/{} \;

install-tools:
	@pkg-config --exists devmapper blkid uuid json-c 2>/dev/null || { \
		echo "writeboost-ctl needs, on Debian: apt install gcc make pkg-config" \
			"libdevmapper-dev libblkid-dev uuid-dev libjson-c-dev" >&2; \
		exit 1; }
	$(MAKE) -C tools BUILD=$(BUILD)/tools install DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)

# --- Debian packages ------------------------------------------------------------------------------

DEB_TREE := $(BUILD)/deb/$(DKMS_NAME)-$(VERSION)

# What git knows (or, in an unpacked archive, everything), with all that is not committed yet, to
# TREE.
copy-of-tree:
	@rm -rf $(TREE) && mkdir -p $(TREE)
	@if [ -e .git ]; then git ls-files -z --cached --others --exclude-standard; \
		else find . -path ./build -prune -o -type f -print0; fi | \
		while IFS= read -r -d '' file; do \
			[ ! -e "$$file" ] || cp --parents -t $(TREE) -- "$$file" || exit 1; \
		done

# From a copy, which a package build litters.
deb:
	@command -v dpkg-buildpackage >/dev/null && dpkg-checkbuilddeps 2>/dev/null && \
		command -v lintian >/dev/null || { \
		[ "$$(id -u)" = 0 ] || { \
			echo "Install as root: dpkg-dev, lintian, and the Build-Depends of debian/control" >&2; \
			exit 1; }; \
		apt-get -q -y install --no-install-recommends dpkg-dev fakeroot lintian && \
		apt-get -q -y --no-install-recommends build-dep ./; }
	rm -rf $(BUILD)/deb
	@$(MAKE) --no-print-directory copy-of-tree TREE=$(DEB_TREE)
	cd $(DEB_TREE) && dpkg-buildpackage -us -uc
	rm -rf $(DEB_TREE)
	lintian --fail-on error --info $(BUILD)/deb/*.changes
	@echo; ls -l $(BUILD)/deb/*.deb

# --- Trying and testing ---------------------------------------------------------------------------

demo:
	@BUILD=$(BUILD) dkms-test/demo/run

test:
	@BUILD=$(BUILD) dkms-test/rig/setup packages
	@BUILD=$(BUILD) dkms-test/run

test-fast:
	@BUILD=$(BUILD) dkms-test/rig/setup
	@BUILD=$(BUILD) dkms-test/run --tier fast

test-sanitizer:
	@BUILD=$(BUILD) dkms-test/sanitize/run $(SANITIZERS)

soak:
	@BUILD=$(BUILD) dkms-test/rig/setup packages
	@BUILD=$(BUILD) dkms-test/run --tier soak

mutants:
	@BUILD=$(BUILD) dkms-test/mutants/run $(if $(KIND),--kind $(KIND)) $(MUTANTS)

bench:
	@BUILD=$(BUILD) ROWS="$(ROWS)" TARGETS="$(TARGETS)" dkms-test/bench/run

bench-doc:
	@[ -e $(BUILD)/bench/results.json ] || { echo "No results: make bench first" >&2; exit 1; }
	@dkms-test/bench/report.py complete $(BUILD)/bench
	mkdir -p doc/benchmarks
	dkms-test/bench/report.py doc $(BUILD)/bench dkms-test/bench/benchmarks.md.in >doc/benchmarks.md.tmp
	mv doc/benchmarks.md.tmp doc/benchmarks.md
	cp $(BUILD)/bench/*.png doc/benchmarks/

clean:
	cd $(BUILD) 2>/dev/null || exit 0; \
		rm -rf module mutants tools tools-sanitize unit sim fuzz guest-bin deb test demo packages docs

distclean:
	rm -rf $(BUILD)
