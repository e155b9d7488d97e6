#!/usr/bin/perl
# A QEMU that has said SHUTDOWN flushes its disks and reads no more commands: none is sent to it, and it is not taken for one that hangs.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX;
use Socket qw(MSG_DONTWAIT SOCK_DGRAM);
use lib $FindBin::Bin;
use T;

my $off = qr/ended: the guest powered itself off \(status 0\)/;

# One whose guest is down, and which flushes until fake says exit.
sub flushing {
	my (%o) = @_;
	my $s = running(%o, fake => ['flushes', @{ $o{fake} || [] }]);
	wait_until('all that is sent at its start', sub { $s->sent(qr/^query-block$/) && $s->state->{'run-state'} eq 'running' });
	$s->fake(shutdown => 'guest-shutdown');
	$s->wait_log(qr/SHUTDOWN: guest-shutdown/);
	wait_until('state.json', sub { $s->state->{phase} eq 'stopping' });
	return $s;
}

sub ends_untouched {
	my ($s, $before, $what) = @_;
	is(scalar(my @sent = $s->sent), $before, "$what: nothing was sent");
	$s->fake(exit => 1);
	$s->ends_with(0, $off, $what);
}

subtest 'signals' => sub {
	my $s = flushing(options => ['-o', 'ALRM=reboot 1s, reset', '-o', 'VTALRM=reexec']);
	my $before = my @sent = $s->sent;
	$s->signal('HUP');
	$s->wait_log(qr/reset: not needed, QEMU is ending/);
	$s->signal('ALRM');
	$s->wait_log(qr/reboot: not needed, QEMU is ending/);
	$s->signal('USR1');
	$s->wait_log(qr/status: QEMU is ending, QEMU's pid/);
	$s->signal('VTALRM');
	$s->wait_log(qr/reexec: not now: QEMU is ending/);
	$s->signal('QUIT');
	$s->wait_log(qr/quit: not needed, QEMU is ending/);
	is($s->state->{phase}, 'stopping', 'it is ending all the while');
	ends_untouched($s, $before, 'signals');
};

subtest 'the watchdog' => sub {
	my $name = "qemu-supervise-ending-$$";
	my $init = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "\0$name") or die $!;
	my $s = flushing(env => { NOTIFY_SOCKET => "\@$name", WATCHDOG_USEC => 100_000 }, options => ['-o', 'UNRESPONSIVE=kill']);
	$s->fake(set => { mute => 'query-status' });
	my $before = my @sent = $s->sent;
	1 while defined recv($init, my $old, 1000, MSG_DONTWAIT);
	my $times = 0;
	wait_until('eight halves of its period', sub {
		my $text;
		$times += $text eq 'WATCHDOG=1' while defined recv($init, $text, 1000, MSG_DONTWAIT);
		return $times >= 8;
	});
	unlike($s->log, qr/has not answered/, 'it does not hang');
	ends_untouched($s, $before, 'the watchdog');
};

# What QEMU has not read yet is not in force: it ends, whatever a reboot was about to set.
subtest 'before a reboot has set anything' => sub {
	my $s = running(fake => ['flushes', 'mute=set-action'], options => ['-o', 'ALRM=reboot 100s, reset']);
	$s->signal('ALRM');
	$s->wait_sent('set-action');
	$s->fake(shutdown => 'guest-shutdown');
	$s->wait_log(qr/SHUTDOWN: guest-shutdown/);
	wait_until('state.json', sub { $s->state->{phase} eq 'stopping' });
	ok($s->state->{ending}, 'it is known that QEMU ends');
	unlike($s->log, qr/starting it again/, 'the guest is not started again');
	is(scalar($s->sent(qr/system_reset/)), 0, 'no reset');
	$s->signal('TERM');
	$s->wait_log(qr/powerdown: not needed, QEMU is ending/);
	is(scalar($s->sent(qr/set-action/)), 1, 'nothing is set any more');
	$s->fake(exit => 1);
	$s->ends_with(0, $off, 'reboot');
};

done_testing;
