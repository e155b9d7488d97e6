#!/usr/bin/perl
# What powerdown does first, by run state: those that a real QEMU is hard to bring to, and all others.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my @interval = ('--press-interval', '50ms');

# What it was asked to do, in order, without what is only looking.
sub done_to {
	my ($s) = @_;
	return [$s->sent(qr/^(cont|quit|system_\w+)$/)];
}

sub in_state {
	my ($state, @options) = @_;
	my $s = running(fake => ["state=$state"], options => \@options);
	$s->signal('TERM');
	return $s;
}

sub looks {
	my ($s, $count) = @_;
	my $until = $count + $s->sent(qr/^query-status$/);
	wait_until("$count looks", sub { $s->sent(qr/^query-status$/) >= $until });
}

subtest 'running' => sub {
	my $s = in_state('running');
	$s->ends_with(0, qr/powered itself off/, 'running');
	is_deeply(done_to($s), ['system_powerdown'], 'pressed');
};

subtest 'paused' => sub {
	for my $state (qw(paused debug watchdog)) {
		my $s = in_state($state);
		$s->ends_with(0, qr/powered itself off/, $state);
		is_deeply(done_to($s), ['cont', 'system_powerdown'], "$state: cont, pressed");
		like($s->log, qr/powerdown: run state $state: cont\n/, "$state: said");
	}
};

subtest 'io-error' => sub {
	my $s = running(fake => ['state=io-error', 'ignore=cont'], options => \@interval);
	$s->signal('TERM');
	wait_until('a second try', sub { $s->sent(qr/^cont$/) >= 2 });
	$s->fake(set => { ignore => '' });
	$s->ends_with(0, qr/powered itself off/, 'the disk has room again');
	my @pairs = @{ done_to($s) };
	is_deeply([@pairs[0 .. 3]], [('cont', 'system_powerdown') x 2], 'cont with each press');
};

subtest 'suspended' => sub {
	my $s = running(fake => ['state=suspended', 'en=0xffff']);
	$s->signal('TERM');
	$s->wait_sent('system_wakeup');
	$s->fake(set => { en => '0x0120' });
	$s->ends_with(0, qr/powered itself off/, 'suspended');
	is((grep { $_ eq 'system_powerdown' } @{ done_to($s) }), 1, 'pressed once');
	is(done_to($s)->[0], 'system_wakeup', 'woken up before');
	like($s->log, qr/run state suspended: system_wakeup\n.*pressed\n/s, 'said');
};

subtest 'nobody will answer' => sub {
	my %ends = (
		'guest-panicked' => [82, qr/the guest has panicked/],
		'internal-error' => [80, qr/the guest is stopped by an internal error of QEMU/],
		'shutdown' => [80, qr/the guest is down already/],
		'postmigrate' => [0, qr/the guest has migrated away/],
		'prelaunch' => [0, qr/no guest is running \(prelaunch\)/],
		'inmigrate' => [0, qr/no guest is running \(inmigrate\)/],
		'preconfig' => [0, qr/no guest is running \(preconfig\)/]
	);
	for my $state (sort keys %ends) {
		my ($status, $words) = @{ $ends{$state} };
		my $s = in_state($state);
		$s->ends_with($status, qr/\(status $status\); TERM: powerdown \S+, agent-shutdown \S+, quit/, $state);
		like($s->log, qr/powerdown: $words\n/, "$state: said");
		is_deeply(done_to($s), ['quit'], "$state: next rung at once");
	}
};

subtest 'on its way to another state' => sub {
	for my $state (qw(save-vm restore-vm finish-migrate colo)) {
		my $s = in_state($state);
		looks($s, 3);
		is_deeply(done_to($s), [], "$state: waits");
		$s->fake(state => 'running', event => 'RESUME');
		$s->ends_with(0, qr/powered itself off/, $state);
		is_deeply(done_to($s), ['system_powerdown'], "$state: pressed when it runs");
	}
	my $s = in_state('finish-migrate');
	looks($s, 2);
	$s->fake(state => 'postmigrate', event => 'MIGRATION', data => { status => 'completed' });
	$s->ends_with(0, qr/saved or migrated away/, 'migrated while being stopped');
	is_deeply(done_to($s), ['quit'], 'nobody is asked');
};

subtest 'a state that changes while the guest is asked' => sub {
	my $s = running(fake => ['presses=99'], options => \@interval);
	$s->signal('TERM');
	$s->wait_log(qr/power button pressed again/);
	$s->fake(state => 'guest-panicked', event => 'GUEST_PANICKED', data => {});
	$s->ends_with(82, qr/the guest panicked \(status 82\); TERM: powerdown \S+, agent-shutdown \S+, quit/, 'it panics');

	$s = running(fake => ['presses=99'], options => \@interval);
	$s->signal('TERM');
	$s->wait_log(qr/power button pressed again/);
	$s->fake(set => { presses => 1 }, state => 'paused', event => 'STOP');
	$s->ends_with(0, qr/powered itself off/, 'somebody pauses it');
	ok(scalar $s->sent(qr/^cont$/), 'and it is let go on');
};

# QEMU tells that the migration is over before it has set the run state.
subtest 'an answer that is older than an event' => sub {
	my $s = running(fake => []);
	$s->fake(state => 'finish-migrate', event => 'STOP');
	wait_until('finish-migrate', sub { $s->state->{'run-state'} eq 'finish-migrate' });
	$s->fake(event => 'MIGRATION', data => { status => 'completed' });
	wait_until('postmigrate', sub { $s->state->{'run-state'} eq 'postmigrate' });
	my $asked = $s->sent(qr/^query-status$/);
	$s->fake(event => 'WAKEUP');
	wait_until('a question', sub { $s->sent(qr/^query-status$/) > $asked });
	$s->signal('USR1');
	$s->wait_log(qr/status: finish-migrate/);
	is($s->state->{'run-state'}, 'postmigrate', 'counts for less');
	$s->fake(state => 'postmigrate');
	$s->signal('TERM');
	$s->ends_with(0, qr/saved or migrated away/, 'migrated');
};

# The first event asks, and all that come before the answer ask once more.
subtest 'many changes at once' => sub {
	my $s = running(fake => []);
	wait_until('running', sub { $s->state->{'run-state'} eq 'running' });
	my $asked = $s->sent(qr/^query-status$/);
	$s->fake(state => 'paused', flood => ['SUSPEND', 'WAKEUP']);
	wait_until('the last answer', sub { $s->sent(qr/^query-status$/) >= $asked + 2 });
	$s->{public}->command('query-name') for 1 .. 10;
	is($s->sent(qr/^query-status$/) - $asked, 2, 'two questions');
	$s->signal('QUIT');
	$s->ends_with(80, qr/not shut down: quit/, 'it goes on');
};

done_testing;
