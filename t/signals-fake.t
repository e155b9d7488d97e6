#!/usr/bin/perl
# Signals: who sent them, many of them, those that are ignored or not asked for.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

sub stop {
	my ($s, $what) = @_;
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, $what);
}

subtest 'who sent it' => sub {
	my $s = running(fake => []);
	my $shell = open(my $in, '|-', 'sh', '-c', "kill -USR1 $s->{pid}; read end") || die;
	$s->wait_log(qr/USR1 from pid $shell \(sh\): status\n/);
	close($in);
	stop($s, 'who');
};

subtest '5,000 signals in a row' => sub {
	my $s = running(fake => ['ignore=system_powerdown'], options => ['--press-interval', 0]);
	for my $i (1 .. 5000) {
		$s->signal(('USR1', 'HUP', 'WINCH', 'ALRM', 'CHLD', 'USR2', 'IO', 'PIPE')[$i % 8]);
	}
	$s->signal('USR1');
	is($s->qmp->status, 'running', 'the VM goes on');
	$s->signal('TERM') for 1 .. 500;
	$s->wait_log(qr/power button pressed/);
	$s->signal('TERM', 'HUP', 'PWR') for 1 .. 1000;
	$s->signal('QUIT');
	$s->ends_with(80, qr/; TERM: powerdown \S+; (PWR: .*; )?QUIT: quit \S+$/, 'many');
	cmp_ok(scalar $s->sent(qr/system_powerdown/), '<=', 2, 'the button was not pressed for each');
};

subtest 'signals that nobody asked for' => sub {
	my $s = running(fake => []);
	my @signals = qw(ALRM VTALRM PROF XCPU XFSZ IO STKFLT);
	for my $name (@signals) {
		$s->signal($name);
		$s->wait_log(qr/^qemu-supervise: \S+: $name from pid $$ .*: no ladder for it, dropped$/m);
	}
	for my $number (35, 50, 64) {
		kill($number, $s->{pid});
		my $name = 'RTMIN\+' . ($number - 34);
		$s->wait_log(qr/$name from pid $$ .*: no ladder for it, dropped\n/);
	}
	# The C library keeps these for its threads, of which we have none.
	for my $number (32, 33) {
		kill($number, $s->{pid});
		$s->wait_log(qr/signal $number from pid $$ .*: no ladder for it, dropped\n/);
	}
	$s->signal('PIPE', 'WINCH', 'CONT', 'CHLD', 'URG');
	is($s->state->{phase}, 'running', 'the VM goes on');
	stop($s, 'nobody asked');
};

subtest 'signals that somebody asked for' => sub {
	my @rows = map { ('-o', "$_=nmi") } qw(USR2 ALRM WINCH URG TSTP RTMIN+5);
	my $s = running(fake => [], options => \@rows);
	my $n = 0;
	for my $signal ('USR2', 'ALRM', 'WINCH', 'URG', 'TSTP', 39) {
		kill($signal, $s->{pid});
		$n++;
		wait_until("nmi for $signal", sub { $s->sent(qr/inject-nmi/) == $n });
		pass("$signal begins its ladder");
	}
	stop($s, 'somebody asked');
};

subtest 'ignored when it was started' => sub {
	my $s = running(fake => [], setup => sub { $SIG{$_} = 'IGNORE' for qw(HUP INT QUIT) });
	$s->signal('HUP', 'INT', 'QUIT', 'USR1');
	$s->wait_log(qr/USR1 from/);
	unlike($s->log, qr/(HUP|INT|QUIT) from/, 'they are dropped');
	is(scalar $s->sent(qr/system_/), 0, 'and do nothing');
	stop($s, 'ignored');

	$s = running(fake => [], setup => sub { $SIG{$_} = 'IGNORE' for qw(TERM PWR USR1 CHLD) });
	$s->signal('USR1');
	$s->wait_log(qr/status: running/);
	stop($s, 'TERM cannot be ignored, nor the end of QEMU');
};

subtest 'TERM in the moment of the start' => sub {
	for my $try (1 .. 10) {
		my $s = supervise(fake => []);
		wait_until('something', sub { -e $s->dir . ('', '/lock', '/control', '/qmp', '/state.json')[$try % 5] });
		$s->signal('TERM');
		$s->ends_with(0, qr/powered itself off/, "try $try");
	}
};

done_testing;
