# make run | run-vm | test | test-all | kernel-test KERNEL=next | systemd-test | package-test | sanitize | fuzz | faults | faults-vm | soak MINUTES=30
# make model | bench | kernel-bench KERNEL=next | kernel-table | lint | docs
# make install [PREFIX=/usr/local DESTDIR=] | uninstall | deb [ARCH=arm64] | static [ARCH=arm64 | SWIFT_SDK=NAME] | clean
# Each target installs what it needs and this machine lacks (Debian 12: apt, pip).

SHELL := /bin/bash
# Warnings are errors in this package's own builds, and in nobody else's.
export LINUXHEAPS_STRICT := 1
KERNEL ?= next
# Another architecture than this machine's, or a Swift SDK: packaging/ship.sh.
FOREIGN := $(filter-out $(shell dpkg --print-architecture),$(ARCH))
MINUTES ?= 30
HEAPCTL := .build/debug/heapctl
ARM64_KINDS := static
LIBRARIES := LinuxHeaps LinuxHeapsDRM LinuxHeapsV4L2 HeapProtocol HeapPool HeapFiles HeapServer HeapClient HeapService HeapTestKit
PACKAGES := libdrm-dev zlib1g-dev pkg-config
# The report's page is tested in a browser, Python is another hand than this package's, strace has calls fail, dtc compiles what
# heapctl doctor says of device trees, and programs in C and C++ use the C interface, under valgrind, too.
TEST_PACKAGES := $(PACKAGES) acl chromium python3 strace device-tree-compiler gcc g++ binutils valgrind
KERNEL_PACKAGES := $(PACKAGES) build-essential bc bison flex libelf-dev libssl-dev xz-utils cpio rsync file \
  zstd kmod udev util-linux busybox-static psmisc python3-venv qemu-system-x86
SYSTEMD_PACKAGES := $(KERNEL_PACKAGES) mmdebstrap e2fsprogs
SHIP_PACKAGES := $(PACKAGES) binutils dpkg-dev
PACKAGE_TEST_PACKAGES := $(SHIP_PACKAGES) gcc g++ python3 lintian man-db groff-base zsh fish
SWIFT_6_2_PACKAGES := $(PACKAGES) mmdebstrap util-linux
ARM64_PACKAGES := mmdebstrap util-linux binutils dpkg-dev
ARM64_KERNEL_PACKAGES := $(ARM64_PACKAGES) qemu-system-arm kmod cpio xz-utils device-tree-compiler
DOCS_PACKAGES := $(PACKAGES) doxygen
BENCH_PACKAGES := $(PACKAGES) binutils valgrind
MODEL_PACKAGES := spin gcc libc6-dev
PREFIX ?= /usr/local
SHIP := .build-ship
INSTALL := PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' SHIP='$(SHIP)' packaging/install.sh

.PHONY: help run run-vm test test-all built built-arm64 unit-test kernel-test kernel-table systemd-test package-test swift-6.2-test applications-test dependent-test \
  sanitize fuzz faults faults-vm soak soak-vm model bench kernel-bench lint docs build setup-swift-6.2 \
  install uninstall ship deb static setup setup-kernel setup-systemd setup-ship setup-arm64 setup-arm64-kernel \
  setup-package-test setup-docs setup-bench setup-model setup-test clean

help:
	@sed -n '1,4s/^# //p' Makefile

run: build
	@$(HEAPCTL) demo

run-vm: build setup-kernel
	@Tests/Kernel/boot.sh $(KERNEL) $(HEAPCTL) demo

# Style; all tests here; inside a real 7.3 kernel those that a kernel can change, on a stock one, and on one for arm64; heapd under
# systemd, and what is installed. Tests/run.sh has the steps, and ends with what ran and with the runner's own summary.
test: ARM64_KERNELS := arm64-16k
test: lint built built-arm64 setup-kernel setup-systemd setup-package-test
	Tests/Kernel/images.sh next stock-next
	@Tests/run.sh test

# That and all else: more kernels, whole storms, every test inside `next`, sanitizers, the model, documentation, benchmarks,
# Swift 6.2.
test-all: ARM64_KERNELS := arm64-4k arm64-16k arm64-64k
test-all: ARM64_KINDS := static dynamic
test-all: lint built built-arm64 setup-kernel setup-systemd setup-package-test setup-swift-6.2 setup-model
	Tests/Kernel/images.sh next stock-next lts stock
	@Tests/run.sh test-all

# The tests, and the programs as they are shipped, which the tests run.
built: setup-test ship
	packaging/ship.sh static
	swift build --build-tests

# The programs for arm64, and kernels to boot with them. 77: not as this user, or Debian sid has another Swift; what boots them says so.
built-arm64: setup-arm64-kernel
	(for kind in $(ARM64_KINDS); do ARCH=arm64 packaging/ship.sh $$kind || exit; done; Tests/Kernel/images.sh $(ARM64_KERNELS)) || [ $$? = 77 ]

unit-test: setup-test
	swift test --no-parallel

kernel-test: $(if $(findstring arm64,$(KERNEL)),setup-arm64-kernel,built setup-kernel)
	$(if $(findstring arm64,$(KERNEL)),ARCH=arm64 packaging/ship.sh static)
	Tests/Kernel/test.sh $(KERNEL)

systemd-test: ship setup-systemd
	Tests/Kernel/systemd/boot.sh next Tests/Kernel/systemd/guest.sh facts heapd fixes
	Tests/Kernel/systemd/boot.sh stock-next Tests/Kernel/systemd/guest.sh hearing

# What is installed: the files, the Debian package under systemd, the static programs on a bare kernel.
package-test: setup-systemd setup-package-test ship
	Tests/Packaging/test.sh
	packaging/ship.sh static
	Tests/Kernel/static.sh $(SHIP)/static

# The build and the tests with Debian sid's compiler, in a root of its own. 77: the archive has none, as is said.
swift-6.2-test: setup-swift-6.2
	Tests/Toolchains/swift-6.2.sh || [ $$? = 77 ]

# Programs and libraries of Debian sid with heaps' buffers, in `next`. 77: not as this user.
applications-test: ship setup-kernel setup-swift-6.2
	Tests/Applications/test.sh

# A package that depends on this one, with the compiler that is found here.
dependent-test: setup
	Tests/Packaging/dependent.sh

# The backtracer would wait for minutes on a sanitizer's report. An optimised build finds what a debug
# build hides: use after free through raw pointers.
sanitize: export SWIFT_BACKTRACE := enable=no
# Programs that tests start are those that ship: of one that ends by exit(3) within a call the optimised stack shows no reference to what
# the call has, which LeakSanitizer takes for leaks.
sanitize: export LINUXHEAPS_PROGRAMS := $(CURDIR)/.build-ship/dynamic
sanitize: export LSAN_OPTIONS := suppressions=$(CURDIR)/Tests/Sanitizers/leaks.txt:print_suppressions=0
# Where they are named they are there: make test-all's other steps run them meanwhile.
# What forks is optimised: for each use of a `static let` a debug build takes a lock of the runtime's (swift_once), which a fork leaves locked.
sanitize: setup-test $(if $(LINUXHEAPS_PROGRAMS),,ship)
	swift test --no-parallel --sanitize address --scratch-path .build-asan
	swift test --no-parallel --sanitize address -c release -Xswiftc -enable-testing --scratch-path .build-asan
	swift build --sanitize address -c release -Xswiftc -enable-testing --scratch-path .build-asan --product linuxheaps
	Tests/Interface/sanitize.sh address .build-asan/release $(LINUXHEAPS_PROGRAMS)/heapd
	TSAN_OPTIONS=halt_on_error=1 swift test --no-parallel --sanitize thread --scratch-path .build-tsan
	swift build --sanitize thread -c release --scratch-path .build-tsan --product linuxheaps
	Tests/Interface/sanitize.sh thread .build-tsan/release $(LINUXHEAPS_PROGRAMS)/heapd

# Random bytes to the decoders, and to a server by whole connections: Tests/Fuzz/fuzz.sh has the numbers.
fuzz: setup-test
	Tests/Fuzz/fuzz.sh $(FUZZ)

# Each system call of heapd fails once: of one on the memfd heap, here.
faults: setup-test ship
	Tests/Hostile/calls.py $(SHIP)/dynamic/heapd

# The same with each allocation that the kernel makes for those calls, in a guest, without a pool and with one; and those system calls that
# the pool makes, of one that has it.
faults-vm: setup-test setup-kernel ship static
	Tests/Kernel/boot.sh lts Tests/Hostile/allocations.py $(SHIP)/static/heapd system
	Tests/Kernel/boot.sh lts env POOL=2M Tests/Hostile/allocations.py $(SHIP)/static/heapd system
	Tests/Kernel/boot.sh next env HEAP=system POOL=2M Tests/Hostile/calls.py $(SHIP)/dynamic/heapd clone clone3 eventfd2 ioctl pipe2 poll pread64 vmsplice wait4

# Honest clients beside one attack after another: memory, descriptors and p99 over MINUTES, here or in a guest on the kernel's heap.
# Here also beside ATTACKS alone, e.g. unread_answers; there also with a pool, e.g. POOL=16M.
soak: setup-test ship
	Tests/Hostile/soak.py $(SHIP)/dynamic/heapd $(MINUTES) 5 memfd $(ATTACKS)

soak-vm: setup-test ship setup-kernel
	Tests/Kernel/boot.sh $(KERNEL) env $(if $(POOL),POOL=$(POOL)) Tests/Hostile/soak.py $(SHIP)/dynamic/heapd $(MINUTES) 20 system

# heapd's buffers in Promela, in every order of their steps.
model: setup-model
	Tests/Model/check.sh

# Fails when a target is missed. BENCH takes heap-bench's options: Benchmarks/README.md.
bench: ship setup-bench
	swift build -c release --package-path Benchmarks
	@Benchmarks/.build/release/heap-bench --heapd $(SHIP)/dynamic/heapd $(BENCH)

# The library on real heaps beside C, on one emulated processor where there is no other. BENCH takes letters, e.g. a,b.
kernel-bench: setup setup-kernel ship
	swift build -c release --package-path Benchmarks
	LINUXHEAPS_PROCESSORS=1 Tests/Kernel/boot.sh $(KERNEL) \
	  sh -c 'echo 32 > /proc/sys/vm/nr_hugepages && exec "$$@"' sh Benchmarks/.build/release/kernel-bench $(BENCH)

# Documentation/Kernels.md, by what the last make test-all left.
kernel-table:
	Tests/Kernel/table.py Documentation/Kernels.md $(wildcard .build-logs/*.log)

lint:
	swift format lint --strict -r Package.swift Sources Examples Tests Benchmarks/Package.swift Benchmarks/Sources

ship: setup-ship
	packaging/ship.sh dynamic

# Builds nothing where something is built, so that root need not: make ship && sudo make install.
install: $(if $(wildcard $(SHIP)/dynamic/heapctl),,ship)
	@$(INSTALL) install
	@[ -n '$(DESTDIR)' ] || printf '%s\n' 'Now, as root: systemd-sysusers' \
	  '  udevadm control --reload && udevadm trigger --action=add --subsystem-match=dma_heap' \
	  '  systemctl daemon-reload && systemctl enable --now heapd.socket'

uninstall:
	@$(INSTALL) uninstall

deb: $(if $(FOREIGN),setup-arm64) ship
	$(if $(FOREIGN),env -u ARCH packaging/ship.sh dynamic)
	packaging/deb.sh

static: $(if $(FOREIGN),setup-arm64,setup-ship)
	packaging/ship.sh static
	@ls -l $(SHIP)$(addprefix /,$(or $(FOREIGN),$(SWIFT_SDK)))/static

docs: setup-docs
	mkdir -p .build-docs
	cd Sources/CLinuxHeapsInterface && doxygen
	for target in $(LIBRARIES); do \
	  LINUXHEAPS_DOCS=1 swift package --scratch-path .build-docs generate-documentation --target $$target \
	    --warnings-as-errors || exit 1; \
	done

build: setup
	@swift build

setup:
	@Tests/Kernel/install.sh $(PACKAGES)

setup-docs:
	@Tests/Kernel/install.sh $(DOCS_PACKAGES)

setup-test:
	@Tests/Kernel/install.sh $(TEST_PACKAGES)

setup-kernel:
	@Tests/Kernel/install.sh $(KERNEL_PACKAGES)
	@Tests/Kernel/install-virtme.sh

setup-ship:
	@Tests/Kernel/install.sh $(SHIP_PACKAGES)

setup-package-test:
	@Tests/Kernel/install.sh $(PACKAGE_TEST_PACKAGES)

setup-bench:
	@Tests/Kernel/install.sh $(BENCH_PACKAGES)

setup-model:
	@Tests/Kernel/install.sh $(MODEL_PACKAGES)

setup-swift-6.2:
	@Tests/Kernel/install.sh $(SWIFT_6_2_PACKAGES)

setup-arm64:
	@Tests/Kernel/install.sh $(ARM64_PACKAGES)

setup-arm64-kernel:
	@Tests/Kernel/install.sh $(ARM64_KERNEL_PACKAGES)

setup-systemd:
	@Tests/Kernel/install.sh $(SYSTEMD_PACKAGES)

clean:
	rm -rf .build .build-* Benchmarks/.build
