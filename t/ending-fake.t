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

# A QEMU that flushes for ever is killed all the same, when its time has come.
subtest 'kill' => sub {
	my $s = flushing();
	$s->deadline(1);
	$s->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown \S+, agent-shutdown \S+, quit \S+, kill/, 'after SHUTDOWN');
	$s = flushing(options => ['-o', 'TERM=powerdown 50ms, quit 50ms, kill']);
	$s->signal('TERM');
	$s->wait_log(qr/powerdown 50ms is over, but the guest is down and QEMU flushes its disks: 30s more/);
	$s = $s->taken_over;
	$s->wait_log(qr/TERM: resuming at powerdown.*powerdown: not needed, QEMU is ending/s);
	$s->signal('INT');
	$s->wait_log(qr/quit: not needed, QEMU is ending/);
	$s->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown \S+, quit \S+, kill/, 'the extension is passed on, and is one');
	is(scalar($s->sent(qr/^(?:system_powerdown|quit)$/)), 0, 'nothing was sent');
};

subtest 'a quit that is refused' => sub {
	my $s = running(fake => ['refuse=quit'], options => ['-o', 'TERM=quit forever', '-o', 'QUIT=kill']);
	$s->signal('TERM');
	$s->wait_log(qr/quit is refused here/);
	$s->signal('USR1');
	$s->wait_log(qr/: status: .*power button/);
	unlike($s->log, qr/QEMU is ending/, 'is no end, so that commands are sent, and quit again');
	$s->signal('QUIT');
	$s->ends_with(81, qr/QEMU was killed/, 'it is killed');
};

# TIME had not begun; now it does.
subtest 'it goes down while it is waited for' => sub {
	my $s = running(fake => ['flushes', 'en=0x0020'], options => ['-o', 'TERM=powerdown 50ms, quit 50ms, kill']);
	$s->signal('TERM');
	$s->wait_log(qr/the guest does not listen to its power button yet/);
	$s->fake(shutdown => 'guest-shutdown');
	$s->wait_log(qr/powerdown 50ms is over, but the guest is down and QEMU flushes its disks: 30s more/);
	$s->fake(exit => 1);
	$s->ends_with(0, $off, 'and QEMU ends');
};

# Somebody has set shutdown=pause: the guest is down, and QEMU stays.
sub staying {
	my (@options) = @_;
	my $s = running(fake => [], options => [@options]);
	my $public = $s->{public} = $s->qmp;
	$public->command('set-action', { shutdown => 'pause' });
	return ($s, $public);
}

subtest 'it does not end after all' => sub {
	my @press = ('-o', 'TERM=powerdown 100s, quit, kill');
	my ($s, $public) = staying(@press);
	$s->fake(shutdown => 'guest-shutdown');
	$s->wait_log(qr/QEMU does not end after all/);
	$public->command($_) for qw(system_reset cont);
	wait_until('it runs', sub { $s->state->{'run-state'} eq 'running' && $s->state->{phase} eq 'running' });
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off.*TERM: powerdown/, 'a guest that was reset by others');
	is(scalar($s->sent(qr/^system_powerdown$/)), 1, 'is pressed');

	($s, $public) = staying(@press);
	$s->fake(event => 'SHUTDOWN', data => { reason => 'guest-shutdown' });
	$s->signal('TERM');
	$s->wait_log(qr/powerdown: not needed, QEMU is ending/);
	$s->fake(state => 'shutdown', event => 'STOP');
	$s->ends_with(0, qr/TERM: powerdown \S+, quit/, 'what was passed over is not waited for');

	for my $state (qw(shutdown running)) {
		($s, $public) = staying(@press);
		$s->fake(state => $state, event => 'SHUTDOWN', data => { reason => 'guest-shutdown' }, close => 1);
		$s->wait_log(qr/QMP is there again.*QEMU does not end after all/s);
		$s->signal('TERM');
		$public->command('set-action', { shutdown => 'poweroff' }) if $state eq 'running';
		$s->ends_with(0, qr/powered itself off/, "$state, and the connection was lost");
		is(scalar($s->sent(qr/^system_powerdown$/)), $state eq 'running' ? 1 : 0, "$state: pressed or not");
	}
};

subtest 'the next supervisor' => sub {
	my ($s, $public) = staying('-o', 'TERM=powerdown 100s, quit, kill');
	$s->fake(event => 'SHUTDOWN', data => { reason => 'guest-shutdown' });
	wait_until('state.json', sub { $s->state->{ending} });
	my $next = $s->lost->successor;
	$next->wait_log(qr/QEMU does not end after all/);
	wait_until('state.json', sub { $next->state->{supervisor} == $next->{pid} && $next->state->{phase} eq 'running' });
	wait_until('it asks before it sends anything else', sub {
		return join(' ', map { $_->{execute} } $next->sent) =~ /.*\bqmp_capabilities query-status (?:set-action|query-jobs)\b/;
	});
	pass('it asks before it sends anything else');
	$public->command('set-action', { shutdown => 'poweroff' });
	$next->signal('TERM');
	$next->ends_with(0, $off, 'and presses');
	is(scalar($next->sent(qr/^system_powerdown$/)), 1, 'once');
};

subtest 'a reboot, of which it is not known what QEMU has set' => sub {
	my ($s, $public) = staying('-o', 'ALRM=reboot 100s', '-o', 'TERM=powerdown 100s, quit, kill');
	$s->fake(set => { mute => 'set-action' });
	$s->signal('ALRM');
	$s->wait_sent('set-action');
	$s->fake(shutdown => 'guest-shutdown');
	$s->wait_log(qr/QEMU does not end after all.*the guest is down, starting it again/s);
	wait_until('it runs', sub { !$s->state->{'going-round'} && $s->state->{'run-state'} eq 'running' });
	$s->fake(set => { mute => '' });
	$public->command('set-action', { shutdown => 'poweroff' });
	$s->signal('TERM');
	$s->ends_with(0, $off, 'the guest was started again');
};

# Until then nothing is sent; then everything, as before.
subtest 'quit does not end it' => sub {
	my $s = running(fake => ['refuse=quit'], options => ['-o', 'TERM=powerdown 50ms, quit 100s, powerdown 100s, kill']);
	kill('STOP', my $qemu = $s->qemu);
	$s->signal('TERM');	# the look that is under way then goes on while nothing is sent
	wait_until('quit', sub { (($s->state->{ladder} || {})->{action} // '') eq 'quit' });
	kill('CONT', $qemu);
	$s->ends_with(0, qr/TERM: powerdown \S+, quit \S+, powerdown/, 'refused: the guest is pressed');

	$s = running(fake => ['mute=quit'], options => ['-o', 'TERM=quit 50ms, powerdown 100s, kill']);
	$s->signal('TERM');
	$s->ends_with(0, qr/TERM: quit \S+, powerdown/, 'unanswered: the guest is pressed');

	$s = running(fake => ['mute=quit'], options => ['-o', 'TERM=quit 50ms, kill']);
	$s->signal('TERM');
	$s->ends_with(81, qr/TERM: quit \S+, kill/, 'unanswered: it is killed');
	is(($s->sent)[-1]{execute}, 'quit', 'and nothing was sent after quit');

	$s = running(fake => ['close=quit'], options => ['-o', 'TERM=quit 100s, kill']);
	$s->signal('TERM');
	$s->ends_with(80, qr/TERM: quit/, 'lost with its connection: it is sent again');
	is(scalar($s->sent(qr/^quit$/)), 2, 'twice in all');
};

subtest 'a QEMU that hangs at quit does not answer' => sub {
	my $s = running(fake => ['hang=quit'], env => { NOTIFY_SOCKET => "$work/nobody", WATCHDOG_USEC => 100_000 },
		options => ['-o', 'TERM=quit forever', '-o', 'UNRESPONSIVE=kill']);
	$s->signal('TERM');
	$s->ends_with(81, qr/QEMU was killed.*UNRESPONSIVE: kill/, 'it is noticed');
};

done_testing;
