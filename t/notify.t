#!/usr/bin/perl
# Telling the init system: readiness, status, stops and extensions, the watchdog.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX;
use lib $FindBin::Bin;
use T;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

my $count = 0;

# What systemd would listen on. Datagrams are collected by got().
sub listener {
	my ($path) = @_;
	$path ||= "$work/notify." . ++$count;
	my $local = $path =~ s/^@/\0/r;
	my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $local, Blocking => 0) or die "notify socket: $!";
	return { path => $path, socket => $socket, got => [] };
}

# How many datagrams have been exactly, or match, that.
sub got {
	my ($n, $what) = @_;
	push @{ $n->{got} }, $_ while defined $n->{socket}->recv($_, 4096) && length;
	return scalar grep { ref $what ? $_ =~ $what : $_ eq $what } @{ $n->{got} };
}

sub wait_got {
	my ($n, $what, $times) = @_;
	return ok(wait_until("datagram $what", sub { got($n, $what) >= ($times || 1) }), $what);
}

sub stop {
	my ($s, $what) = @_;
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, $what);
}

my $stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000";

subtest 'from the start to the end' => sub {
	my $n = listener();
	my $s = running(fake => ['flushes', 'presses=2'], env => { NOTIFY_SOCKET => $n->{path} }, options => ['--press-interval', 0]);
	wait_got($n, 'READY=1');
	wait_got($n, 'STATUS=Guest: running');
	is($n->{got}[0], 'STATUS=Starting', 'its first word');
	wait_got($n, 'EXTEND_TIMEOUT_USEC=30000000');
	is(got($n, qr/STOPPING/), 0, 'nothing is stopping');
	$s->fake(state => 'paused', event => 'STOP');
	wait_got($n, 'STATUS=Guest: paused');
	$s->fake(state => 'running', event => 'RESUME');
	wait_got($n, 'STATUS=Guest: running', 2);
	$s->signal('TERM');
	wait_got($n, $stopping);
	wait_got($n, 'STATUS=Stopping (TERM): power button pressed');
	my $before = got($n, $stopping);
	$s->signal('TERM');
	$s->wait_log(qr/TERM from .*: already under way/);
	$s->signal('USR1');
	$s->wait_log(qr/status: running/);	# what was sent for the second TERM was sent by now
	cmp_ok(got($n, $stopping), '>', $before, 'and again at the second TERM');
	$before = got($n, $stopping);
	$s->fake(shutdown => 'guest-shutdown');
	wait_got($n, 'STATUS=The guest is down, QEMU is ending');
	wait_got($n, $stopping, $before + 1);
	$s->fake(exit => 1);
	$s->ends_with(0, qr/powered itself off/, 'notify');
	wait_got($n, 'STATUS=Ended: the guest powered itself off');
	is(got($n, 'READY=1'), 1, 'READY once');
	is(got($n, qr/WATCHDOG/), 0, 'no watchdog where none was asked for');
};

subtest 'the guest powers itself off' => sub {
	my $n = listener();
	my $s = running(fake => ['flushes'], env => { NOTIFY_SOCKET => $n->{path} });
	$s->fake(shutdown => 'guest-shutdown');
	wait_got($n, $stopping);
	$s->fake(exit => 1);
	$s->ends_with(0, qr/powered itself off \(status 0\)$/, 'by itself');
};

subtest 'an abstract socket, and one that is none' => sub {
	my $n = listener("\@qemu-supervise-test-$$");
	my $s = running(fake => [], env => { NOTIFY_SOCKET => $n->{path} });
	wait_got($n, 'READY=1');
	stop($s, 'abstract');
	$s = running(fake => [], env => { NOTIFY_SOCKET => 'vsock:2:1234' });
	like($s->log, qr/NOTIFY_SOCKET=vsock:2:1234 is neither a path nor an abstract name: not used/, 'said');
	stop($s, 'vsock');
	$s = running(fake => [], env => { NOTIFY_SOCKET => "$work/nobody" });
	like($s->log, qr/telling the init system failed .*: No such file/, 'nobody there: said');
	stop($s, 'nobody');
};

# The kernel keeps only a few datagrams for an init system that is busy.
subtest 'an init system that does not read' => sub {
	my $n = listener();
	my $filler = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $n->{path}, Blocking => 0);
	1 while $filler->send('x');
	my $s = supervise(fake => ['ignore=system_powerdown'], env => { NOTIFY_SOCKET => $n->{path} });
	$s->wait_log(qr/telling the init system failed .*: Resource temporarily unavailable/);
	$s->wait_log(qr/QEMU runs/);
	got($n, 'x');
	wait_got($n, 'READY=1');
	1 while $filler->send('x');
	$s->signal('TERM');
	$s->wait_log(qr/power button pressed/);
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'stops all the same');
	cmp_ok(scalar(() = $s->log =~ /telling the init system failed/g), '<=', 2, 'told once each time');
};

subtest '--ready' => sub {
	my $n = listener();
	my @ready = (env => { NOTIFY_SOCKET => $n->{path} }, options => ['--ready', 'listening']);
	my $s = running(fake => ['en=0x0020'], @ready);
	wait_until('looks', sub { (grep { ($_->{arguments}{'command-line'} // '') =~ m{^i /h} } $s->sent) >= 3 });
	is(got($n, 'READY=1'), 0, 'not ready while it does not listen');
	$s->fake(set => { en => '0x0120' });
	wait_got($n, 'READY=1');
	$s->wait_log(qr/the guest listens to its power button/);
	stop($s, 'listening');

	$n = listener();
	$s = running(fake => ['no-hmp'], @ready, env => { NOTIFY_SOCKET => $n->{path} });
	wait_got($n, 'READY=1');
	$s->wait_log(qr/whether the guest listens cannot be known; ready, as it is started/);
	stop($s, 'where it cannot be known');

	$n = listener();
	$s = running(fake => [], env => { NOTIFY_SOCKET => $n->{path} }, options => ['-r', 'agent']);
	wait_got($n, 'READY=1');
	$s->wait_log(qr/this VM has no guest agent channel; ready, as it is started/);
	stop($s, 'agent');

	$n = listener();
	$s = supervise(fake => ['no-greeting'], env => { NOTIFY_SOCKET => $n->{path} }, options => ['-o', 'TERM=kill']);
	wait_got($n, 'STATUS=Starting');
	$s->signal('TERM');
	$s->end;
	is(got($n, 'READY=1'), 0, 'never ready without an answer');
};

# The timeout that its wait for events has: -1, no timer.
sub has_no_timer {
	my ($s) = @_;
	return wait_until('no timer', sub { slurp("/proc/$s->{pid}/syscall") =~ /^(?:\S+ ){4}0x(?:ffffffff){1,2} / });
}

subtest 'readiness has a bound' => sub {
	my %late = (
		agent => ['the guest agent has not answered', [agent => 'fake'], ['agent=silent']],
		listening => ['the guest has not listened to its power button', [], ['en=0x0020']],
		started => ['QEMU, pid \d+, has not answered', [], ['no-greeting']],
	);
	for my $ready (sort keys %late) {
		my ($why, $with, $fake) = @{ $late{$ready} };
		my $n = listener();
		my $s = supervise(fake => $fake, @$with, env => { NOTIFY_SOCKET => $n->{path} },
			options => ['-r', $ready, '--boot-timeout', '1s', '-o', 'TERM=kill']);
		wait_got($n, 'READY=1');
		$s->wait_log(qr/$why for 1s since its start; the VM counts as started\n/);
		ok($ready eq 'started' || has_no_timer($s), "$ready: nothing is awaited any more");
		$s->signal('TERM');
		$s->ends_with(81, qr/QEMU was killed/, $ready);
		cmp_ok(got($n, qr/^EXTEND_TIMEOUT/), '>=', 1, "$ready: time was asked for");
	}

	my $n = listener();
	my $s = supervise(fake => ['en=0x0020'], env => { NOTIFY_SOCKET => $n->{path} }, options => ['-r', 'listening', '--boot-timeout', '1s']);
	$s->wait_log(qr/QEMU runs/);
	$s->signal('TERM');
	$s->wait_log(qr/has not listened to its power button for 1s since its start\n/);
	$s->ends_with(80, qr/quit/, 'while it is stopped');
	is(got($n, 'READY=1'), 0, 'it does not get ready any more');
};

subtest '--notify-fd' => sub {
	my $n = listener();
	pipe(my $read, my $write) or die;
	my $s = running(
		fake => [], env => { NOTIFY_SOCKET => $n->{path} }, options => ['--notify-fd', 7],
		setup => sub { POSIX::dup2(fileno($write), 7) }
	);
	close($write);
	is(join('', <$read>), "\n", 'a newline, then the end of the file');
	wait_got($n, 'READY=1');
	stop($s, 'both at once');
};

subtest 'WATCHDOG' => sub {
	my $n = listener();
	my %env = (NOTIFY_SOCKET => $n->{path}, WATCHDOG_USEC => 200_000);
	my $s = running(fake => [], env => \%env, setup => sub { $ENV{WATCHDOG_PID} = $$ });
	wait_got($n, 'WATCHDOG=1', 3);
	wait_until('QEMU being asked each time', sub { $s->sent(qr/query-status/) >= 4 });
	unlike($s->log, qr/not answered/, 'and answers');
	stop($s, 'watchdog');

	$n = listener();
	$env{NOTIFY_SOCKET} = $n->{path};
	$s = running(fake => [], env => { %env, WATCHDOG_PID => 1 });
	wait_got($n, 'READY=1');
	stop($s, 'the watchdog of another process');
	is(got($n, qr/WATCHDOG/), 0, 'is not ours');
};

subtest 'UNRESPONSIVE' => sub {
	my $n = listener();
	my %env = (NOTIFY_SOCKET => $n->{path}, WATCHDOG_USEC => 200_000);
	my $s = running(fake => [], env => \%env);
	my $qemu = $s->qemu;
	kill('STOP', $qemu);
	$s->wait_log(qr/QEMU has not answered for 200ms/);
	wait_got($n, 'STATUS=QEMU does not answer');
	wait_got($n, 'WATCHDOG=1', got($n, 'WATCHDOG=1') + 4);
	kill('CONT', $qemu);
	$s->wait_log(qr/QEMU answers again/);
	is(scalar(() = $s->log =~ /has not answered/g), 1, 'raised once');
	stop($s, 'a hung disk costs no VM its life');

	# Only we stand still, as in a frozen cgroup: QEMU was not even asked.
	$n = listener();
	my $kill = ['-o', 'UNRESPONSIVE=kill'];
	$s = running(fake => [], env => { NOTIFY_SOCKET => $n->{path}, WATCHDOG_USEC => 2_000_000 }, options => $kill);
	wait_got($n, 'WATCHDOG=1', 2);
	my $thawed = clock_gettime(CLOCK_MONOTONIC) + 3;
	$s->signal('STOP');
	wait_until('a frozen time that is longer than the period', sub { clock_gettime(CLOCK_MONOTONIC) > $thawed });
	$s->signal('CONT');
	wait_got($n, 'WATCHDOG=1', got($n, 'WATCHDOG=1') + 2);
	unlike($s->log, qr/has not answered/, 'a supervisor that stood still itself says nothing of QEMU');
	stop($s, 'and does it no harm');

	$s = running(fake => [], env => { %env, NOTIFY_SOCKET => listener()->{path} }, options => $kill);
	kill('STOP', $s->qemu);
	$s->ends_with(81, qr/QEMU was killed \(status 81\); UNRESPONSIVE: kill/, 'where the user decides otherwise');
};

done_testing;
