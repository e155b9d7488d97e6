#!/usr/bin/perl
# A QEMU that talks nonsense, or not at all: the ladder ends it all the same, and the log stays short.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

my @ms = ('-o', 'TERM=powerdown 100ms, quit 100ms, kill');

sub count {
	my ($s, $words) = @_;
	my @found = $s->log =~ /$words/g;
	return scalar @found;
}

sub short_log {
	my ($s, $what) = @_;
	my @lines = split(/\n/, $s->log);
	cmp_ok(scalar @lines, '<', 20, "$what: no flood") or diag($s->log);
}

subtest 'lines in pieces' => sub {
	for my $how ('byte-by-byte', 'half-lines') {
		my $s = supervise(fake => [$how]);
		$s->wait_log(qr/QEMU runs/);
		$s->signal('TERM');
		$s->ends_with(0, qr/powered itself off/, $how);
		unlike($s->log, qr/dropped/, "$how: nothing is dropped");
	}
};

subtest 'garbage between the lines' => sub {
	my $s = supervise(fake => ['garbage']);
	$s->wait_log(qr/QEMU runs/);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'garbage');
	is(count($s, qr/QMP: [^\n]*; such lines are dropped\n/), 1, 'told once');
	short_log($s, 'garbage');
};

# None of them is nonsense: kernel addresses, a string with a NUL, more levels than jansson takes.
subtest 'lines with more than jansson holds' => sub {
	spew("$work/save", "#!/bin/sh\ncat >\"$work/event.\$\$\" && mv \"$work/event.\$\$\" \"$work/event\"\n");
	chmod(0755, "$work/save");
	my $s = running(fake => [], options => ['-v', '-o', 'GUEST_PANICKED=reset', '-o', "BLOCK_JOB_ERROR=run:$work/save 60s", '-o', 'MEM_UNPLUG_ERROR=stop, cont']);
	$s->fake(raw => '{"timestamp": {"seconds": 1}, "event": "GUEST_PANICKED", "data": {"action": "pause", "info": {"type": "hyper-v", "arg1": 18446735277665697792, "arg2": 0}}}');
	$s->wait_log(qr/the guest has panicked/);
	$s->wait_sent('system_reset');
	pass('the ladder of GUEST_PANICKED runs');
	$s->fake(raw => '{"event": "BLOCK_JOB_ERROR", "data": {"device": "a\u0000b", "n": 17, "address": 18446735277665697792}}');
	wait_until('the event', sub { -e "$work/event" });
	my $event = JSON::PP::decode_json(slurp("$work/event"));
	is($event->{data}{device}, "a\0b", 'a string with a NUL is whole');
	is($event->{data}{n}, 17, 'another number is the same');
	cmp_ok(abs($event->{data}{address} - 18446735277665697792), '<', 4096, 'a big one is nearly');
	$s->fake(raw => '{"event": "MEM_UNPLUG_ERROR", "data": ' . '[' x 5000 . ']' x 5000 . '}');
	$s->wait_sent('cont');
	delete $s->{public}; # which takes no more levels either
	pass('nor is a deep one lost');
	$s->fake(set => { returns => { 'query-status' => '{"singlestep": false, "running": true, "x": 18446744073709551615, "status": "paused"}' } }, event => 'STOP');
	wait_until('the run state', sub { ($s->state->{'run-state'} // '') eq 'paused' });
	unlike($s->log, qr/dropped/, 'nothing is dropped');
	$s->signal('QUIT');
	$s->end;
};

subtest 'answers to nobody' => sub {
	my $s = supervise(fake => ['wrong-ids'], options => \@ms);
	$s->wait_log(qr/an answer to no command of ours; such lines are dropped/);
	$s->signal('TERM');
	$s->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown \S+, quit \S+, kill/, 'wrong ids');
	is(count($s, qr/dropped/), 1, 'told once');
};

subtest 'every answer twice' => sub {
	my $s = supervise(fake => ['twice'], options => ['-o', 'USR2=stop, cont']);
	$s->wait_log(qr/QEMU runs/);
	$s->signal('USR2');
	$s->wait_sent('cont');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'twice');
	unlike($s->log, qr/lines are dropped|is lost/, 'the second one is not heard');
};

subtest 'no answers' => sub {
	for my $mute ('query-status', 'migrate-set-capabilities', 'human-monitor-command', 'set-action', 'qom-get') {
		my $s = supervise(fake => ["mute=$mute", 'base=0xb000'], options => ['-o', 'TERM=powerdown 300ms, quit 10s, kill']);
		$s->wait_sent('qmp_capabilities');
		$s->signal('TERM');
		my $status = $s->end;
		ok($status == 0 || $status == 80, "$mute: ended, status $status") or diag($s->log);
		short_log($s, "no answer to $mute");
	}
	my $s = supervise(fake => ['mute=qmp_capabilities,query-status,system_powerdown,quit'], options => \@ms);
	$s->wait_sent('qmp_capabilities');
	$s->signal('TERM');
	$s->ends_with(81, qr/QEMU was killed/, 'none at all');
};

subtest 'floods of events' => sub {
	my @kinds = (['STOP'], ['STOP', 'RESUME'], ['BLOCK_IO_ERROR', 'RTC_CHANGE', 'UNHEARD_OF'], ['RESET', 'GUEST_PANICKED']);
	for my $kinds (@kinds) {
		my $s = supervise(fake => [], options => ['-v', '-o', 'BLOCK_IO_ERROR=qmp:query-status, cont', '-o', 'RTC_CHANGE=status']);
		$s->wait_log(qr/QEMU runs/);
		my $before = time;
		$s->fake(flood => $kinds);
		is($s->{public}->status, 'running', "@$kinds: the flood is taken in");
		$s->signal('TERM');
		$s->end;
		my $seconds = time - $before + 1;
		ok($s->log =~ /SHUTDOWN: guest-shutdown\n.*\nqemu-supervise: \S+: ended: .*\n\z/s, "@$kinds: ended in order");
		ok($s->log =~ /repeated \d{4,5} times/, "@$kinds: lines are counted");
		cmp_ok(count($s, qr/\n/), '<', 40 + 20 * $seconds, "@$kinds: not written");
	}
};

subtest 'it dies' => sub {
	my %die = map { $_ => supervise(fake => ["die=$_:KILL", 'base=0xb000']) }
		qw(query-status migrate-set-capabilities human-monitor-command qom-get set-action system_powerdown);
	$die{quit} = supervise(fake => ['ignore=system_powerdown', 'die=quit:KILL'], options => ['-o', 'TERM=powerdown 10ms, quit 10s, kill']);
	for my $command (sort keys %die) {
		$die{$command}->wait_sent('qmp_capabilities');
		$die{$command}->signal('TERM');
		$die{$command}->ends_with(83, qr/QEMU died of SIGKILL/, "of $command");
	}
	for my $state (qw(prelaunch inmigrate paused suspended io-error watchdog guest-panicked internal-error postmigrate
		shutdown save-vm restore-vm finish-migrate debug colo preconfig nonsense)) {
		my $s = running(fake => ["state=$state"]);
		$s->fake(die => 'KILL');
		my $expected = $state =~ /postmigrate|shutdown/ ? qr/^(?:0|83)$/ : qr/^8[23]$/;
		like($s->end, $expected, "in run state $state") or diag($s->log);
		ok(!-e $s->dir, "$state: nothing left");
	}
	my $s = running(fake => ['flushes']);
	$s->signal('TERM');
	$s->wait_log(qr/SHUTDOWN/);
	$s->fake(die => 'KILL');
	$s->ends_with(83, qr/QEMU died of SIGKILL/, 'while it flushes');
};

# What does not fit into the socket is kept, up to QMP_UNREAD_MAX; then there is another connection.
subtest 'it does not read' => sub {
	my $s = running(fake => [], options => \@ms);
	$s->fake(unread => 1);
	$s->signal('USR1');
	wait_until('two signals', sub { $s->signal('TERM'); $s->log =~ /already under way/ });
	$s->ends_with(81, qr/QEMU was killed .*powerdown \S+, quit \S+, kill/, 'the ladder ends it');

	my @signals = ('HUP', 'PWR', 'USR1', 'USR2', 'ALRM', 'VTALRM', 'PROF', 'XCPU', 'XFSZ', 'IO', 'STKFLT');
	my $long = 'x' x 120_000;
	$s = running(fake => [], options => ['-v', map { ('-o', qq($_=qmp:{"execute":"cont","arguments":{"long":"$long"}})) } @signals]);
	$s->fake(unread => 1);
	delete $s->{public};
	$s->signal($_) for @signals;
	$s->wait_log(qr/QMP: QEMU does not read its commands\n.*QMP is there again/s);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'by the public socket');
};

subtest 'no greeting' => sub {
	my $s = supervise(fake => ['no-greeting'], options => \@ms);
	wait_until('QEMU', sub { $s->state->{pid} });
	is($s->state->{phase}, 'starting', 'it is still starting');
	$s->signal('TERM');
	$s->ends_with(81, qr/QEMU was killed/, 'no greeting');
	like($s->log, qr/powerdown: no QMP connection; waiting for it\n.*quit: no QMP connection/s, 'told at each rung');

	$s = supervise(fake => ['greeting-after=300']);
	wait_until('QEMU', sub { $s->state->{pid} });
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'a late greeting');
	like($s->log, qr/waiting for it\n.*power button pressed/s, 'the button is pressed when QMP is there');
};

subtest 'a line of 100 MB' => sub {
	my $s = supervise(fake => ['long-line=100000000'], options => ['-v']);
	$s->wait_log(qr/QEMU runs/);
	like($s->log, qr/over 16 MiB/, 'it ends the connection');
	my ($peak) = slurp("/proc/$s->{pid}/status") =~ /^VmHWM:\s+(\d+) kB/m;
	cmp_ok($peak, '<', 80_000, 'and is not kept');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'long line');
	is(count($s, qr/connection is lost while QEMU lives; connecting again/), 1, 'told once');
	short_log($s, 'long line');
};

subtest 'control is closed while QEMU lives' => sub {
	for my $gone ([], ['control-gone']) {
		my $what = @$gone ? 'control does not come back: qmp' : 'control comes back';
		my $s = supervise(fake => ['close=migrate-set-capabilities', @$gone], options => ['-v']);
		$s->wait_log(qr/QMP is there again/);
		$s->signal('TERM');
		$s->ends_with(0, qr/powered itself off/, $what);
		is(count($s, qr/is lost while QEMU lives/), 1, "$what: told once");
		is(scalar(() = $s->sent(qr/^qmp_capabilities$/)), @$gone ? 1 : 2, "$what: the right socket");
	}
	my $s = supervise(fake => ['close=system_powerdown'], options => ['--press-interval', '100ms']);
	$s->wait_log(qr/QEMU runs/);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'in the middle of the press');
	like($s->log, qr/QMP is there again\n.*power button pressed\n/s, 'it is pressed again: QEMU may not have read it');

	$s = supervise(fake => ['close=system_powerdown', 'control-gone'], options => \@ms);
	$s->wait_log(qr/QEMU runs/);
	my $hog = $s->qmp;
	$s->signal('TERM');
	$s->ends_with(81, qr/QEMU was killed/, 'no way back');
};

subtest 'QEMU refuses' => sub {
	my $s = supervise(fake => ['refuse=system_powerdown,quit']);
	$s->wait_log(qr/QEMU runs/);
	$s->signal('TERM');
	$s->ends_with(81, qr/QEMU was killed/, 'refused rungs');
	like($s->log, qr/powerdown: system_powerdown is refused here\n.*quit: quit is refused here\n/s, 'cost no time');

	$s = supervise(fake => ['refuse=set-action,migrate-set-capabilities,cont,inject-nmi']);
	$s->wait_log(qr/QEMU runs/);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'without set-action');
	like($s->log, qr/QMP set-action: set-action is refused here/, 'told');

	$s = supervise(fake => ['refuse=set-action'], options => ['-o', 'ALRM=reboot 1s, status']);
	$s->wait_log(qr/QEMU runs/);
	$s->signal('ALRM');
	$s->wait_log(qr/reboot: set-action is refused here\n.*: status: /s);
	ok(!$s->state->{rebooting}, 'no reboot is in progress');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'and a stop is one');

	$s = supervise(fake => ['refuse=qmp_capabilities'], options => \@ms);
	$s->wait_log(qr/connection is lost/);
	$s->signal('TERM');
	$s->ends_with(81, qr/QEMU was killed/, 'no capabilities');
	short_log($s, 'no capabilities');
};

subtest 'QEMU hangs' => sub {
	my %at = map {
		# Elsewhere than usual, or the press would come before qom-get.
		$_ => supervise(fake => ["hang=$_", 'base=0xb000'], options => \@ms)
	} qw(qmp_capabilities query-status human-monitor-command set-action qom-get system_powerdown);
	$at{quit} = supervise(fake => ['ignore=system_powerdown', 'hang=quit'], options => \@ms);
	for my $command (sort keys %at) {
		$at{$command}->wait_sent('qmp_capabilities');
		$at{$command}->signal('TERM');
	}
	for my $command (sort keys %at) {
		my $s = $at{$command};
		$s->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown \S+, quit \S+, kill/, "hangs at $command");
		short_log($s, $command);
	}
	like($at{'quit'}->log, qr/; TERM: powerdown \S+, quit [0-7]\.\ds, /, 'a rung keeps its TIME');
};

done_testing;
