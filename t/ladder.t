#!/usr/bin/perl
# A ladder in progress, and what triggers do to it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX qw(SIGRTMIN);
use T;

my @ignores = (fake => ['ignore=system_powerdown']);	# a guest that takes its time

# A supervisor whose TERM ladder has pressed the button.
sub stopping {
	my $s = running(@ignores, @_);
	$s->signal('TERM');
	$s->wait_log(qr/power button pressed/);
	$s->wait_sent('system_powerdown');	# the fake keeps it when it has read it
	return $s;
}

sub quit {
	my ($s, $what) = @_;
	$s->signal('QUIT');
	$s->ends_with(80, qr/\(status 80\)/, $what);
}

# Signals that the supervisor reads together.
sub together {
	my ($s, @signals) = @_;
	$s->signal('STOP');
	wait_until('stopped', sub { slurp("/proc/$s->{pid}/stat") =~ /\) T / });
	$s->signal(@signals, 'CONT');
}

subtest 'the same again' => sub {
	my $s = stopping(options => ['--press-interval', 0]);
	$s->signal('TERM');
	$s->wait_log(qr/TERM from pid $$ \((perl|ladder\.t)\): already under way, (21\d|220)s left/);
	is(scalar $s->sent(qr/system_powerdown/), 1, 'no second press');
	quit($s, 'the same again');
};

subtest 'faster, slower, of another kind' => sub {
	my $s = running(@ignores);
	$s->signal('PWR');
	$s->wait_log(qr/power button pressed/);
	$s->signal('TERM');
	$s->wait_log(qr/TERM from pid $$ .*: ignored, PWR ends the VM sooner \(\d+s left\)/);
	$s->signal('HUP');
	$s->wait_log(qr/HUP from pid $$ .*: ignored, the VM is being ended \(PWR\)/);
	$s->signal('USR1');
	$s->wait_log(qr/status: running, QEMU's pid is \d+, PWR: powerdown, \d+s left; power button: listens/);
	is($s->state->{ladder}{trigger}, 'PWR', 'state.json tells which');
	is($s->state->{phase}, 'stopping', 'and that it is stopping');
	quit($s, 'QUIT');
	like($s->log, qr/QUIT from pid $$ .*: replaces PWR, which had \d+s left\n.*PWR: its ladder is dropped\n/s, 'QUIT is faster');
	is(scalar $s->sent(qr/system_reset/), 0, 'no reset');
};

subtest 'INT climbs' => sub {
	my $s = running(@ignores);
	$s->signal('INT');
	$s->wait_log(qr/power button pressed/);
	$s->signal('INT');
	$s->ends_with(80, qr/; INT: powerdown \S+, agent-shutdown \S+, quit \S+$/, 'INT on INT');

	$s = stopping();
	$s->signal('INT');
	$s->ends_with(80, qr/; TERM: powerdown \S+, agent-shutdown \S+, quit \S+$/, 'INT on TERM');
	like($s->log, qr/INT from pid $$ .*: climbs to the next rung/, 'said');

	$s = stopping(options => ['-o', 'TERM=powerdown forever']);
	$s->signal('INT');
	$s->wait_log(qr/INT from .*: powerdown is the last rung already/);
	quit($s, 'the last rung');

	$s = running(@ignores);
	$s->signal('PWR');
	$s->wait_log(qr/power button pressed/);
	$s->signal('INT');
	$s->wait_log(qr/INT from .*: ignored, PWR ends the VM sooner/);
	quit($s, 'INT on PWR');
};

subtest 'together' => sub {
	my $s = running(@ignores);
	together($s, 'TERM', 'HUP');
	$s->wait_log(qr/power button pressed/);
	like($s->log, qr/HUP from pid $$ .*: dropped, it came together with TERM/, 'HUP is dropped');
	quit($s, 'TERM and HUP');
	is(scalar $s->sent(qr/system_reset/), 0, 'no reset');

	$s = running(@ignores);
	together($s, 'TERM', 'PWR', 'QUIT', 'INT');
	$s->ends_with(80, qr/; QUIT: quit \S+$/, 'the soonest counts');
	like($s->log, qr/$_ from pid $$ .*: dropped, it came together with QUIT/, "$_ is dropped") for qw(TERM PWR INT);
};

subtest 'before QMP is there' => sub {
	my $s = supervise(fake => ['greeting-after=400']);
	wait_until('QEMU', sub { $s->state->{pid} });
	$s->signal('HUP');
	$s->wait_log(qr/HUP from .*: reset\n.*reset: no QMP connection; waiting for it/);
	$s->signal('TERM');
	$s->wait_log(qr/TERM from .*\n.*HUP: its ladder is dropped/);
	$s->ends_with(0, qr/powered itself off \(status 0\); TERM: powerdown/, 'HUP, then TERM');
	is(scalar $s->sent(qr/system_reset/), 0, 'no reset');

	$s = supervise(fake => ['greeting-after=300']);
	wait_until('QEMU', sub { $s->state->{pid} });
	$s->signal('HUP');
	$s->wait_sent('system_reset');
	quit($s, 'HUP alone is done when QMP is there');
};

subtest 'ladders of events' => sub {
	my $s = running(fake => [], options => ['-o', 'BLOCK_IO_ERROR=nmi 60s', '-o', 'WATCHDOG=stop, cont']);
	$s->fake(event => 'BLOCK_IO_ERROR', count => 500);
	$s->fake(event => 'WATCHDOG');
	$s->wait_sent('cont');
	is(scalar $s->sent(qr/inject-nmi/), 1, 'a flood runs its ladder once');
	is_deeply([$s->sent(qr/^(stop|cont)$/)], ['stop', 'cont'], 'two rungs without TIME, in their order');
	$s->fake(event => 'WATCHDOG');
	wait_until('a second time', sub { $s->sent(qr/^cont$/) == 2 });
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'events');
	like($s->log, qr/BLOCK_IO_ERROR from QMP: nmi 60s\n.*BLOCK_IO_ERROR: its ladder is dropped/s, 'dropped by TERM');

	$s = running(fake => [], options => ['-o', 'GUEST_PANICKED=quit 10s, kill']);
	$s->fake(event => 'GUEST_PANICKED', state => 'guest-panicked');
	$s->ends_with(82, qr/panicked \(status 82\); GUEST_PANICKED: quit/, 'an event ends the VM');
};

subtest 'rungs that are refused' => sub {
	my $s = running(fake => ['refuse=inject-nmi'], options => ['-o', 'HUP=nmi 60s, qmp:no-such 60s, qmp:{"execute": "query-name", "arguments": {"a": [1, 2]}} 0, wakeup']);
	$s->signal('HUP');
	$s->wait_log(qr/wakeup: Unable to wake up/);
	like($s->log, qr/nmi: inject-nmi is refused here\n.*qmp: The command no-such has not been found\n/s, 'each is said');
	my ($sent) = grep { $_->{execute} eq 'query-name' } $s->sent;
	is_deeply($sent->{arguments}, { a => [1, 2] }, 'arguments of qmp:{...}');
	quit($s, 'refused');
};

subtest 'flushing after SHUTDOWN' => sub {
	my $s = running(fake => ['flushes'], options => ['-o', 'TERM=powerdown 200ms, kill']);
	$s->signal('TERM');
	$s->wait_log(qr/powerdown 200ms is over, but the guest is down and QEMU flushes its disks: 30s more/);
	is(scalar(() = $s->log =~ /SHUTDOWN: guest-shutdown/g), 1, 'SHUTDOWN was seen');
	$s->fake(exit => 1);
	$s->ends_with(0, qr/powered itself off \(status 0\); TERM: powerdown \S+$/, 'flushing');
};

done_testing;
