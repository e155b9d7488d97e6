#!/usr/bin/perl
# Every action of the policy, with a real guest that shows what became of it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $listens = qr/guest: listening/;
my $twice = qr/$listens.*$listens/s;
my $off = qr/the guest powered itself off \(status 0\)/;
my $quit = qr/the guest was not shut down: quit \(status 80\)/;

# A supervisor for each line, all started at once: they boot while others are tested.
sub vm {
	my ($mode, $on, %o) = @_;
	return supervise(guest => $mode, options => [(map { ('--on', $_) } @$on), @{ $o{options} || [] }], %o);
}

sub run_state_is {
	my ($vm, $state, $what) = @_;
	wait_until("run state $state", sub { $vm->state->{'run-state'} eq $state });
	pass($what);
}

sub all_set_back {
	my ($vm, $what) = @_;
	wait_until('set-action', sub { $vm->state->{'set-action'}{reboot} eq 'reset' });
	is($vm->state->{'set-action'}{shutdown}, 'poweroff', "$what: state.json tells that all was put back");
}

sub program {
	my ($name, $text) = @_;
	my $path = spew("$work/$name", "#!/bin/sh\n$text");
	chmod(0755, $path);
	return $path;
}

my $tell = program('tell', "echo \"\$VM_NAME \$VM_TRIGGER \$VM_PID \$QMP_SOCKET\" >$work/told\ncat >>$work/told\n");
my $hang = program('hang', "echo \$\$ >$work/hanging\nsleep 1000000 &\necho \$! >>$work/hanging\nwait\n");
my %vm = (
	ordinary => vm('normal', ['TERM=agent-shutdown 30s, powerdown 60s, quit, kill', 'USR2=stop', 'ALRM=cont',
		'VTALRM=ignore', 'PROF=qmp:stop', 'XCPU=qmp:no-such-command 60s, stop',
		'IO=qmp:{"execute": "object-add", "arguments": {"qom-type": "iothread", "id": "made"}}, stop',
		"RESUME=run:$tell", "STKFLT=run:$hang 100ms, stop"]),
	reboot => vm('normal', ['USR2=reboot 60s, quit, kill']),
	ignorant => vm('ignore', ['USR2=reboot 1s, reset', 'TERM=quit, kill']),
	sleeping => vm('s3', ['USR2=wakeup'], machine => 'pc'),
	nmi => vm('normal', ['USR2=nmi'], append => 'unknown_nmi_panic', args => ['-no-reboot']),
	no_reboot => vm('normal', [], args => ['-no-reboot']),
	panicked => vm('panic-on-press', [], args => ['-device', 'pvpanic-pci', '-action', 'panic=pause']),
	killed => vm('normal', ['USR2=kill']),
);

sub test_ordinary {
	my $vm = shift;
	my $qemu = $vm->qemu;

	$vm->wait_console($listens);
	$vm->signal('USR1');
	ok($vm->wait_log(qr/status: running, QEMU's pid is $qemu, up \d+s, no ladder in progress/), 'status: one line');

	$vm->signal('USR2');
	run_state_is($vm, 'paused', 'stop: the guest stands still');
	$vm->signal('ALRM');
	run_state_is($vm, 'running', 'cont: the guest goes on');

	my $told = wait_until('the program', sub { my $text = slurp("$work/told"); $text =~ /\}\n/ ? $text : undef });
	like($told, qr/\A$vm->{name} RESUME $qemu \Q${\$vm->dir}\E\/qmp\n/, 'run: on an event: environment');
	my ($event) = $told =~ /\n(.*)\n\z/;
	is(eval { JSON::PP::decode_json($event)->{event} }, 'RESUME', 'run: the event on stdin');

	$vm->signal('PROF');
	run_state_is($vm, 'paused', 'qmp:COMMAND');
	$vm->qmp->command('cont');
	run_state_is($vm, 'running', 'running again');

	$vm->signal('XCPU');
	run_state_is($vm, 'paused', 'qmp: a command that QEMU refuses costs no time');
	like($vm->log, qr/The command no-such-command has not been found/, "qmp: QEMU's words are logged");
	$vm->qmp->command('cont');
	run_state_is($vm, 'running', 'running again');

	$vm->signal('IO');
	run_state_is($vm, 'paused', 'qmp:{...}, stop');
	is($vm->qmp->command('query-iothreads')->[0]{id}, 'made', 'qmp:{...} with arguments');
	$vm->qmp->command('cont');
	run_state_is($vm, 'running', 'running again');

	$vm->signal('STKFLT');
	run_state_is($vm, 'paused', 'run: a program that takes longer than its TIME, stop');
	like($vm->log, qr/hang: [^\n]*killed/, 'run: the log tells that');
	for my $pid (split ' ', slurp("$work/hanging")) {
		ok(wait_until("the end of $pid", sub { !-e "/proc/$pid" || slurp("/proc/$pid/stat") =~ /\) Z/ }),
			'run: killed with its process group');
	}
	$vm->qmp->command('cont');

	$vm->signal('VTALRM');
	ok($vm->wait_log(qr/VTALRM from .*: ignore\n/), 'ignore');
	$vm->signal('TERM');
	$vm->ends_with(0, qr/$off; TERM: agent-shutdown 0\.0s, powerdown \d/, 'agent-shutdown, powerdown');
	like($vm->log, qr/agent-shutdown: this VM has no guest agent channel\n/, 'agent-shutdown: fails at once');
	ok(disk_is_clean($vm->{disk}), 'powerdown: file system clean');
}

sub test_reboot {
	my $vm = shift;
	my $qemu = $vm->qemu;

	ok($vm->wait_console(qr/guest: press.*guest: down.*$listens/s), 'reboot: the guest goes down and boots again');
	is($vm->qemu, $qemu, 'reboot: in the same process');
	is($vm->state->{phase}, 'running', 'reboot: its ladder is done, the VM is not being ended');
	all_set_back($vm, 'reboot');
	$vm->qmp->command('system_powerdown');
	$vm->ends_with(0, qr/$off$/, 'reboot: QEMU ends with the guest again');
}

sub test_ignorant {
	my $vm = shift;

	ok($vm->wait_console($twice), 'reboot, reset: a guest that ignores the button is reset');
	like($vm->log, qr/reboot: power button pressed\n/, 'reboot, reset: it was asked before');
	unlike($vm->console, qr/guest: down/, 'reboot, reset: it did not go down');
	all_set_back($vm, 'reboot, reset');
	$vm->signal('QUIT');
	$vm->ends_with(80, qr/$quit; QUIT: quit/, 'quit');
	ok(!disk_is_clean($vm->{disk}), 'quit: the guest was not asked');
}

sub test_sleeping {
	my $vm = shift;

	wait_until('sleep', sub { ($vm->state->{'run-state'} // '') eq 'suspended' });
	$vm->signal('USR2');
	ok($vm->wait_console(qr/guest: awake/), 'wakeup: wakes a guest that sleeps');
	$vm->signal('TERM');
	$vm->ends_with(0, $off, 'after wakeup');
}

sub test_nmi {
	my $vm = shift;

	$vm->wait_console($listens);
	$vm->signal('USR2');
	$vm->ends_with(84, qr/asked for a reboot and QEMU ended instead/, 'nmi: the guest panics, as it was told to');
	like($vm->console, qr/panic.*NMI/, 'nmi: the console tells of it');
}

sub test_no_reboot {
	my $vm = shift;

	ok($vm->wait_console($twice), 'reset: works under -no-reboot');
	ok(wait_until('set-action', sub { $vm->state->{'set-action'}{reboot} eq 'shutdown' }),
		'reset: -no-reboot is in force again');
	$vm->qmp->command('system_reset');
	$vm->ends_with(80, qr/system_reset where a reset ends QEMU \(status 80\)$/, 'after reset');
}

sub test_panicked {
	my $vm = shift;

	ok($vm->wait_console($twice), 'reset: of a guest that has panicked');
	$vm->signal('QUIT');
	$vm->ends_with(80, qr/$quit; QUIT: quit/, 'after reset: the panic is past');
}

sub test_killed {
	my $vm = shift;

	$vm->wait_console($listens);
	$vm->signal('USR2');
	$vm->ends_with(81, qr/QEMU was killed \(status 81\); USR2: kill/, 'kill');
	ok(!disk_is_clean($vm->{disk}), 'kill: nobody was asked');
}

# A guest under TCG takes its time to boot again: all of those begin now.
$_->wait_console($listens) for @vm{qw(reboot ignorant no_reboot panicked)};
$_->signal('USR2') for @vm{qw(reboot ignorant)};
$vm{no_reboot}->signal('HUP');
$vm{panicked}->qmp->command('system_powerdown');
wait_until('panic', sub { $vm{panicked}->state->{'run-state'} eq 'guest-panicked' });
$vm{panicked}->signal('HUP');

test_killed($vm{killed});
test_nmi($vm{nmi});
test_sleeping($vm{sleeping});
test_reboot($vm{reboot});
test_no_reboot($vm{no_reboot});
test_panicked($vm{panicked});
test_ignorant($vm{ignorant});
test_ordinary($vm{ordinary});

done_testing;
