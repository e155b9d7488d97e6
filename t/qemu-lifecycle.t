#!/usr/bin/perl
# QEMU's options, and wrappers, that end QEMU with its parent or put another process beside it: they change nothing in
# what a supervisor can do.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'setpriv', 'unshare');

my $off = qr/the guest powered itself off \(status 0\)/;
my (undef, $help) = run_command('qemu-system-x86_64', '-help');

# Where the QEMU at hand knows it.
sub known {
	my ($what) = @_;
	return 1 if $help =~ /\b\Q$what\E\b/;
	plan skip_all => "this QEMU does not have $what";
}

sub pending {
	my ($pid, $signo) = @_;
	my ($mask) = slurp("/proc/$pid/status") =~ /^ShdPnd:\s+([0-9a-f]+)$/m;
	return hex($mask) >> ($signo - 1) & 1;
}

# The signal that its parent's end sends to QEMU comes, and waits there for ever.
sub outlives_its_supervisor {
	my ($wrapper, @args) = @_;
	my ($disk, $console) = (make_disk(), "$work/orphan.console");
	unlink($console);
	my $s = supervise(name => 'orphan', command => [@$wrapper, guest_command('normal', disk => $disk, console => $console, args => \@args)]);
	$s->{console} = $console;
	$s->wait_console(qr/guest: listening/);
	my $qemu = $s->qemu;
	is(pending($qemu, POSIX::SIGTERM()), 0, 'a supervisor lives');
	$s->lost;
	wait_until('SIGTERM for QEMU', sub { pending($qemu, POSIX::SIGTERM()) });
	my $next = $s->successor;
	$next->wait_log(qr/taking over QEMU, pid $qemu,/);
	is($next->qemu, $qemu, 'QEMU goes on');
	$next->signal('TERM');
	$next->ends_with(0, $off, 'and is stopped as ever');
	ok(disk_is_clean($disk), 'file system clean');
}

subtest 'a wrapper that asks for a signal when its parent ends' => sub {
	outlives_its_supervisor(['setpriv', '--pdeathsig', 'TERM']);
};

subtest '-run-with exit-with-parent=on' => sub {
	known('exit-with-parent');
	outlives_its_supervisor([], '-run-with', 'exit-with-parent=on');
};

subtest 'the same where the supervisor is process 1' => sub {
	known('exit-with-parent');
	my $s = supervise(guest => 'normal', prefix => ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'],
		args => ['-run-with', 'exit-with-parent=on']);
	$s->wait_console(qr/guest: listening/);
	kill('TERM', (grep { slurp("/proc/$_/status") =~ /^NSpid:.*\t1$/m } children($s->{pid}))[0]);
	$s->ends_with(0, $off, 'process 1');
};

subtest 'a process beside QEMU that gives its memory back' => sub {
	known('async-teardown');
	my @option = $help =~ /^-async-teardown/m ? '-async-teardown' : ('-run-with', 'async-teardown=on');
	my $s = supervise(guest => 'normal', args => \@option);
	$s->wait_console(qr/guest: listening/);
	is(scalar(my @beside = children($s->qemu)), 1, 'there is one');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'async-teardown');
	$s = supervise(guest => 'normal', args => \@option);
	$s->wait_console(qr/guest: listening/);
	@beside = children($s->qemu);
	$s->lost;
	my $next = $s->successor;
	$next->wait_log(qr/taking over QEMU/);
	$next->signal('QUIT');
	$next->ends_with(80, qr/the guest was not shut down: quit/, 'taken over');
	wait_until('the end of the one beside it', sub { waitpid(-1, POSIX::WNOHANG()); !grep { slurp("/proc/$_/cmdline") } @beside });
};

done_testing;
