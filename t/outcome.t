#!/usr/bin/perl
# How it ended: every exit status, and the last line that tells it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $ms = 'TERM=powerdown 50ms, quit 50ms, kill';

# The fake does something by itself; the supervisor only sees it.
sub by_itself {
	my ($status, $words, $what, $fake, %does) = @_;
	my $s = running(fake => $fake);
	$s->fake(%does);
	$s->ends_with($status, qr/: ended: $words \(status $status\)$/, $what);
}

subtest 'by itself: the reasons of SHUTDOWN' => sub {
	my %reasons = (
		'guest-shutdown' => [0, qr/the guest powered itself off/],
		'guest-reset' => [84, qr/the guest asked for a reboot and QEMU ended instead/],
		'guest-panic' => [82, qr/the guest panicked/],
		'host-qmp-quit' => [80, qr/the guest was not shut down: quit/],
		'host-qmp-system-reset' => [80, qr/the guest was not shut down: system_reset .*/],
		'host-signal' => [80, qr/the guest was not shut down: a signal reached QEMU/],
		'host-ui' => [80, qr/the guest was not shut down: its window was closed/],
		'host-error' => [83, qr/QEMU ended because of an error of the host/],
		'snapshot-load' => [83, qr/QEMU ended: snapshot-load/],
	);
	by_itself(@{ $reasons{$_} }, $_, [], shutdown => $_) for sort keys %reasons;
};

subtest '83: QEMU died' => sub {
	by_itself(83, qr/QEMU died of SIGSEGV(, core dumped)?/, 'a signal', [], die => 'SEGV');
	by_itself(83, qr/QEMU died of SIGKILL/, 'SIGKILL, but not ours', [], die => 'KILL');
	by_itself(83, qr/QEMU ended with status 1/, 'a status', [], die => 1);
	by_itself(83, qr/QEMU ended with status 7/, 'a status behind a good reason', ['exit=7'], shutdown => 'guest-shutdown');
	by_itself(83, qr/QEMU ended without a SHUTDOWN event/, 'no SHUTDOWN', [], die => 0);
	by_itself(83, qr/QEMU ended without a SHUTDOWN event/, 'no SHUTDOWN at quit', ['no-shutdown-event'], shutdown => 'host-qmp-quit');
};

subtest '82: a panic that was seen before counts more' => sub {
	my $s = running(fake => []);
	$s->fake(event => 'GUEST_PANICKED', data => { action => 'pause' }, state => 'guest-panicked');
	$s->wait_log(qr/the guest has panicked/);
	$s->signal('TERM');
	$s->ends_with(82, qr/the guest panicked \(status 82\); TERM: powerdown \S+, agent-shutdown \S+, quit/, 'panic, then quit');
	like($s->log, qr/powerdown: the guest has panicked\n/, 'nobody was asked to power off');
};

subtest '80: a reset that is not an answer' => sub {
	my $s = running(fake => ['en=0x0020']);
	$s->signal('TERM');
	$s->wait_log(qr/waiting for it/);
	$s->fake(reset => 1);
	$s->ends_with(80, qr/not shut down: it was reset before it listened to its power button \(status 80\); TERM: powerdown/,
		'nobody has asked it yet');
};

subtest 'no guest ever ran' => sub {
	for my $state (qw(prelaunch inmigrate preconfig)) {
		my $s = running(fake => ["state=$state"]);
		$s->signal('TERM');
		$s->ends_with(0, qr/no guest was running \(status 0\); TERM: powerdown \S+, agent-shutdown \S+, quit \S+$/, $state);
		like($s->log, qr/powerdown: no guest is running \($state\)/, "$state: nobody to ask");
		is_deeply([$s->sent(qr/system_powerdown|cont/)], [], "$state: no press");
	}
};

subtest 'migrated away' => sub {
	my $s = running(fake => []);
	$s->fake(event => 'STOP', state => 'finish-migrate');
	$s->fake(event => 'MIGRATION', data => { status => 'completed' }, state => 'postmigrate');
	$s->fake(shutdown => 'host-qmp-quit');
	$s->ends_with(0, qr/saved or migrated away \(status 0\)$/, 'the sender');
	my @events = (
		{ event => 'MIGRATION', data => { status => 'completed' } },
		{ event => 'RESUME', state => 'running' }
	);
	for my $order ([@events], [reverse @events]) {
		$s = running(fake => ['state=inmigrate']);
		$s->fake(%$_) for @$order;
		$s->fake(shutdown => 'host-qmp-quit');
		$s->ends_with(80, qr/not shut down: quit \(status 80\)$/, "the receiver, $order->[0]{event} first");
	}
};

subtest 'while being stopped' => sub {
	my $s = running(fake => ['reboots']);
	$s->signal('TERM');
	$s->ends_with(85, qr/the guest reset itself instead of powering off.*\(status 85\); TERM: powerdown \d+\.\ds$/, '85: it reboots');

	$s = running(fake => ['ignore=system_powerdown'], options => ['-o', $ms]);
	$s->signal('TERM');
	$s->ends_with(80, qr/not shut down: quit \(status 80\); TERM: powerdown \S+, quit \S+$/, '80: quit by us');

	$s = running(fake => ['ignore=system_powerdown,quit'], options => ['-o', $ms]);
	$s->signal('TERM');
	my $pid = $s->qemu;
	$s->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown \S+, quit \S+, kill \d\.\ds$/, '81: killed by us');
	like($s->log, qr/powerdown 50ms is over and the VM still runs\n.*kill: SIGKILL to QEMU, pid $pid\n/s, 'each rung is told');

	$s = running(fake => ['die=system_powerdown:ABRT']);
	$s->signal('TERM');
	$s->ends_with(83, qr/QEMU died of SIGABRT.*\(status 83\); TERM: powerdown/, '83: it dies of the press');

	$s = running(fake => ['ignore=system_powerdown'], options => ['-o', 'TERM=powerdown forever']);
	$s->signal('TERM');
	$s->wait_log(qr/power button pressed/);
	$s->fake(shutdown => 'guest-shutdown');
	$s->ends_with(0, qr/powered itself off \(status 0\); TERM: powerdown/, '0: whoever asked');
};

subtest '-no-shutdown: the first SHUTDOWN tells the truth' => sub {
	my $s = running(command => [fake_qemu('-no-shutdown')]);
	$s->fake(shutdown => 'guest-shutdown');
	$s->wait_log(qr/SHUTDOWN: guest-shutdown/);
	is($s->state->{phase}, 'running', 'QEMU stays');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off \(status 0\); TERM: powerdown \S+, agent-shutdown \S+, quit/, '-no-shutdown');
	like($s->log, qr/powerdown: the guest is down already/, 'nobody is asked any more');
};

subtest 'several ladders in one line' => sub {
	my $s = running(fake => ['ignore=system_powerdown'], options => ['-o', 'TERM=powerdown forever']);
	$s->signal('TERM');
	$s->wait_log(qr/power button pressed/);
	$s->signal('QUIT');
	$s->ends_with(80, qr/\(status 80\); TERM: powerdown \d+\.\ds; QUIT: quit \d+\.\ds$/, 'TERM, then QUIT');
};

done_testing;
