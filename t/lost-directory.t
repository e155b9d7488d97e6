#!/usr/bin/perl
# The runtime directory of a VM goes away while it runs, and with it the files that tell who supervises it: that one is
# found all the same. Neither is a second QEMU started where the supervisor dies, too, nor is it found by mistake.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-system-x86_64');

my ($state, $run) = map { $ENV{"QEMU_SUPERVISE_${_}_DIR"} } qw(STATE RUNTIME);
my $supervise = $ENV{QEMU_SUPERVISE} ||= $ENV{T_SUPERVISE} || "$top/qemu-supervise";
my $off = qr/ended: the guest powered itself off \(status 0\)/;

sub create { vmconf_does('create', $_[0], quick()) }

# It runs, and its runtime directory is gone; its supervisor has not noticed.
sub lost {
	my ($name) = @_;
	vmconf_does('start', $name);
	my $vm = state_of($name);
	system('rm', '-r', "$run/$name") == 0 or die;
	return $vm;
}

sub is_running {
	my ($vm, $what) = @_;
	my $now = state_of($vm->{name});
	is_deeply([@$now{qw(state pid supervisor)}], ['running', @$vm{qw(pid supervisor)}], $what) or diag(explain($now));
	return $now;
}

subtest 'vmconf' => sub {
	create('web1');
	my $vm = lost('web1');
	my $now = is_running($vm, 'it is running, with its pids');
	like($now->{reason}, qr{its runtime directory in \Q$run\E is gone}, 'and that is told');
	vmconf_fails(1, qr/web1 is running \(pid $vm->{pid}\): it cannot be deleted now/, 'delete', 'web1');
	like(vmconf_does('start', 'web1'), qr/^web1 is running already \(pid $vm->{pid}\)$/m, 'it is not started again');
	like(vmconf_does('stop', 'web1'), qr/^web1: stopped: no guest was running /, 'stop reaches its supervisor');
	is(state_of('web1')->{state}, 'stopped', 'which sees it down');
	$vm = lost('web1');
	like(vmconf_does('stop', '--all'), qr/^web1: stopped: /m, 'stop --all');
	$vm = lost('web1');
	like(vmconf_does('stop', '--within', '60s', 'web1'), qr/^web1: stopped: /m, 'stop --within');
	$vm = lost('web1');
	like(vmconf_does('restart', 'web1'), qr/^web1: running /m, 'restart');
	isnt(state_of('web1')->{pid}, $vm->{pid}, 'another QEMU');
	vmconf_does('stop', 'web1');
	$vm = lost('web1');
	like(vmconf_does('stop', '--kill', 'web1'), qr/^web1: stopped: /, 'stop --kill');
	ok(!-e "$state/web1/vm.lock", 'its supervisor saw the end');
};

# A supervisor that hangs is not one that is not there.
subtest 'no advice that would cut the guest off' => sub {
	my $vm = lost('web1');
	kill('STOP', $vm->{supervisor});
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDOUT, '>', "$work/said");
		open(STDERR, '>&', \*STDOUT);
		exec($ENV{T_VMCONF} || "$top/vmconf", 'stop', 'web1') or POSIX::_exit(127);
	}
	wait_until('TERM', sub { slurp("/proc/$vm->{supervisor}/status") =~ /^ShdPnd:\s+\w*[4-7c-f]\w{3}$/m });
	is_running($vm, 'it is running still');
	kill('CONT', $vm->{supervisor});
	waitpid($pid, 0);
	is($?, 0, 'stop waits');
	like(slurp("$work/said"), qr/^web1: stopped: /, 'and succeeds');
	unlike(slurp("$work/said"), qr/--kill/, 'without advice');
};

subtest 'the adapter none' => sub {
	my $vm = lost('web1');
	is((run_command("$top/init/none", 'status', 'web1'))[1], "web1: supervised by pid $vm->{supervisor}\n", 'status');
	is((run_command("$top/init/none", 'stop', 'web1'))[0], 0, 'stop');
	ok(wait_until('its end', sub { state_of('web1')->{state} eq 'stopped' }), 'reaches it');
	is((run_command("$top/init/none", 'stop', 'web1'))[0], 0, 'stop of one that is down');
	is((run_command("$top/init/none", 'status', 'web1'))[0], 3, 'status of one that is down');
};

subtest '--signal' => sub {
	my $s = running(fake => [], name => 'line');
	system('rm', '-r', $s->dir);
	is((run_command($supervise, '--signal', '0', 'line'))[1], "$s->{pid}\n", 'tells the pid');
	is((run_command($supervise, '--signal', 'TERM', 'line'))[1], "$s->{pid}\n", 'and sends a signal');
	$s->ends_with(0, qr/$off; TERM: powerdown/, 'line');
	like((run_command($supervise, '--signal', 'TERM', 'line'))[2], qr/VM line has no supervisor that can be found/, 'it is gone');
	is((run_command($supervise, '--signal', 'TERM', 'line'))[0], 3, 'which is status 3');
	$s = running(fake => ['-name', 'x'], name => 'x');
	is((run_command($supervise, '--signal', '0', '--', fake_qemu('-name', 'x')))[1], "$s->{pid}\n", 'by its command line');
	$s->signal('TERM');
	$s->ends_with(0, $off, 'x');
	is((run_command($supervise, '--signal', $_, 'x'))[0], 64, "--signal $_") for 'KILL', 'NONE', '';
	is((run_command($supervise, '--signal', '0'))[0], 64, 'of no VM');
};

# The same command line, twice, after a logout and a crash.
subtest 'no second QEMU' => sub {
	my $s = running(fake => [], name => 'twice');
	my $qemu = $s->qemu;
	$s->lost;
	system('rm', '-r', $s->dir);
	my $next = $s->successor;
	$next->wait_log(qr/taking over QEMU, pid $qemu,/);
	is($next->qemu, $qemu, 'the one that runs is taken over');
	is(scalar(() = slurp($s->{record}) =~ /qmp_capabilities/g), 1, 'and no other one was started');
	$next->signal('QUIT');
	kill('KILL', $qemu);
	is($next->end, 83, 'it ends with it') or diag($next->log);
	ok(!-e "$state/twice", 'nothing is left');
};

# It has no state directory: vm.lock is where it was.
subtest 'a user without a state directory' => sub {
	my $s = running(fake => [], name => 'homeless', env => { QEMU_SUPERVISE_STATE_DIR => '/proc/none' });
	is(qemu_in($s->dir . '/vm.lock'), (children($s->{pid}))[0], 'vm.lock is in the runtime directory');
	is((run_command($supervise, '--signal', 'TERM', 'homeless'))[1], "$s->{pid}\n", 'it is found');
	$s->ends_with(0, $off, 'homeless');
};

done_testing;
