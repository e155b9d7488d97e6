#!/usr/bin/perl
# A guest that QEMU has stopped: list, status, the log and the stop say so, and why.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

my $full = { device => '', 'node-name' => 'disk0', operation => 'write', action => 'stop', nospace => JSON::PP::true, reason => 'No space left on device' };
my $no_space = 'io-error: disk0: no space left on device';
my @quick = ('-o', 'TERM=powerdown 50ms, quit 100ms, kill');

sub vm { return running(agent => 1, fake => ['agent=closed', @{ $_[1] || [] }], name => $_[0], options => \@quick) }

# The run states that QEMU comes to by itself; its events are in the order of QEMU's own.
sub fills {
	my ($s) = @_;
	$s->fake(event => 'BLOCK_IO_ERROR', data => $full);
	$s->fake(state => 'io-error', event => 'STOP');
	wait_until('io-error', sub { ($s->state->{'run-state'} // '') eq 'io-error' });
}

subtest 'a disk is full' => sub {
	my $s = vm('full', ['ignore=cont']);
	is(state_of('full')->{state}, 'running', 'before');
	is(state_of('full')->{'run-state'}, 'running', 'and its run state');
	fills($s);
	$s->wait_log(qr/QEMU has stopped the guest: $no_space; the QMP command cont lets it try again\n/);
	my $vm = state_of('full');
	is($vm->{state}, 'paused', 'list: not running');
	is($vm->{'run-state'}, 'io-error', 'the run state, as QEMU spells it');
	is($vm->{reason}, $no_space, 'and the reason');
	like(vmconf_does('list'), qr/^full +paused .*  $no_space$/m, 'in the table, too');
	delete $s->{public};	# QEMU serves one client at a time
	my $status = vmconf_does('status', 'full');
	like($status, qr/^state +paused\nreason +$no_space\n/m, 'status');
	like($status, qr/^run state +io-error$/m, 'and QEMU itself');
	is(JSON::PP::decode_json(vmconf_does('status', 'full', '--json'))->{reason}, $no_space, 'status --json');
	like(vmconf_does('start', 'full'), qr/^full is paused already \(pid \d+\): $no_space$/m, 'start');
	$s->signal('USR1');
	$s->wait_log(qr/status: $no_space, QEMU's pid/);
	my $before = length $s->log;
	vmconf_fails(80, qr/^\S+ full is down, but was not shut down: quit; QEMU had stopped the guest: $no_space$/, 'stop', 'full');
	$s->ends_with(80, qr/the guest was not shut down: quit \(status 80\)/, 'its end');
	is(() = substr($s->log, $before) =~ /QEMU has stopped the guest: $no_space/g, 1, 'the stop says it, once');
	$vm = state_of('full');
	is($vm->{state}, 'cut-off', 'nothing has crashed');
	is($vm->{reason}, "the guest was not shut down: quit; QEMU had stopped the guest: $no_space", 'why');
	is($vm->{'run-state'}, undef, 'no run state any more');
};

subtest 'it is full again and again' => sub {
	my $s = vm('again');
	fills($s);
	$s->fake(state => 'running', event => 'RESUME');
	$s->wait_log(qr/the guest runs again\n/);
	is(state_of('again')->{state}, 'running', 'it goes on');
	is(state_of('again')->{reason}, undef, 'and nothing is the matter');
	fills($s);
	wait_until('the second time', sub { 2 == (() = $s->log =~ /QEMU has stopped the guest: $no_space/g) });
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'let go on, it goes down');
	is(state_of('again')->{state}, 'stopped', 'and that is what counts');
};

subtest 'errors that do not stop it' => sub {
	my $s = vm('reported');
	$s->fake(event => 'BLOCK_IO_ERROR', data => { %$full, action => 'report' });
	$s->fake(state => 'io-error', event => 'STOP');
	wait_until('io-error', sub { state_of('reported')->{state} eq 'paused' });
	is(state_of('reported')->{reason}, 'io-error: a disk could not be read or written', 'nothing is said that is not known');
	$s->fake(event => 'BLOCK_IO_ERROR', data => { %$full, nospace => JSON::PP::false, device => 'virtio0', reason => "Input/output error\e[2J" });
	$s->fake(state => 'running', event => 'STOP');
	wait_until('running', sub { state_of('reported')->{state} eq 'running' });
	$s->fake(state => 'io-error', event => 'STOP');
	wait_until('io-error', sub { state_of('reported')->{state} eq 'paused' });
	is(state_of('reported')->{reason}, 'io-error: virtio0: Input/output error?[2J', 'QEMU\'s own words, printable');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'it goes down');
};

subtest 'a supervisor that comes later knows' => sub {
	my $s = vm('taken', ['ignore=cont']);
	fills($s);
	my $next = $s->taken_over;
	$next->wait_log(qr/QEMU runs, pid \d+: io-error/);
	is(state_of('taken')->{reason}, $no_space, 'why');
	$next->signal('QUIT');
	$next->ends_with(80, qr/quit \(status 80\)/, 'taken over');
	like(state_of('taken')->{reason}, qr/quit; QEMU had stopped the guest: $no_space$/, 'to its end');
};

subtest 'every run state' => sub {
	my %expected = (
		paused => ['paused', undef, qr/the guest is stopped: paused\n/],
		debug => ['paused', 'debug: a debugger has stopped the guest', qr/the guest is stopped: debug: /],
		suspended => ['paused', 'suspended: the guest sleeps', qr/the guest is stopped: suspended: /],
		postmigrate => ['paused', 'postmigrate: the guest was saved or migrated away', qr/the guest is stopped: postmigrate: /],
		'internal-error' => ['paused', 'internal-error: an error of QEMU or of KVM', qr/QEMU has stopped the guest: internal-error: .*; only a reset lets it boot again\n/],
		watchdog => ['paused', 'watchdog: the guest has not served its watchdog', qr/QEMU has stopped the guest: watchdog: /],
		'guest-panicked' => ['paused', 'guest-panicked: the guest has panicked', undef],
		'finish-migrate' => ['paused', 'finish-migrate: the guest is about to be elsewhere', undef],
		'save-vm' => ['paused', 'save-vm: the guest is being saved', undef],
		shutdown => ['paused', 'shutdown: the guest is down, and QEMU stays', undef],
		'a-new-one' => ['running', 'a-new-one', undef],
		prelaunch => ['running', 'prelaunch: no guest is running', undef],
		inmigrate => ['running', 'inmigrate: no guest is running', undef],
	);
	my $s = vm('states');
	for my $state (sort keys %expected) {
		my ($word, $reason, $log) = @{ $expected{$state} };
		my $before = length $s->log;
		$s->fake(state => $state, event => 'STOP');
		my $vm = wait_until($state, sub { my $vm = state_of('states'); $vm->{'run-state'} eq $state && $vm });
		is($vm->{state}, $word, $state);
		is($vm->{reason}, $reason, "$state: why");
		$log ? like(substr($s->log, $before), $log, "$state: the log tells") : unlike(substr($s->log, $before), qr/stopped/, "$state: told otherwise, or soon over");
		$s->fake(state => 'running', event => 'RESUME');
		wait_until('running', sub { state_of('states')->{state} eq 'running' });
	}
	$s->signal('QUIT');
	$s->ends_with(82, qr/panicked/, 'states');
};

subtest 'killed, and not crashed' => sub {
	my $s = vm('killed', ['presses=9', 'ignore=quit']);
	like(vmconf_does('stop', '--kill', 'killed'), qr/^killed: stopped: /, 'stop --kill is what was asked for');
	$s->end;
	is(state_of('killed')->{state}, 'cut-off', '--kill');
	like(vmconf_does('list'), qr/^killed +cut-off .*QEMU was killed$/m, 'in the table, too');

	$s = vm('died');
	$s->fake(die => 'SEGV');
	$s->ends_with(83, qr/SIGSEGV/, 'QEMU dies');
	is(state_of('died')->{state}, 'crashed', 'of itself');

	$s = vm('panics', ['ignore=cont']);
	$s->fake(event => 'GUEST_PANICKED', data => {}, state => 'guest-panicked');
	$s->signal('TERM');
	$s->ends_with(82, qr/panicked/, 'the guest panics');
	is(state_of('panics')->{state}, 'crashed', 'in the guest');
	is(() = $s->log =~ /the guest has panicked\n/g, 2, 'the panic, and that nobody was asked, are one line each');

	$s = vm('reboots', ['reboots']);
	$s->signal('TERM');
	$s->ends_with(85, qr/reset itself/, 'it reboots while it is stopped');
	is(state_of('reboots')->{state}, 'cut-off', 'a reboot is no crash, as far as is known');

	$s = running(agent => 1, fake => ['agent=closed', 'ignore=system_powerdown', 'cpus=halted'], name => 'halts');
	vmconf_fails(86, qr/^\S+ halts is down, but was not shut down: the guest halted and did not power itself off$/, 'stop', 'halts');
	$s->ends_with(86, qr/halted/, 'it halts while it is stopped');
	is(state_of('halts')->{state}, 'cut-off', 'no crash, either');
};

done_testing;
