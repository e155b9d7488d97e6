#!/usr/bin/perl
# A host for a long time: VMs come and go, are renamed, stopped, reset and upgraded; supervisors and QEMUs are killed or stand still,
# file systems fill, nobody reads a log, the clock jumps. Now and then all that troubles is taken away, and everything must be in order: each
# VM is up with one QEMU and one supervisor, or down with none; no descriptor and no memory has been lost; vmconf says
# so and ends. T_HOURS: how long (20 s else); T_SEED=N: the same choices.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Handle;
use POSIX ();
use T;
use Time::HiRes qw(sleep);

need('faketime', 'qemu-img', 'qemu-system-x86_64', 'mount');
# unshare(CLONE_NEWNS): nobody else sees what is mounted and filled here.
need_that('there may be a mount namespace of its own', sub { syscall(272, 0x20000) == 0 && system('mount', '--make-rprivate', '/') == 0 });

my $seconds = $ENV{T_HOURS} ? $ENV{T_HOURS} * 3600 : 20;
my $seed = $ENV{T_SEED} || int(rand(1e9));
srand($seed);
note("T_SEED=$seed");

sub small_fs {
	my ($dir, $size) = @_;
	mkdir $dir;
	system('mount', '-t', 'tmpfs', '-o', "size=$size,mode=755", 'none', $dir) == 0 or die "cannot mount $dir\n";
	return $dir;
}
my $run = small_fs("$work/run", '2m');
my $store = small_fs("$work/store", '32m');
my ($config, $state) = map { mkdir "$store/$_"; "$store/$_" } 'config', 'state';
@ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)} = ($config, $state);
$ENV{QEMU_SUPERVISE} ||= $ENV{T_SUPERVISE} || "$top/qemu-supervise";

small_fs('/dev/shm', '1m');	# where faketime leaves files
# The clock of all that is run here; without it, the host's.
$ENV{LD_PRELOAD} = (split ' ', (run_command('faketime', 'now', 'printenv', 'LD_PRELOAD'))[1])[0];
@ENV{qw(FAKETIME_TIMESTAMP_FILE FAKETIME_NO_CACHE DONT_FAKE_MONOTONIC FAKETIME_DONT_FAKE_MONOTONIC NO_FAKE_STAT)} = ("$work/clock", 1, 1, 1, 1);
spew("$work/clock", '+0');

# ---- guests ----

my @kinds = (
	{ fake => '' },
	{ fake => 'presses=2', on => '"press-interval": "300ms"' },
	{ fake => 'ignore=system_powerdown', on => '"on": {"TERM": "powerdown 300ms, quit 5s, kill"}' },
	{ fake => 'ignore=system_powerdown,quit', on => '"on": {"TERM": "powerdown 200ms, quit 200ms, kill"}' },
	{ fake => 'reboots', on => '"on": {"TERM": "powerdown 500ms, quit 5s, kill"}' },
	{ fake => 'mute=system_powerdown', on => '"on": {"TERM": "powerdown 300ms, quit 5s, kill"}' },
	{ fake => 'garbage half-lines' },
);

# The emulator of a kind: the fake, of which /proc/PID/environ says which VM's it is, whatever the VM is called by now.
sub emulator {
	my ($n) = @_;
	my $path = "$work/emulator$n";
	return $path if -e $path;
	spew($path, <<"EOT");
#!/bin/sh
case " \$* " in
*' -readconfig '*) ;;
*) exec qemu-system-x86_64 "\$@" ;; # asked what it takes
esac
while [ "\$1" != -readconfig ]; do
	[ "\$1" != -uuid ] || export LONG_RUN_VM="\$2"
	shift
done
exec $top/t/fake-qemu $kinds[$n]{fake} "\$@"
EOT
	chmod(0755, $path);
	return $path;
}

# ---- what there is ----

my $calm = 0;	# logs are read
my (%count, @jobs, @stopped, @unread, %first, $next_name);

sub names { return map { m,([^/]+)\.json$, } glob "$config/*.json" }
sub any { my @all = names(); return @all ? $all[rand @all] : undef }

sub uuid_of { return (slurp("$config/$_[0].json") =~ /"uuid": "([^"]+)"/)[0] // '' }

# The processes that are QEMUs, by the VM whose they are.
sub qemus {
	my %of;
	for my $pid (grep { slurp("/proc/$_/cmdline") =~ /fake-qemu/ } children($$)) {
		push @{ $of{$1} }, $pid if slurp("/proc/$pid/environ") =~ /(?:^|\0)LONG_RUN_VM=([^\0]*)\0/;
	}
	return \%of;
}

sub qemus_of { return @{ qemus()->{ uuid_of($_[0]) } || [] } }

sub supervisors { return grep { slurp("/proc/$_/comm") eq "qemu-supervise\n" && slurp("/proc/$_/cmdline") =~ /\0/ } children($$) }

sub supervisor_of {
	my ($name) = @_;
	return grep { slurp("/proc/$_/cmdline") =~ /\0\Q$name\E\0$/ } supervisors();
}

# ---- what happens ----

# vmconf, beside what else there is to do. None may take longer than the bound of all waits.
sub job {
	my (@words) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$work/job.out");
		open(STDERR, '>>', "$work/jobs");
		exec($ENV{T_VMCONF} || "$top/vmconf", @words) or POSIX::_exit(127);
	}
	push @jobs, { pid => $pid, words => "@words" };
	return 1;
}

sub create {
	return 0 if names() >= 8;
	my $kind = int rand @kinds;
	my $name = 'vm' . ++$next_name;
	return job('create', $name, '--disk', '1M', '--memory', '64M', '--nic', 'none', '--set', 'emulator=' . emulator($kind),
		'--set', 'machine=q35', map { ('--set', s/^"([^"]+)": "?(.*?)"?$/$1=$2/r) } $kinds[$kind]{on} // ());
}

sub with_any {
	my ($code) = @_;
	return sub { my $name = any() // return 0; return $code->($name) };
}

# By an init system whose logger hangs. A page is all that the pipe takes.
sub start_unread {
	my ($name) = @_;
	pipe(my $log, my $in) or die "pipe: $!";
	fcntl($in, 1031, 4096) or die "F_SETPIPE_SZ: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDERR, '>&', $in);
		exec($ENV{QEMU_SUPERVISE}, $name) or POSIX::_exit(127);
	}
	push @unread, $log;
	return 1;
}

# Reads what there is; an end of all that write there is the end of it.
sub read_logs {
	my @still;
	for my $log (@unread) {
		$log->blocking(0);
		my $got;
		1 while ($got = sysread($log, my $text, 65536));
		push @still, $log if !defined $got;
	}
	@unread = @still;
}

sub jump {
	spew("$work/clock", sprintf('%+d', 86400 * (int(rand 20000) - 10000)));
	return 1;
}

sub signal_one { # SIGNAL, of all that are there
	my ($signal, @pids) = @_;
	return @pids ? kill($signal, $pids[rand @pids]) : 0;
}

# Nobody hears of it for a while.
sub stand_still {
	my (@pids) = @_;
	my $pid = $pids[rand @pids] // return 0;
	push @stopped, $pid;
	return kill('STOP', $pid);
}

sub go_on {
	kill('CONT', splice @stopped);
	return 1;
}

sub fill {
	my ($dir) = @_;
	return system("head -c 64m /dev/zero >$dir/.filler 2>/dev/null") != 0;
}

sub all_qemus { return map { @$_ } values %{ qemus() } }

# How often, compared with others, and what.
my @happenings = (
	[6, create => \&create],
	[8, start => with_any(sub { job('start', $_[0]) })],
	[6, stop => with_any(sub { job('stop', $_[0]) })],
	[3, 'a start with a log that nobody reads' => with_any(\&start_unread)],
	[2, restart => with_any(sub { job('restart', $_[0]) })],
	[2, delete => with_any(sub { job('delete', $_[0]) })],
	[1, 'delete --kill' => with_any(sub { job('delete', '--kill', $_[0]) })],
	[2, rename => with_any(sub { job('rename', $_[0], 'vm' . ++$next_name) })],
	[2, clone => with_any(sub { names() < 8 && job('clone', $_[0], 'vm' . ++$next_name) })],
	[3, set => with_any(sub { job('set', $_[0], 'description=' . 'x' x rand 4000) })],
	[3, qmp => with_any(sub { job('qmp', $_[0], 'query-status', '--within', '2s') })],
	[2, list => sub { job('list', '--json') }],
	[2, check => sub { job('check') }],
	[3, 'a supervisor killed' => sub { signal_one('KILL', supervisors()) }],
	[2, 'a QEMU killed' => sub { signal_one('KILL', all_qemus()) }],
	[3, 'an upgrade' => sub { signal_one('USR2', supervisors()) }],
	[3, 'a reset' => sub { signal_one('HUP', supervisors()) }],
	[2, 'a stop by signal' => sub { signal_one('TERM', supervisors()) }],
	[2, 'a supervisor stands still' => sub { stand_still(supervisors()) }],
	[2, 'a QEMU stands still' => sub { stand_still(all_qemus()) }],
	[4, 'they go on' => \&go_on],
	[1, 'a vmconf killed' => sub { signal_one('KILL', map { $_->{pid} } @jobs) }],
	[2, 'the clock jumps' => \&jump],
	[1, 'the runtime directory fills' => sub { fill($run) }],
	[1, 'the disk fills' => sub { fill($store) }],
	[3, 'there is space again' => sub { unlink("$run/.filler", "$store/.filler"); 1 }],
);
my @drawn = map { my $row = $_; ($row) x $row->[0] } @happenings;

sub happen {
	my (undef, $what, $code) = @{ $drawn[rand @drawn] };
	$count{$what}++ if $code->();
}

# A VM with two QEMUs is never right, not for a moment.
sub one_qemu_each {
	my $qemus = qemus();
	return join ' ', map { "$_: QEMUs @{ $qemus->{$_} }" } grep { @{ $qemus->{$_} } > 1 } sort keys %$qemus;
}

# ---- in order ----

sub reap {
	read_logs() if $calm;
	@jobs = grep { waitpid($_->{pid}, POSIX::WNOHANG()) == 0 } @jobs;
	while ((my $pid = waitpid(-1, POSIX::WNOHANG())) > 0) {
		@jobs = grep { $_->{pid} != $pid } @jobs;
	}
	return !@jobs;
}

# Descriptors, and kB of memory that is its own. A supervisor has a pidfd of its QEMU once it has executed itself; faketime's are its own.
sub used_by {
	my ($pid) = @_;
	my @fds = sort grep { !/faketime/ } map { readlink($_) // () } glob "/proc/$pid/fd/*";
	my ($pidfd) = grep { $fds[$_] =~ /pidfd/ } 0 .. $#fds;
	splice(@fds, $pidfd, 1) if defined $pidfd;
	my ($kb) = slurp("/proc/$pid/smaps_rollup") =~ /^Private_Dirty:\s+(\d+)/m;
	return (\@fds, $kb // 0);
}

# Of one that has lived since the last time: as much as then.
sub nothing_lost {
	my ($pid, $name) = @_;
	my ($fds, $kb) = used_by($pid);
	my $start = (split ' ', slurp("/proc/$pid/stat"))[21];
	my $first = $first{"$pid $start"} ||= [$fds, $kb];
	return (
		@$fds > @{ $first->[0] } ? "$name: descriptors: @$fds; before: @{ $first->[0] }" : (),
		$kb > $first->[1] + 64 ? "$name: $kb kB, $first->[1] before" : (),
	);
}

sub in_order {
	my ($status, $out, $err) = vmconf('list', '--json');
	return "list: $status $err" if $status || $err;
	my @wrong;
	for my $vm (@{ JSON::PP::decode_json($out)->{vms} }) {
		my @qemus = qemus_of($vm->{name});
		my @supervisors = supervisor_of($vm->{name});
		push @wrong, "$vm->{name}: $vm->{state}, QEMUs @qemus, supervisors @supervisors" if @qemus != @supervisors || @qemus > 1;
		push @wrong, map { nothing_lost($_, $vm->{name}) } @supervisors;
	}
	($status, $out, $err) = vmconf('check');
	push @wrong, "check: $status $out$err" if $status || $out || $err;
	return join("\n", @wrong);
}

# What troubles them is taken away. Whoever has lost his supervisor gets another.
sub calm {
	$calm = 1;
	unlink("$run/.filler", "$store/.filler");
	go_on();
	spew("$work/clock", '+0');
	wait_until(sub { "vmconf to end: " . join(', ', map { $_->{words} } @jobs) }, \&reap);
	for my $name (names()) {
		vmconf('start', $name) if qemus_of($name) && !supervisor_of($name);
	}
	my $wrong;
	for (my $patience = time + 60; ($wrong = in_order()) && time < $patience; sleep(1)) {
		reap();
	}
	return $wrong;
}

my $until = time + $seconds;
my ($calms, $happened, $two) = (0, 0, '');
my $troubled = time;
while (time < $until && !$two) {
	happen();
	$happened++;
	reap();
	$two = one_qemu_each();
	sleep(rand 0.2);
	next if time - $troubled < 10;
	my $wrong = calm();
	is($wrong, '', 'in order after ' . ++$calms . ' times of trouble') or diag(slurp("$work/jobs") =~ s/\A.*(.{4000})\z/$1/sr);
	last if $wrong;
	spew("$work/jobs", '');
	$troubled = time;
	$calm = 0;
}
is($two, '', 'never two QEMUs of one VM');
is(calm(), '', 'in order in the end');
my ($status, $out, $err) = vmconf('stop', '--all');
ok($status == 0 || $status >= 80, 'all stop') or diag($status, $out, $err);
wait_until('nobody to be left', sub { reap(); !children($$) });
my @last = names();
my $told = join '', map { (vmconf('delete', $_))[2] } @last;
# One whose supervisor and QEMU were both killed has left its files until then.
is_deeply([grep { !/lock$/ } map { glob "$run/$_/*" } @last], [], 'no file is left in the runtime directory') or diag($told);
# A start that overlaps with a delete leaves its log.
is_deeply([grep { !-d && !/\/(?:log|history\.jsonl)$/ } glob "$state/*/*"], [], 'nor one of a VM that is deleted') or diag($told);
note("$happened happenings: ", join(', ', map { "$count{$_} $_" } sort keys %count));
chdir '/';
delete $ENV{LD_PRELOAD};	# which has /dev/shm open
system('umount', $_) for $run, $store, '/dev/shm';
done_testing;
