#!/usr/bin/perl
# SIGRTMIN with a number of seconds: all over by then.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my @deaf = ('ignore=system_powerdown');
my @deaf_to_quit = ('ignore=system_powerdown,quit');

sub stopping {
	my $s = running(@_);
	$s->signal('TERM');
	$s->wait_log(qr/power button pressed/);
	return $s;
}

subtest 'it begins TERM\'s ladder' => sub {
	my $s = running(fake => []);
	$s->deadline(60);
	$s->ends_with(0, qr/powered itself off \(status 0\); TERM: powerdown/, 'a guest that obeys');
	like($s->log, qr/deadline from pid \d+ \((?:kill|gone)\): all over in 60s\n.*TERM from pid \d+ \((?:kill|gone)\): powerdown/, 'who and how long');

	$s = running(fake => \@deaf_to_quit);
	$s->deadline(1);
	$s->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown \S+, .*quit \S+, kill/, 'a guest that does not');
	is(scalar $s->sent(qr/^quit$/), 1, 'quit had its turn');

	$s = running(fake => \@deaf_to_quit);
	$s->deadline(0);
	$s->ends_with(81, qr/QEMU was killed/, 'no time at all');
	like($s->log, qr/powerdown 180s has no more time before the deadline and the VM still runs/, 'said');
};

subtest 'it tightens what is in progress' => sub {
	my $s = stopping(fake => \@deaf, options => ['--press-interval', 0]);
	$s->deadline(30);
	$s->wait_log(qr/all over in 30s/);
	wait_until('state.json', sub { $s->state->{ladder}{deadline} });
	$s->signal('USR1');
	$s->wait_log(qr/TERM: powerdown, (30|2\d)s left/);
	$s->deadline(60);
	$s->wait_log(qr/deadline of 60s from pid \d+ \((?:kill|gone)\): ignored, there is an earlier one/);
	$s->deadline(4);
	$s->ends_with(80, qr/not shut down: quit \(status 80\); TERM: powerdown \S+, .*quit \S+$/, 'tightened twice');
	is(scalar $s->sent(qr/system_powerdown/), 1, 'in place: no second press');
};

subtest 'what is no deadline' => sub {
	my $s = running(fake => []);
	kill(34, $s->{pid});
	$s->wait_log(qr/RTMIN from pid $$ .*: ignored, it brings no number of seconds/);
	system("/bin/kill", "--queue=-1", "-s", "RTMIN", $s->{pid});
	$s->wait_log(qr/RTMIN from pid \d+ \((?:kill|gone)\): ignored/);
	is($s->state->{phase}, 'running', 'nothing begins');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'no deadline');
};

subtest 'without a bound in the ladder' => sub {
	my $s = stopping(fake => \@deaf_to_quit, options => ['-o', 'TERM=powerdown forever']);
	$s->deadline(1);
	$s->ends_with(81, qr/QEMU was killed \(status 81\); TERM: powerdown \S+; deadline: quit \S+, kill/, 'quit and kill come behind it');

	$s = running(fake => \@deaf_to_quit, options => ['-o', 'TERM=status']);
	$s->deadline(1);
	$s->ends_with(81, qr/QEMU was killed \(status 81\); deadline: quit \S+, kill/, 'a TERM that ends nothing');
};

subtest 'no extension goes beyond it' => sub {
	my $s = stopping(fake => ['flushes']);
	$s->wait_log(qr/SHUTDOWN/);
	$s->deadline(1);
	$s->ends_with(81, qr/QEMU was killed/, 'flushing');
	unlike($s->log, qr/more$/m, 'no extension');
};

subtest 'it waits for a guest that does not listen' => sub {
	my $s = running(fake => ['en=0x0020']);
	$s->signal('TERM');
	$s->wait_log(qr/does not listen to its power button yet/);
	$s->deadline(1);
	$s->ends_with(80, qr/not shut down: quit/, 'not for long');
	is(scalar $s->sent(qr/system_powerdown/), 0, 'never pressed');
};

subtest 'before QMP is there, and while QEMU hangs' => sub {
	my $s = supervise(fake => ['no-greeting']);
	wait_until('QEMU', sub { $s->state->{pid} });
	$s->deadline(1);
	$s->ends_with(81, qr/QEMU was killed/, 'no greeting');
	$s = running(fake => ['hang=set-action']);
	$s->deadline(1);
	$s->ends_with(81, qr/QEMU was killed/, 'hangs');
};

done_testing;
