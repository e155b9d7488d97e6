#!/usr/bin/perl
# A supervisor and its VM that do not run for a while (a freezer, docker pause, SIGSTOP): that time does not count, except
# under a deadline. The exact times, and a host that is suspended, are in t/unit-ladder.c.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

my $off = qr/ended: the guest powered itself off \(status 0\)/;
my $gap = qr/we did not run for \d+s \(a freeze, or the host was suspended\)/;
my $seconds = 12;	# longer than any TIME here, and than an answer of QEMU may take

sub uptime { return (split ' ', slurp('/proc/uptime'))[0] }

my $program = spew("$work/program", "#!/bin/sh\nwhile [ ! -e $work/go ]; do sleep 0.05; done\n");
chmod(0755, $program);

sub vm {
	my ($name, $fake, @options) = @_;
	return running(name => $name, fake => $fake, options => ['-o', 'TERM=powerdown 10s, quit 5s, kill', @options]);
}

my %vm = (
	pressed => vm('pressed', ['ignore=system_powerdown'], '--press-interval', 0),
	waiting => vm('waiting', ['en=0x0020']),
	deadline => vm('deadline', ['ignore=system_powerdown']),
	program => vm('program', [], '-o', "USR2=run:$program 10s, stop"),
	idle => vm('idle', []),
);
$vm{deadline}->deadline(9);
$vm{program}->signal('USR2');
$vm{$_}->signal('TERM') for qw(pressed waiting);
$vm{$_}->wait_log(qr/power button pressed/) for qw(pressed deadline);
$vm{waiting}->wait_log(qr/waiting for it/);
wait_until('the program', sub { @{ $vm{program}->state->{others} } });
# The first beat comes with the first change.
wait_until('state.json', sub { $_->state->{ladder} }) for @vm{qw(pressed waiting deadline)};

my %frozen = map { my $s = $_; $s->{name} => [$s->{pid}, children($s->{pid})] } values %vm;
kill('STOP', map { @$_ } values %frozen);
my $until = uptime() + $seconds;
wait_until('the thaw', sub { uptime() > $until });

subtest 'the rung goes on' => sub {
	my $s = $vm{pressed};
	$s->signal('CONT');
	$s->wait_log(qr/$gap: powerdown goes on with the \d+s that were left\n/);
	kill('CONT', @{ $frozen{pressed} });
	$s->fake(shutdown => 'guest-shutdown');
	$s->ends_with(0, qr/$off; TERM: powerdown/, 'pressed');
	unlike($s->log, qr/is over/, 'its TIME was not over');
};

subtest 'the guest is waited for' => sub {
	my $s = $vm{waiting};
	$s->signal('CONT');
	$s->wait_log($gap);
	kill('CONT', @{ $frozen{waiting} });
	$s->fake;
	ok($s->state->{ladder}{held}, 'its TIME does not run');
	unlike($s->log, qr/QEMU does not answer/, 'nobody says that QEMU hangs');
	$s->fake(set => { en => '0x0120' });
	$s->ends_with(0, qr/$off; TERM: powerdown/, 'waiting');
};

subtest 'a deadline stands' => sub {
	my $s = $vm{deadline};
	kill('CONT', @{ $frozen{deadline} });
	$s->ends_with($s->end, qr/TERM: powerdown \S+, agent-shutdown \S+, quit|TERM: powerdown \S+, quit/, 'deadline');
	like($s->{status}, qr/^8[01]$/, 'it was over');
	like($s->log, qr/$gap: the deadline stands, 0 left\n/, 'and that is said');
};

subtest 'a program has its time' => sub {
	my $s = $vm{program};
	kill('CONT', @{ $frozen{program} });
	$s->wait_log($gap);
	spew("$work/go", '');
	$s->wait_log(qr/program: ended with status 0/);
	unlike($s->log, qr/killed/, 'it is not killed');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'program');
};

subtest 'an idle supervisor has nothing to say' => sub {
	my $s = $vm{idle};
	kill('CONT', @{ $frozen{idle} });
	$s->signal('TERM');
	$s->ends_with(0, $off, 'idle');
	unlike($s->log, $gap, 'nothing was waited for');
};

done_testing;
