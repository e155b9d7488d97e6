#!/usr/bin/perl
# As PID 1 of a container: orphans are reaped, and TERM means what it always means.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'unshare');
need_that('unshare --pid works (root)', sub { (run_command('unshare', '--pid', '--fork', '--mount-proc', 'true'))[0] == 0 });

# The shell leaves an orphan behind, which ends when it is told to, and becomes QEMU.
my $fifo = "$work/fifo";
my $disk = make_disk();
my $console = "$work/console";
my @qemu = guest_command('normal', disk => $disk, console => $console);
my $orphan = "(read -r _ <$fifo &) ; exec \"\$@\"";
run_command('mkfifo', $fifo);
my $vm = supervise(prefix => ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'],
	options => ['--verbose'], command => ['sh', '-c', $orphan, 'sh', @qemu]);
@$vm{qw(disk console)} = ($disk, $console);

$vm->wait_console(qr/guest: listening/);
my ($one) = grep { slurp("/proc/$_/comm") =~ /^qemu-supervise/ } children($vm->{pid});
like(slurp("/proc/$one/status"), qr/^NSpid:.*\t1$/m, 'it is PID 1');
spew($fifo, "now\n");
ok($vm->wait_log(qr/reaped pid \d+\n/), 'an orphan is reaped');
is(scalar(grep { slurp($_) =~ /\) Z $one / } glob('/proc/[0-9]*/stat')), 0, 'no zombie is left');
kill('TERM', $one);
$vm->ends_with(0, qr/the guest powered itself off \(status 0\); TERM: powerdown/, 'TERM');
like($vm->log, qr/TERM from outside of this pid namespace: powerdown/, 'who sent it');
ok(disk_is_clean($disk), 'file system clean');

done_testing;
