#!/usr/bin/perl
# An agent that misbehaves, that comes and goes, and a QEMU that does: agent-shutdown says why it fails, costs
# no more time than it must, and hangs up; an agent that nothing is asked of is left alone.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX;
use lib $FindBin::Bin;
use Socket qw(AF_UNIX SOCK_NONBLOCK SOCK_STREAM pack_sockaddr_un);
use T;

my $off = qr/powered itself off \(status 0\)/;

sub vm {
	my ($fake, %o) = @_;
	return running(fake => $fake, agent => 'fake', %o,
		options => ['-o', 'TERM=agent-shutdown 60s, quit 100ms, kill', @{ $o{options} || [] }]);
}

sub asked { return scalar $_[0]->sent(qr/^query-chardev$/) }

# The guest opens or closes its port.
sub port {
	my ($s, $how) = @_;
	$s->fake(set => { agent => $how }, event => 'VSERPORT_CHANGE', data => { id => 'agent', open => $how ne 'closed' });
}

# Another client of the agent, which waits until it is answered.
sub talk {
	my ($s) = @_;
	my $socket = IO::Socket::UNIX->new(Peer => $s->dir . '/agent') or die "agent: $!";
	syswrite($socket, qq({"execute": "guest-ping"}\n));
	sysread($socket, my $answer, 100);
	return $answer =~ /return/;
}

# These take their time.
my $lazy = vm(['agent=lazy'], options => ['-v', '-o', 'TERM=agent-shutdown 1h, quit 100ms, kill']);	# until the last test
ok(talk($lazy), 'an idle VM leaves the socket to others');
$lazy->signal('TERM');
$lazy->wait_log(qr/guest agent was asked/);
my $hung = vm(['hang=query-chardev']);
$hung->signal('TERM');

subtest 'what it says before its answer is dropped' => sub {
	for my $how ('byte-by-byte', 'garbage', 'garbage,byte-by-byte') {
		my $s = vm(["agent=$how"]);
		$s->signal('TERM');
		$s->ends_with(0, qr/$off; TERM: agent-shutdown \d\.\ds$/, $how);
		my @sent = map { $_->{execute} } $s->sent;
		like("@sent", qr/set-action .*query-status query-chardev (?:query-block )?guest-sync-delimited guest-shutdown$/, "$how: in that order");
		my ($shutdown) = grep { $_->{execute} eq 'guest-shutdown' } $s->sent;
		is($shutdown->{arguments}{mode}, 'powerdown', "$how: the mode");
	}
};

subtest 'it fails' => sub {
	my %case = (
		silent => ['the guest agent does not answer: no answer in time', qr/[3-9]\.\d/],
		'wrong-ids' => ['the guest agent does not answer: no answer in time', qr/[3-9]\.\d/],
		'hangs-up' => ['the guest agent does not answer: closed by the guest agent', qr/[0-2]\.\d/],
		refuses => ['guest-shutdown is disabled', qr/[0-2]\.\d/],
		closed => ['no guest agent is connected', qr/[0-2]\.\d/],
	);
	my %vm = map { $_ => vm(["agent=$_"]) } sort keys %case;
	$_->signal('TERM') for values %vm;
	for my $how (sort keys %case) {
		my ($why, $time) = @{ $case{$how} };
		my $s = $vm{$how};
		$s->ends_with(80, qr/; TERM: agent-shutdown ${time}s, quit/, $how);
		like($s->log, qr/: agent-shutdown: \Q$why\E\n/, "$how: why");
	}
	is(scalar $vm{closed}->sent(qr/^guest-/), 0, 'closed: nothing is said');
};

subtest 'by run state' => sub {
	my $case = sub {
		my ($state, $fake, $status, $rungs, $said) = @_;
		my $s = vm(["state=$state", @$fake]);
		$s->signal('TERM');
		$s->ends_with($status, qr/; TERM: $rungs/, join(' ', $state, @$fake));
		like($s->log, qr/: agent-shutdown: $said\n/, join(' ', $state, @$fake, 'said'));
		return $s;
	};
	my ($down, $next) = (qr/agent-shutdown \d\.\ds$/, qr/agent-shutdown [0-2]\.\ds, quit/);
	$case->($_, [], 0, $down, "run state $_: cont") for 'paused', 'io-error', 'watchdog';
	$case->('suspended', [], 0, $down, 'run state suspended: system_wakeup');
	my @nobody = (
		$case->('internal-error', [], 80, $next, 'the guest is stopped by an internal error of QEMU'),
		$case->('guest-panicked', [], 82, $next, 'the guest has panicked'),
		$case->('postmigrate', [], 0, $next, 'the guest has migrated away'),
	);
	is(scalar $_->sent(qr/^guest-/), 0, 'nobody is asked') for @nobody;
	my $closed = $case->('paused', ['agent=closed'], 80, $next, 'no guest agent is connected');
	is(scalar $closed->sent(qr/^cont$/), 0, 'a guest without an agent stays paused');
	my $s = vm(['state=finish-migrate']);
	$s->signal('TERM');
	wait_until('the question', sub { asked($s) == 2 });
	is(scalar $s->sent(qr/^guest-/), 0, 'finish-migrate: it is waited for');
	$s->fake(state => 'running', event => 'RESUME');
	$s->ends_with(0, $off, 'finish-migrate');
};

subtest 'while it is asked' => sub {
	my $s = vm(['agent=lazy']);
	$s->signal('TERM');
	$s->wait_log(qr/guest agent was asked/);
	$s->fake(state => 'paused', event => 'STOP');
	wait_until('cont', sub { $s->sent(qr/^cont$/) });	# or it comes after the panic
	$s->fake(state => 'guest-panicked', event => 'GUEST_PANICKED', data => {});
	$s->ends_with(82, qr/panicked \(status 82\); TERM: agent-shutdown \d\.\ds, quit/, 'it is paused, it panics');

	$s = vm(['agent=lazy']);
	$s->signal('TERM');
	$s->wait_log(qr/guest agent was asked/);
	$s->qmp->command('set-action', { shutdown => 'pause' });
	$s->fake(shutdown => 'guest-shutdown');
	$s->ends_with(0, qr/$off; TERM: agent-shutdown \d\.\ds, quit/, 'QEMU stays');
	like($s->log, qr/agent-shutdown: the guest is down already\n/, 'QEMU stays: said');
};

subtest 'many others want the socket' => sub {
	my $s = vm([]);
	my @hogs;
	for (1, 2) {	# one is accepted in between
		do {
			socket(my $hog, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0) or die "socket: $!";
			push @hogs, $hog;
		} while (connect($hogs[-1], pack_sockaddr_un($s->dir . '/agent')));
		$s->fake;
	}
	cmp_ok(scalar @hogs, '>', 10, 'until there is no room');
	$s->signal('TERM');
	wait_until('a second try', sub { asked($s) > 2 });
	close($_) for @hogs;
	$s->ends_with(0, qr/$off; TERM: agent-shutdown \d\.\ds$/, 'we have our turn');
};

subtest 'it comes and goes' => sub {
	my $s = vm(['agent=closed'], options => ['--ready', 'agent', '-v']);
	my $state = sub { my $open = $s->state->{agent}; return defined $open ? $open ? 'open' : 'closed' : 'none' };
	wait_until('state.json', sub { $state->() eq 'closed' });
	port($s, 'silent');
	$s->wait_log(qr/port is open/);
	wait_until('a try', sub { $s->sent(qr/^guest-sync/) });
	$s->fake(set => { agent => '' });	# it begins to serve its port
	$s->wait_log(qr/the guest agent answers\n[^\n]*readiness reported/);
	is($state->(), 'open', 'state.json: open');
	port($s, 'closed');
	wait_until('state.json', sub { $state->() eq 'closed' });
	my ($before, $said) = (asked($s), scalar $s->sent(qr/^guest-/));
	$s->fake(event => 'VSERPORT_CHANGE', data => { id => 'other', open => JSON::PP::true }, count => 1000);
	$s->fake(state => 'paused', event => 'STOP');
	wait_until('paused', sub { $s->state->{'run-state'} eq 'paused' });
	cmp_ok(asked($s) - $before, '<', 50, 'a flood of events');
	is(scalar $s->sent(qr/^guest-/), $said, 'an agent that was heard is left alone');
	is($state->(), 'closed', 'the port of another device');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'comes and goes');

	$s = vm([]);
	wait_until('state.json', sub { $state->() eq 'open' });
	is(asked($s), 1, 'asked for once');
	is(scalar $s->sent(qr/^guest-/), 0, 'and nothing is said to it');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'idle');
};

subtest 'without QMP' => sub {
	my $s = vm(['close=set-action', 'control-gone']);
	my $hog = $s->qmp;
	$s->signal('TERM');
	# Nobody can tell us of SHUTDOWN.
	$s->ends_with(83, qr/without a SHUTDOWN event \(status 83\); TERM: agent-shutdown \d\.\ds$/, 'the agent obeys');
	like($s->log, qr/guest agent was asked/, 'it is asked all the same');

	$s = $hung;
	$s->ends_with(81, qr/QEMU was killed \(status 81\); TERM: agent-shutdown \S+, quit \S+, kill/, 'QEMU hangs');
	like($s->log, qr/agent-shutdown: the guest agent does not answer: no answer in time\n/, 'QEMU hangs: said');
};

# It may still refuse for a while; then others have the socket, while the rung's time runs.
subtest 'the socket is not held' => sub {
	my $s = $lazy;
	ok(talk($s), 'after it was asked');
	is($s->state->{ladder}{action}, 'agent-shutdown', 'whose time runs');
	$s->signal('QUIT');
	$s->ends_with(80, qr/agent-shutdown \S+; QUIT: quit/, 'lazy');
};

done_testing;
