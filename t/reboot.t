#!/usr/bin/perl
# reset, reboot, and the other actions that do not end the VM; what they set in QEMU is put back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

# What set-action was told, in order: "reboot/shutdown"; a stop tells only what is not so already.
sub set_actions {
	my ($s) = @_;
	return map { "$_->{arguments}{reboot}/" . ($_->{arguments}{shutdown} // '') } grep { $_->{execute} eq 'set-action' } $s->sent;
}

sub stop {
	my ($s, $what) = @_;
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, $what);
}

subtest 'reset' => sub {
	for my $case ([[], 'reset/poweroff'], [['-no-reboot'], 'shutdown/poweroff'], [['-no-shutdown', '-no-reboot'], 'shutdown/pause']) {
		my ($args, $back) = @$case;
		my $s = running(fake => $args);
		$s->signal('HUP');
		$s->wait_sent('system_reset');
		like((set_actions($s))[0], qr{^reset/}, "reset (@$args): resets and does not end QEMU");
		ok(wait_until('set back', sub { (set_actions($s))[-1] eq $back }), "reset (@$args): put back");
		is($s->qmp->status, 'running', 'QEMU goes on');
		$s->signal('QUIT');
		$s->end;
	}
};

subtest 'reset of a guest that stands' => sub {
	for my $state (qw(shutdown guest-panicked internal-error)) {
		my $s = running(fake => ["state=$state"]);
		$s->signal('HUP');
		$s->wait_sent('cont');
		is_deeply([$s->sent(qr/^(system_reset|cont)$/)], ['system_reset', 'cont'], "$state: cont behind it");
		stop($s, $state);
	}
	my $s = running(fake => ['state=paused']);
	$s->signal('HUP');
	$s->wait_sent('system_reset');
	wait_until('seen', sub { ($s->sent(qr/query-status/)) >= 3 });
	is(scalar $s->sent(qr/^cont$/), 0, 'paused: stays paused');
	$s->signal('QUIT');
	$s->end;
};

subtest 'reboot' => sub {
	my $s = running(fake => [], options => ['-o', 'HUP=reboot 60s, reset']);
	$s->signal('HUP');
	$s->wait_sent('cont');
	wait_until('set back', sub { (set_actions($s)) == 2 });
	is_deeply([set_actions($s)], ['reset/pause', 'reset/poweroff'], 'the guest goes down and QEMU stays; put back');
	is_deeply([$s->sent(qr/^(system_\w+|cont)$/)], ['system_powerdown', 'system_reset', 'cont'], 'press, reset, cont');
	wait_until('running again', sub { $s->state->{'run-state'} eq 'running' });
	$s->signal('HUP');
	wait_until('a second time', sub { ($s->sent(qr/^cont$/)) == 2 });
	stop($s, 'reboot');
	like($s->log, qr/reboot: power button pressed\n.*reboot: the guest is down, starting it again/s, 'said');
};

subtest 'reboot of a guest that does not go down' => sub {
	my $s = running(fake => ['ignore=system_powerdown'], options => ['-o', 'HUP=reboot 100ms, reset']);
	$s->signal('HUP');
	$s->wait_sent('system_reset');
	wait_until('set back', sub { (set_actions($s)) == 3 });
	is_deeply([set_actions($s)], ['reset/pause', 'reset/pause', 'reset/poweroff'], 'its next rung comes; a guest that goes down late does not end QEMU');
	is(scalar $s->sent(qr/^cont$/), 0, 'nothing is left of the reboot');
	$s->signal('QUIT');
	$s->ends_with(80, qr/not shut down: quit/, 'and it never ended the VM');
};

# SeaBIOS answers a reset by one of its own; the guest is waited for all the same.
subtest 'TERM just after a reset' => sub {
	for my $by ('HUP', 'the guest') {
		my $s = running(fake => ['en=0x0020']);
		$by eq 'HUP' ? $s->signal('HUP') : $s->fake(reset => 1);
		wait_until('RESET', sub { $s->sent(qr/^query-status$/) > ($by eq 'HUP' ? 2 : 1) });
		$s->signal('TERM');
		$s->wait_log(qr/waiting for it/);
		$s->fake(reset => 1);
		$s->fake(set => { en => '0x0120' });
		$s->ends_with(0, qr/powered itself off \(status 0\); TERM: powerdown/, "by $by");
		my @said = map { $_->{execute} eq 'set-action' ? $_->{arguments}{reboot} : () } $s->sent;
		is($said[-1], 'shutdown', "by $by: and may not go round once it is asked");
	}
};

subtest 'TERM in the middle of a reboot' => sub {
	my $s = running(fake => ['presses=2', '-no-reboot'], options => ['-o', 'HUP=reboot', '--press-interval', 0]);
	$s->signal('HUP');
	$s->wait_log(qr/reboot: power button pressed/);
	stop($s, 'the guest powers off and QEMU ends');
	is_deeply([set_actions($s)], ['reset/pause', 'shutdown/poweroff', 'shutdown/'], 'put back, then what the stop needs');
	like($s->log, qr/HUP: its ladder is dropped/, 'said');
	is(scalar $s->sent(qr/system_reset/), 0, 'it is not started again');
};

subtest 'TERM while a reboot starts the guest again' => sub {
	my $s = running(fake => ['ignore=system_reset'], options => ['-o', 'HUP=reboot']);
	$s->signal('HUP');
	$s->wait_sent('system_reset');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off \(status 0\)/, 'it is down already');
	is(scalar $s->sent(qr/^cont$/), 0, 'and is not started');
};

subtest 'stop, cont, wakeup, nmi' => sub {
	my $s = running(fake => [], options => [map { ('-o', $_) } 'HUP=stop', 'USR1=cont', 'USR2=wakeup', 'WINCH=nmi']);
	my $state = sub {
		my ($signal, $wanted) = @_;
		$s->signal($signal);
		wait_until($wanted, sub { $s->state->{'run-state'} eq $wanted });
		pass("$signal: $wanted");
	};
	$state->('HUP', 'paused');
	$state->('USR1', 'running');
	$s->fake(state => 'suspended', event => 'SUSPEND');
	$state->('USR2', 'running');
	$s->signal('WINCH');
	ok($s->wait_sent('inject-nmi'), 'nmi');
	stop($s, 'actions');
};

done_testing;
