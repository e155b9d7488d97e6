# The only place of it: programs, pages, and all of packaging/ by `make dist`.
VERSION = 0.2.0
PREFIX ?= /usr/local
override PREFIX := $(patsubst ~/%,$(HOME)/%,$(PREFIX))
# Of one person: without what only a host has. systemd looks for the units of a person elsewhere there.
AT_HOME = $(and $(HOME),$(filter $(HOME)/%,$(PREFIX)))
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
DATADIR ?= $(PREFIX)/share/qemu-supervise
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
# Debian's own zsh packages have share/zsh/vendor-completions.
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
# fish looks in that of /usr/local only where XDG_DATA_DIRS says so.
FISHDIR ?= $(if $(filter /usr/local,$(PREFIX)),/etc/fish/completions,$(PREFIX)/share/fish/vendor_completions.d)
LIBEXECDIR ?= $(PREFIX)/libexec
SYSTEMDDIR ?= $(PREFIX)/lib/systemd
USERUNITDIR ?= $(if $(AT_HOME),$(PREFIX)/share/systemd,$(SYSTEMDDIR))/user
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
DOCDIR ?= $(PREFIX)/share/doc/qemu-supervise
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/etc,$(PREFIX)/etc)
OCFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/usr/lib/ocf,$(PREFIX)/lib/ocf)
PKG_CONFIG ?= pkg-config
# Much of a test is waiting.
PROVE ?= prove --timer -j$$((2 * $$(nproc)))
CFLAGS ?= -O2 -g
# Those of them that CC takes before CPPFLAGS and CFLAGS, which override them; HARDENING= for none. A compiler is asked at the
# first use. One that defines _FORTIFY_SOURCE itself needs -U with our -D, and would be left with nothing by -U alone.
FORTIFY = -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
WANTED = -fstack-protector-strong -fstack-clash-protection -fPIE -pie -Wl,-z,relro -Wl,-z,now
TAKEN = $(shell printf '\043include <stdio.h>\nint main(void) { return 0; }\n' | \
	$(CC) -Werror $(1) $(CPPFLAGS) $(CFLAGS) -x c -o /dev/null - 2>/dev/null && echo "$(1)")
HARDENING = $(eval HARDENING := $(call TAKEN,$(FORTIFY)) $(foreach flag,$(WANTED),$(call TAKEN,$(flag))))$(HARDENING)
LIBS = libevent_core jansson

# pkg-config is asked in the recipes: check, demo, lint and bench install it first where it is missing.
# Not _TIME_BITS: time_t is what libevent was built with, the compiler's default, or its timers are wrong on 32 bit.
REQUIRED_CFLAGS = -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DVERSION='"$(VERSION)"' -DLIBEXECDIR='"$(LIBEXECDIR)"' -I. \
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -MMD -MP $$($(PKG_CONFIG) --cflags $(LIBS))
COMPILE = $(CC) $(REQUIRED_CFLAGS) $(filter-out -pie -Wl%,$(HARDENING)) $(CPPFLAGS) $(CFLAGS)
LINKED = $(filter -pie -Wl%,$(HARDENING)) $(LDFLAGS) $$($(PKG_CONFIG) --libs $(LIBS))

# The rooms (CONTRIBUTING.md). Of an archive each program gets what it needs, and no more.
SHARED = $(wildcard lib/*.c vm/*.c) qmp.c agent.c
SUPERVISE = $(wildcard supervise/*.c)
COMMANDS = $(wildcard commands/*.c)
AMQP = $(wildcard amqp/*.c)
SOURCES = qemu-supervise.c vmconf.c vmconf-amqp.c $(SUPERVISE) $(COMMANDS) $(AMQP) $(SHARED)
# Where all that is built goes, but for the two programs.
O = build
ROOMS = $(addprefix $(O)/,supervise.a commands.a shared.a)
UNITS = $(basename $(wildcard t/unit-*.c))
REPLAYS = $(patsubst fuzz/fuzz-%.c,fuzz/replay-%,$(wildcard fuzz/fuzz-*.c))
# Those of whole hosts, with an init system or a UPS: they have a target of their own.
SYSTEMD = $(addprefix t/,systemd-reload.t systemd.t systemd-boot.t systemd-helpers.t systemd-order.t systemd-sandbox.t systemd-verify.t pages.t)
HOSTS = $(SYSTEMD) $(addprefix t/,amqp.t amqp-lost.t apcupsd.t check.t cloud.t daemontools.t deb.t debian.t limits-host.t monit.t needrestart.t nut.t openrc.t pacemaker.t runit.t s6.t supervisord.t \
	sysvinit.t)
# Those that take longest begin first.
LONG = $(addprefix t/,long-run.t machines.t boot-moments.t guest-modes.t vmconf-stop.t vmconf-killed.t agent.t vmconf-hangs.t vmconf-journal.t \
	adopt-fake.t soak.t power-cuts.t power-cuts-guest.t)
TESTS ?= $(LONG) $(filter-out $(LONG) $(HOSTS),$(wildcard t/*.t)) $(UNITS)

# vmconf-amqp is built where librabbitmq is.
HAVE_AMQP = $(eval HAVE_AMQP := $$(shell $(PKG_CONFIG) --exists librabbitmq && echo yes))$(HAVE_AMQP)

all: qemu-supervise vmconf $(if $(HAVE_AMQP),vmconf-amqp,without-amqp)

without-amqp:
	@echo 'vmconf-amqp is not built: librabbitmq is not installed (t/setup amqp)'

vmconf-amqp: $(O)/vmconf-amqp.o $(O)/amqp.a $(O)/shared.a
	$(COMPILE) -o $@ $^ $(LINKED) $$($(PKG_CONFIG) --libs librabbitmq)

vmconf: $(O)/vmconf.o $(O)/commands.a $(O)/shared.a
	$(COMPILE) -o $@ $^ $(LINKED)

qemu-supervise: $(O)/qemu-supervise.o $(O)/supervise.a $(O)/shared.a
	$(COMPILE) -o $@ $^ $(LINKED)

$(O)/%.o: %.c Makefile $(O)/flags
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

# Written when the compiler, its flags or a compiled-in path is another than last time: everything is built again then.
BUILT_WITH = $(CC) $(value HARDENING) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(PKG_CONFIG) $(VERSION) $(LIBEXECDIR)
$(O)/flags: FORCE
	@mkdir -p $(O)
	@echo '$(subst ','\'',$(BUILT_WITH))' | cmp -s - $@ || echo '$(subst ','\'',$(BUILT_WITH))' >$@

$(O)/supervise.a: $(SUPERVISE:%.c=$(O)/%.o)
$(O)/commands.a: $(COMMANDS:%.c=$(O)/%.o)
$(O)/amqp.a: $(AMQP:%.c=$(O)/%.o)
$(O)/shared.a: $(SHARED:%.c=$(O)/%.o)
$(ROOMS) $(O)/amqp.a:
	@rm -f $@
	$(AR) rcs $@ $^

$(UNITS): %: $(O)/%.o $(ROOMS)
	$(COMPILE) -o $@ $< $(ROOMS) $(LINKED) $$($(PKG_CONFIG) --libs cmocka)

fuzz/replay-%: fuzz/replay.c fuzz/fuzz-%.c $(ROOMS)
	$(COMPILE) -o $@ fuzz/replay.c fuzz/fuzz-$*.c $(ROOMS) $(LINKED)

# The whole supervisor with t/explore around it (t/explore/explore.h), in place of libevent and of the functions named in WRAPPED().
EXPLORER = $(wildcard t/explore/*.c)
WRAPPED = $(shell sed -n 's/^WRAPPED.[^,]*, \([a-z_0-9]*\).*/\1/p' t/explore/host.c)
$(O)/t/explore/memory.o: REQUIRED_CFLAGS += -fno-builtin # it has a malloc of its own

$(O)/supervisor-main.o: $(O)/qemu-supervise.o
	objcopy --redefine-sym main=supervisor_main $< $@

$(O)/explorer: $(EXPLORER:%.c=$(O)/%.o) $(O)/supervisor-main.o $(O)/supervise.a $(O)/shared.a
	$(COMPILE) -o $@ $^ $(filter -pie -Wl%,$(HARDENING)) $(LDFLAGS) $(WRAPPED:%=-Wl,--wrap=%) $$($(PKG_CONFIG) --libs jansson)

bench/%: bench/%.c
	$(COMPILE) -o $@ $< $(LINKED)

check:
	t/setup check
	$(MAKE) all $(UNITS) $(REPLAYS) $(O)/explorer
	CMOCKA_MESSAGE_OUTPUT=TAP T_SUPERVISE="$(CURDIR)/qemu-supervise" $(PROVE) $(TESTS)

# Four rows, in each of which one comes after the other: those that boot whole Debians in whole guests would not get far beside each
# other without KVM.
HOST_ROWS = t/{cloud,debian,limits-host}.t t/systemd*.t t/{amqp*,deb,pacemaker}.t t/**

check-hosts:
	t/setup hosts
	$(MAKE) all
	T_SUPERVISE="$(CURDIR)/qemu-supervise" $(PROVE) $(HOST_ROWS:%=--rules 'seq=%') $(HOSTS)

# Those that run QEMU or one of its programs, and the others. Of the first, some show what vmconf does with files, what a container or
# Pacemaker's agent makes of us, or what valgrind says, whatever QEMU it is.
WITH_QEMU = $(filter-out $(HOSTS),$(shell grep -lE '^need\W.*qemu-(system|img|io)' t/*.t))
WITHOUT_QEMU = $(filter-out $(WITH_QEMU) $(HOSTS),$(wildcard t/*.t)) $(UNITS)
ANY_QEMU = $(addprefix t/,container.t long-run.t ocf.t power-cuts.t power-cuts-guest.t terminal.t valgrind.t \
	$(addsuffix .t,$(addprefix vmconf-,copying faults full hangs journal killed life metrics owner rpc rpc-guest rpc-killed ssh \
	stop sync upgrade watch)))
OF_QEMU = $(filter-out $(ANY_QEMU),$(WITH_QEMU))

# make check-qemu SUITE=sid: the demo with that Debian's guest, and the tests with its QEMU. ALL=1: the whole of make check.
# Guests that were built here already serve there, too.
SUITE ?= trixie

check-qemu:
	t/setup suite
	mkdir -p build/suites/$(SUITE)/build/guests
	[ ! -d build/guest/s390x ] || cp -a build/guest/. build/suites/$(SUITE)/build/guests
	t/suite $(SUITE) sh -c 'make demo && T_GUEST=/src/build/guests $(if $(ALL),make check,T_SOAK=15 make check \
		TESTS="$(filter $(LONG),$(OF_QEMU)) $(filter-out $(LONG),$(OF_QEMU))")'

# With the systemd of that Debian.
check-systemd:
	t/setup suite
	t/suite $(SUITE) make check-hosts HOSTS="$(SYSTEMD) t/notify.t"

# All that does without QEMU, but for the explorer, whose memory is its own; and some of what does not: what QEMU 7.2 to 11 answer,
# a takeover, a terminal, disks. A report ends the program with a status that no test expects.
SANITIZED = $(WITHOUT_QEMU) $(addprefix t/,adopt.t disks-moved.t first.t reexec.t terminal.t vm-boot.t vmconf-clone.t \
	vmconf-create.t vmconf-files.t vmconf-judge.t vmconf-life.t vmconf-rpc.t)
check-sanitizers: export ASAN_OPTIONS = halt_on_error=1:exitcode=99:detect_leaks=1
check-sanitizers: export UBSAN_OPTIONS = halt_on_error=1:exitcode=99:print_stacktrace=1
check-sanitizers:
	t/setup clang
	$(MAKE) check CC=clang CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all" \
		TESTS="$(filter-out t/explore.t,$(SANITIZED))"

# What the tests run of our code, in all and room by room. gnu11: gcov does not see what is done between fork and exec of strict C.
# Those that are left out look at programs as they are installed, or have a memory of their own.
MEASURED = $(filter-out t/explore.t t/hardening.t t/valgrind.t,$(TESTS))
coverage:
	t/setup coverage
	rm -rf $(O)/coverage
	-$(MAKE) check HARDENING= CFLAGS="-O0 -g -std=gnu11 --coverage -include $(CURDIR)/t/coverage.h" TESTS="$(MEASURED)" \
		PROVE="$(PROVE) --exec 't/coverage run $(O)/coverage'"
	t/coverage report $(O)/coverage

# Changes in these files, for so many seconds, that no test notices; `make coverage` first.
MUTATED ?= $(wildcard supervise/*.c vm/*.c commands/*.c)
MUTATE_SECONDS ?= 3600
mutate:
	t/mutate -s $(MUTATE_SECONDS) $(MUTATED)

units: $(UNITS)
replays: $(REPLAYS)

# Debian's cross compilers, and musl.
cross:
	t/setup suite
	t/suite trixie t/cross

# The newest gcc and clang that there are.
compilers:
	t/setup suite
	t/suite sid t/compilers

# All sequences of so many choices, where t/explore.t takes fewer.
DEPTH ?= 4
explore: $(O)/explorer
	EXPLORE_DEPTH=$(DEPTH) $(O)/explorer

# What holds for every input up to a length; FAULTS=1: whether planted faults are refuted.
prove:
	t/setup suite
	t/suite trixie env FAULTS=$(FAULTS) t/prove

# What takes longer than one wants to wait for at each change.
HOURS ?= 1
soak: all
	T_SOAK=300 T_HOURS=$(HOURS) T_SUPERVISE="$(CURDIR)/qemu-supervise" prove $(addprefix t/,faults.t vmconf-faults.t soak.t \
		power-cuts.t power-cuts-guest.t long-run.t)

demo:
	@t/setup demo
	@$(MAKE) --no-print-directory -s all
	@t/demo

bench:
	@t/setup bench
	@$(MAKE) --no-print-directory -s all bench/empty
	@[ "$$(id -u)" != 0 ] || ! command -v mmdebstrap >/dev/null || t/debian-guest build/debian
	@bench/run

# Beside libvirt, systemd-vmspawn and a shell script, on another Debian, whose root they may have to themselves.
bench-peers:
	@t/setup suite
	@mkdir -p build/suites/$(SUITE)/build/guests
	@[ ! -d build/guest ] || cp -a build/guest/. build/suites/$(SUITE)/build/guests
	@t/suite $(SUITE) sh -c 't/setup bench peers && make --no-print-directory -s all && \
		T_GUEST=/src/build/guests BENCH_ROUNDS=$(BENCH_ROUNDS) BENCH_MANY=$(BENCH_MANY) bench/peers'

# make fuzz FUZZ=ladder: the target fuzz/fuzz-ladder.c. Findings are fuzz/crash-*. What is new to it goes to
# build/fuzz/ladder-corpus; fuzz-merge keeps what is worth it.
FUZZ ?= vm
FUZZ_SECONDS ?= 600
FUZZ_FLAGS = -O1 -g -fno-sanitize-recover=all

build/fuzz/%: fuzz/fuzz-%.c FORCE
	@mkdir -p build/fuzz/$*-corpus fuzz/corpus-$*
	$(MAKE) O=build/fuzz CC=clang CFLAGS="$(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,address,undefined" \
		$(addprefix build/fuzz/,supervise.a commands.a shared.a)
	clang $(REQUIRED_CFLAGS) -MF $@.d $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined -o $@ $< \
		$(addprefix build/fuzz/,supervise.a commands.a shared.a) $(LINKED)

fuzz:
	@t/setup fuzz
	@$(MAKE) --no-print-directory -s build/fuzz/$(FUZZ)
	build/fuzz/$(FUZZ) -max_total_time=$(FUZZ_SECONDS) $(addprefix -dict=,$(wildcard fuzz/$(FUZZ).dict)) \
		-artifact_prefix=fuzz/crash-$(FUZZ)- build/fuzz/$(FUZZ)-corpus fuzz/corpus-$(FUZZ)

fuzz-merge: build/fuzz/$(FUZZ)
	build/fuzz/$(FUZZ) -merge=1 fuzz/corpus-$(FUZZ) build/fuzz/$(FUZZ)-corpus

TIDY_CFLAGS = -std=c11 -D_GNU_SOURCE -DVERSION=\"\" -DLIBEXECDIR=\"\" -I. $$($(PKG_CONFIG) --cflags $(LIBS))
SCRIPTS = $(shell for f in .ci/* bench/* examples/*/* examples/*/*/* init/* packaging/* packaging/*/*/* t/*; do \
	[ -f $$f ] && head -n 1 $$f | grep -qE '^\#!/bin/(ba)?sh' && echo $$f; done) init/services
PERL = $(shell grep -lE '^\#!/usr/bin/(env )?perl' bench/* t/* 2>/dev/null) $(wildcard t/*.pm)

lint:
	@t/setup lint
	@clang-format --dry-run -Werror $(SOURCES) $(wildcard *.h */*.h bench/*.c fuzz/*.c prove/*.c t/*.c t/explore/*.[ch])
	@printf '%s\n' $(SOURCES) $(wildcard bench/*.c fuzz/*.c) | xargs -n 1 -P $$(nproc) sh -c 'clang-tidy --quiet $$0 -- $(TIDY_CFLAGS) 2>/dev/null'
	@printf '%s\n' $(SOURCES) | xargs -n 1 -P $$(nproc) gcc $(TIDY_CFLAGS) -O1 -fanalyzer -c -o /dev/null
	@t/rooms
	@t/messages
	@t/explore-faults -n
	@mandoc -Tlint -Wstyle man/*.[0-9]
	@shellcheck $(SCRIPTS)
	@shellcheck -s bash completion/vmconf completion/qemu-supervise
	@zsh -n completion/zsh/_vmconf
	@fish -n completion/fish/*.fish
	@shellcheck packaging/alpine/* packaging/arch/* packaging/debian/*.p*
	@NIX_CONFIG='build-users-group =' nix-instantiate --parse packaging/nix/default.nix >/dev/null
	@for f in $(PERL); do perl -It -wc $$f 2>&1 | sed '/ syntax OK$$/d'; done

# Of which the adapters make the services of VMs: ../examples as they see it, here and where they are installed.
SERVICEDIR = $(LIBEXECDIR)/qemu-supervise/examples

# systemd 254 and later can let the pause between two starts grow; earlier ones would complain at each reload.
RESTART_PAUSE ?= $(shell version=$$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p'); \
	[ "$${version:-0}" -lt 254 ] || echo yes)
RESTART_PAUSES = 644 examples/systemd/restart-pause.conf $(1)/qemu-supervise@.service.d

# All that is installed, in parts, which are those of the packages. Each row: mode, file, and the directory where it goes.
PART ?= main $(if $(AT_HOME),,host) amqp $(if $(AT_HOME),,pacemaker)
INSTALLED = $(foreach part,$(PART),$(INSTALLED.$(part)))

INSTALLED.main = 755 qemu-supervise $(BINDIR) \
	755 vmconf $(BINDIR) \
	755 init/none $(LIBEXECDIR)/qemu-supervise/init \
	755 init/systemd $(LIBEXECDIR)/qemu-supervise/init \
	644 examples/systemd/user/qemu-supervise@.service $(USERUNITDIR) \
	644 examples/systemd/user/qemu-supervise-guests.service $(USERUNITDIR) \
	644 examples/sandbox.conf $(DOCDIR)/examples \
	644 examples/systemd/user/qemu-supervise-limits.service $(USERUNITDIR) \
	644 examples/systemd/needs-db.conf $(DOCDIR)/examples/systemd \
	644 examples/systemd/other-user.conf $(DOCDIR)/examples/systemd \
	644 examples/systemd/placement.conf $(DOCDIR)/examples/systemd \
	644 examples/systemd/shares.conf $(DOCDIR)/examples/systemd \
	644 examples/systemd/slower-stop.conf $(DOCDIR)/examples/systemd \
	644 examples/systemd/user@.service.d-vms.conf $(DOCDIR)/examples/systemd \
	644 examples/systemd/user/sandbox.conf $(DOCDIR)/examples/systemd/user \
	755 import/libvirt $(LIBEXECDIR)/qemu-supervise/import \
	644 import/libvirtdevices.py $(LIBEXECDIR)/qemu-supervise/import \
	644 import/libvirtxml.py $(LIBEXECDIR)/qemu-supervise/import \
	755 init/attend $(LIBEXECDIR)/qemu-supervise/init \
	755 init/openrc $(LIBEXECDIR)/qemu-supervise/init \
	755 init/runit $(LIBEXECDIR)/qemu-supervise/init \
	755 init/s6 $(LIBEXECDIR)/qemu-supervise/init \
	644 init/services $(LIBEXECDIR)/qemu-supervise/init \
	755 examples/openrc/qemu-supervise $(SERVICEDIR)/openrc \
	755 examples/runit/run $(SERVICEDIR)/runit \
	755 examples/runit/finish $(SERVICEDIR)/runit \
	755 examples/runit/control/k $(SERVICEDIR)/runit/control \
	755 examples/runit/control/t $(SERVICEDIR)/runit/control \
	755 examples/runit/log/run $(SERVICEDIR)/runit/log \
	755 examples/s6/run $(SERVICEDIR)/s6 \
	755 examples/s6/finish $(SERVICEDIR)/s6 \
	644 examples/s6/notification-fd $(SERVICEDIR)/s6 \
	644 examples/s6/timeout-kill $(SERVICEDIR)/s6 \
	755 examples/s6/log/run $(SERVICEDIR)/s6/log \
	755 examples/s6-rc/define $(SERVICEDIR)/s6-rc \
	644 examples/container/Containerfile $(DOCDIR)/examples/container \
	644 examples/container/compose.yaml $(DOCDIR)/examples/container \
	644 examples/container/pod.yaml $(DOCDIR)/examples/container \
	644 examples/container/statefulset.yaml $(DOCDIR)/examples/container \
	755 examples/container/vm $(DOCDIR)/examples/container \
	755 examples/ups/ups-vms $(DOCDIR)/examples/ups \
	644 examples/ups/upsmon.conf $(DOCDIR)/examples/ups \
	644 examples/ups/upssched.conf $(DOCDIR)/examples/ups \
	755 examples/ups/apcupsd.doshutdown $(DOCDIR)/examples/ups \
	755 examples/ups/apcupsd.offbattery $(DOCDIR)/examples/ups \
	755 examples/ups/apcupsd.onbattery $(DOCDIR)/examples/ups \
	644 examples/ups/rehearse.conf $(DOCDIR)/examples/ups \
	755 examples/daemontools/run $(DOCDIR)/examples/daemontools \
	755 examples/daemontools/log/run $(DOCDIR)/examples/daemontools/log \
	755 examples/rpc/on-hosts $(DOCDIR)/examples/rpc \
	644 examples/monit/vm-web $(DOCDIR)/examples/monit \
	755 examples/monit/again $(DOCDIR)/examples/monit \
	644 examples/prometheus/qemu-supervise-metrics.service $(DOCDIR)/examples/prometheus \
	644 examples/prometheus/qemu-supervise-metrics.timer $(DOCDIR)/examples/prometheus \
	644 examples/nomad/client.hcl $(DOCDIR)/examples/nomad \
	644 examples/nomad/vm.nomad.hcl $(DOCDIR)/examples/nomad \
	755 examples/runit/rc.shutdown $(DOCDIR)/examples/runit \
	644 examples/supervisord/vm-web.conf $(DOCDIR)/examples/supervisord \
	755 examples/sysvinit/qemu-supervise $(DOCDIR)/examples/sysvinit \
	644 examples/vm/aarch64.json $(DOCDIR)/examples/vm \
	644 examples/vm/bridge.json $(DOCDIR)/examples/vm \
	644 examples/vm/bsd.json $(DOCDIR)/examples/vm \
	644 examples/vm/kernel.json $(DOCDIR)/examples/vm \
	644 examples/vm/private-a.json $(DOCDIR)/examples/vm \
	644 examples/vm/private-b.json $(DOCDIR)/examples/vm \
	644 examples/vm/two-disks.json $(DOCDIR)/examples/vm \
	644 examples/vm/uefi.json $(DOCDIR)/examples/vm \
	644 examples/vm/vde.json $(DOCDIR)/examples/vm \
	644 examples/vm/windows.json $(DOCDIR)/examples/vm \
	644 doc/troubleshooting.md $(DOCDIR) \
	644 vm.schema.json $(DATADIR) \
	644 rpc.schema.json $(DATADIR) \
	644 completion/qemu-supervise $(COMPLETIONDIR) \
	644 completion/vmconf $(COMPLETIONDIR) \
	644 completion/zsh/_vmconf $(ZSHDIR) \
	644 completion/fish/qemu-supervise.fish $(FISHDIR) \
	644 completion/fish/vmconf.fish $(FISHDIR) \
	644 README.md $(DOCDIR) \
	644 NEWS.md $(DOCDIR) \
	644 doc/first-vm.md $(DOCDIR) \
	644 doc/cluster.md $(DOCDIR) \
	644 doc/laptop.md $(DOCDIR) \
	644 doc/moving.md $(DOCDIR) \
	644 doc/systemd.md $(DOCDIR) \
	644 doc/ups.md $(DOCDIR) \
	644 examples/web.service $(DOCDIR)/examples \
	644 man/qemu-supervise.8 $(MANDIR)/man8 \
	644 man/vmconf.8 $(MANDIR)/man8 \
	644 man/vmconf.5 $(MANDIR)/man5 \
	644 man/qemu-supervise-init.7 $(MANDIR)/man7 \
	644 man/qemu-supervise.7 $(MANDIR)/man7 \
	644 man/qemu-supervise-security.7 $(MANDIR)/man7 \
	644 man/vmconf-rpc.7 $(MANDIR)/man7 \
	$(if $(RESTART_PAUSE),$(call RESTART_PAUSES,$(USERUNITDIR)))

INSTALLED.host = 644 examples/systemd/qemu-supervise@.service $(SYSTEMDDIR)/system \
	644 examples/systemd/qemu-supervise-guests.service $(SYSTEMDDIR)/system \
	644 examples/systemd/qemu-supervise-boot.service $(SYSTEMDDIR)/system \
	644 examples/systemd/qemu-supervise-limits.service $(SYSTEMDDIR)/system \
	644 examples/needrestart/qemu-supervise.conf $(SYSCONFDIR)/needrestart/conf.d \
	644 examples/tmpfiles/qemu-supervise.conf $(TMPFILESDIR) \
	644 examples/sysusers/qemu-supervise.conf $(SYSUSERSDIR) \
	755 packaging/keep-vms $(LIBEXECDIR)/qemu-supervise \
	$(if $(RESTART_PAUSE),$(call RESTART_PAUSES,$(SYSTEMDDIR)/system))

INSTALLED.amqp = $(if $(HAVE_AMQP),755 vmconf-amqp $(BINDIR) \
	$(if $(AT_HOME),,644 examples/amqp/vmconf-amqp.service $(SYSTEMDDIR)/system)) \
	644 man/vmconf-amqp.8 $(MANDIR)/man8

INSTALLED.pacemaker = 755 examples/pacemaker/qemu-supervise $(OCFDIR)/resource.d/qemu-supervise

# Version 0.1.0 had its programs in sbin, where units and supervisors that run look for them, and systemd looks first.
OLD_PLACE = for program in qemu-supervise vmconf; do old="$(DESTDIR)$(PREFIX)/sbin/$$program"; \
	[ ! -e "$$old" ] && [ ! -L "$$old" ] || [ "$(DESTDIR)$(PREFIX)/sbin" -ef "$(DESTDIR)$(BINDIR)" ]

# Pages name the version; they, documents and examples name what is ours where it is. systemd finds programs by their name in /usr/bin and
# /usr/local/bin alone.
PAGE = s|^\.Os$$|.Os "qemu-supervise $(VERSION)"|; s|/usr/local/share/doc/qemu-supervise|$(DOCDIR)|g; s|/usr/local/share/qemu-supervise|$(DATADIR)|g; \
	s|/usr/local/libexec/qemu-supervise|$(LIBEXECDIR)/qemu-supervise|g; s|/usr/local/bin/qemu-supervise|$(BINDIR)/qemu-supervise|g; \
	s|/usr/local/lib/systemd/system$$|$(SYSTEMDDIR)/system|; s|/usr/local/lib/systemd/user |$(USERUNITDIR) |g
UNIT = $(if $(filter /usr/bin /usr/local/bin,$(BINDIR)),,s,^\(Exec[A-Za-z]*=\)\(qemu-supervise\|vmconf\),\1$(BINDIR)/\2,)
ROWS = set -- $(INSTALLED); while [ $$\# -gt 0 ]; do mode=$$1 file=$$2 dir=$$3; to="$(DESTDIR)$$dir/$${file\#\#*/}"; shift 3

# Each file is there at any time, the old one or the new one: units start supervisors meanwhile.
install: all
	@set -e; $(ROWS); \
		echo "$$to"; \
		install -D -m "$$mode" "$$file" "$$to.new"; \
		case $$file in \
		man/* | doc/* | README.md | examples/*) sed '$(PAGE); $(UNIT)' "$$file" >"$$to.new" ;; \
		esac; \
		mv -f "$$to.new" "$$to"; done
	@$(OLD_PLACE) || ln -sf "$(BINDIR)/$$program" "$$old"; done
	@[ -n "$(DESTDIR)" ] || echo 'Next: "make upgrade$(if $(AT_HOME), PREFIX=$(PREFIX))" has systemd read the units again, and the supervisors of VMs that run execute the new program.'

# The VMs of whoever calls this. No guest notices.
upgrade:
	@[ ! -d /run/systemd/system ] || systemctl $$([ "$$(id -u)" = 0 ] || echo --user) daemon-reload
	@"$(BINDIR)/vmconf" upgrade

# Directories that are named after us, or that only we made, go with the last file in them.
uninstall:
	@$(OLD_PLACE) || rm -f "$$old"; done
	@$(ROWS); \
		rm -f "$$to"; \
		while case $$dir in *qemu-supervise* | */needrestart*) rmdir "$(DESTDIR)$$dir" ;; *) false ;; esac 2>/dev/null; do dir=$${dir%/*}; done; \
	done

# Where each file of PART goes, for packages.
installed:
	@$(ROWS); echo "$$to"; done

dist:
	packaging/dist $(VERSION) .

# The manual pages as HTML, in $(O)/html.
html:
	packaging/html $(VERSION) $(O)/html

# Whether a release can be made of this tree; TAGGED=1: whether this commit is one (CONTRIBUTING.md).
release-check:
	t/release $(if $(TAGGED),--tagged)

# RPM packages, in $(O)/rpm, of the tarball without git, and what rpmlint says of them: nothing.
rpm:
	t/setup rpm
	packaging/rpm $(VERSION) $(O)/rpm
	rpmlint --strict -c packaging/rpmlint.toml $(O)/rpm/*.rpm $(O)/rpm/qemu-supervise.spec

# Debian's packages, in $(O)/deb, and what lintian says of them: nothing on Debian 12 and 13 (t/deb.t); that of sid is pedantic about
# fields that Debian 12 still needs.
deb:
	t/setup deb
	packaging/deb $(VERSION) $(O)/deb
	lintian --pedantic --fail-on error,warning,info $(O)/deb/*.changes

# build/guest, build/inits and build/systemd stay: what they are made of was downloaded.
clean:
	rm -f qemu-supervise vmconf vmconf-amqp bench/empty $(REPLAYS) $(UNITS) bench/*.d fuzz/*.d t/*.d t/*.gc?? $(O)/*.[aod] $(O)/*.gc?? $(O)/flags \
		qemu-supervise-*.tar.gz*
	rm -f $(O)/explorer
	rm -rf $(addprefix $(O)/,lib vm supervise commands amqp t) build/fuzz

FORCE:

.PHONY: FORCE all deb html rpm release-check without-amqp check check-hosts check-qemu check-sanitizers check-systemd compilers coverage cross explore mutate prove units replays soak demo bench bench-peers fuzz fuzz-merge lint install installed upgrade uninstall dist clean

-include $(wildcard $(O)/*.d $(O)/*/*.d $(O)/t/explore/*.d bench/*.d fuzz/*.d t/*.d)
