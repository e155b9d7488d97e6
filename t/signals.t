#!/usr/bin/perl
# Signals by the thousand, to the wrong process, to all of them, several at once, and with a deadline.
use strict;
use warnings;
use Config;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $off = qr/the guest powered itself off \(status 0\)/;
my %vm = (
	group => supervise(guest => 'normal'),
	straight => supervise(guest => 'normal'),
	many => supervise(guest => 'normal'),
	stop => supervise(guest => 'slow-stop', delay => 3),
	together => supervise(guest => 'normal'),
	deadline => supervise(guest => 'normal', options => ['--on', 'TERM=quit forever']),
	tightened => supervise(guest => 'ignore'),
);

sub went_down {
	my ($vm, $what) = @_;
	$vm->ends_with(0, $off, $what);
	ok(disk_is_clean($vm->{disk}), "$what: file system clean");
}

$_->wait_console(qr/guest: listening/) for values %vm;

# What systemd's KillMode=control-group, sendsigs and Ctrl-C do: everybody gets it.
kill('TERM', -getpgrp($vm{group}{pid}));
went_down($vm{group}, 'TERM to the whole process group');

# KILL and STOP cannot be caught; ABRT and the synchronous ones are faults of QEMU itself.
{
	my $vm = $vm{straight};
	my $qemu = $vm->qemu;
	my %not = map { $_ => 1 } qw(ZERO KILL STOP ABRT BUS FPE ILL SEGV SYS TRAP IOT CLD);
	my @numbers = split(' ', $Config{sig_num});
	my @names = split(' ', $Config{sig_name});
	my @signals = grep { !$not{ $names[$_] } && $names[$_] !~ /^NUM/ } 0 .. $#names;

	kill($_, $qemu) for map { $numbers[$_] } @signals;
	kill($_, $qemu) for 34 .. 64;
	kill('CONT', $qemu); # TSTP, TTIN and TTOU have stopped it
	is($vm->qmp->status, 'running', 'QEMU goes on after ' . join(' ', @names[@signals]));
	unlike($vm->log, qr/from pid|SHUTDOWN/, 'the supervisor has not heard of them');
	$vm->signal('TERM');
	went_down($vm, 'every signal to QEMU itself');
}

{
	my $vm = $vm{many};
	my @harmless = qw(USR1 VTALRM PROF XCPU XFSZ STKFLT ALRM IO PIPE WINCH URG CONT);

	$vm->signal($harmless[$_ % @harmless]) for 1 .. 4000;
	$vm->signal('USR1') for 1 .. 1000;
	$vm->signal(qw(TERM TERM TERM));
	went_down($vm, '5,000 signals in a row');
}

{
	my $vm = $vm{stop};

	$vm->signal('TERM');
	$vm->wait_console(qr/guest: press/);
	$vm->signal('HUP');
	ok($vm->wait_log(qr/HUP from pid \d+ \(perl\): ignored, the VM is being ended \(TERM\)\n/), 'HUP in the middle of a stop');
	went_down($vm, 'HUP in the middle of a stop');
	unlike($vm->console, qr/listening.*listening/s, 'HUP in the middle of a stop: no reset');
}

# Both wait when the supervisor wakes up; signalfd tells HUP first.
{
	my $vm = $vm{together};

	$vm->signal('STOP');
	wait_until('T', sub { slurp("/proc/$vm->{pid}/stat") =~ /\) T / });
	$vm->signal('TERM', 'HUP', 'CONT');
	went_down($vm, 'TERM and HUP together');
	like($vm->log, qr/HUP from .*: dropped, it came together with TERM\n/, 'TERM and HUP together: HUP is dropped');
}

# Its own TERM ladder asks nobody, so that what ended it is seen.
{
	my $vm = $vm{deadline};

	$vm->deadline(60);
	$vm->ends_with(80, qr/quit \(status 80\); TERM: quit/, "a deadline begins TERM's ladder");
	like($vm->log, qr/deadline from pid \d+ \(\w+\): all over in 60s\n/, 'a deadline: the log tells who and when');
}

{
	my $vm = $vm{tightened};

	$vm->signal('TERM');
	$vm->wait_console(qr/guest: press/);
	$vm->deadline(6);
	$vm->ends_with(80, qr/quit \(status 80\); TERM: powerdown \d\S+, agent-shutdown 0\.0s, quit/,
		'a deadline tightens a stop in progress');
	is(scalar(() = $vm->log =~ /button pressed\n/g), 1, 'a deadline: in place, the ladder does not begin again');
}

done_testing;
