#!/usr/bin/perl
# What a VM may use of its host, with a real kernel that holds it to that: values of control groups, QEMU in there and its supervisor not,
# through takeovers; QEMU that is killed for want of memory, and what is told of that; nothing is left. On a host with systemd, and on one
# without.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
BEGIN { $ENV{T_BOUND} ||= 600 }	# two kernels, one in the other, without KVM
use GuestHost;
use T;

GuestHost::need_host();

my %limits = (cpu => '150%', memory => '200M', 'io-weight' => 50, pids => 200);
my %files = ('cpu.max' => '150000 100000', 'memory.max' => 200 << 20, 'io.weight' => 'default 50', 'pids.max' => 200);
my $eat = 'object-add \'{"qom-type": "memory-backend-ram", "id": "eater", "size": 536870912, "prealloc": true}\'';

sub pids {
	my ($h, $vm) = @_;
	my $lock = $h->does("cat /var/lib/qemu-supervise/$vm/vm.lock");
	return $lock =~ /\A(\d+) [^\n]*\n(\d+) / ? ($1, $2) : ();
}

sub group_of { return ($_[0]->run("sed -n s/^0:://p /proc/$_[1]/cgroup"))[1] =~ s/\n//r }

sub is_limited {
	my ($h, $group, $when) = @_;
	for my $file (sort keys %files) {
		like($h->does("cat /sys/fs/cgroup$group/$file"), qr/^\Q$files{$file}\E$/m, "$file $when");
	}
}

sub last_line { return JSON::PP::decode_json(($_[0]->run("tail -n 1 /var/lib/qemu-supervise/$_[1]/history.jsonl"))[1]) }

# What holds with and without systemd: parent is where the groups of VMs are.
sub is_held {
	my ($h, $parent, $own) = @_;
	my $group = "$parent/qemu-supervise-web";
	$h->define('web', limits => \%limits);
	$h->define('free');
	$h->does('vmconf check web');
	like($h->does('vmconf confine web'), qr/^limits: cpu 150%, memory 200 MiB, io-weight 50, pids 200$/m, 'confine tells them');
	$h->does('vmconf start web free');
	my ($qemu, $supervisor) = pids($h, 'web');
	is(group_of($h, $qemu), $group, 'QEMU is in a group of its own');
	is(group_of($h, $supervisor), $own, 'its supervisor is not');
	isnt(group_of($h, (pids($h, 'free'))[0]), $group, 'nor is another QEMU');
	is_limited($h, $group, 'is as the definition says');

	do {	# the new program has 5 s to show that it starts
		$h->does("kill -s USR2 $supervisor");
	} while $h->wait_for('vmconf log web | grep reexec: | tail -n 1 | grep -E "done|goes on"') =~ /goes on/;
	is_limited($h, $group, 'after an upgrade');

	$h->does("kill -s KILL $supervisor");
	$h->does('vmconf start web');	# without systemd nobody else does
	$h->wait_for("sed -n 2p /var/lib/qemu-supervise/web/vm.lock | grep -q . && ! grep -q '^$supervisor ' /var/lib/qemu-supervise/web/vm.lock && vmconf qmp web query-status");
	my ($still, $next) = pids($h, 'web');
	is($still, $qemu, 'QEMU goes on when its supervisor is killed');
	isnt($next, $supervisor, 'under another one');
	is(group_of($h, $qemu), $group, 'in the same group');
	is(group_of($h, $next), $own, 'and the new supervisor is where the old one was');
	is_limited($h, $group, 'after a takeover');
	is(($h->run('vmconf stop web'))[0], 80, 'vmconf stop, and there is no guest');
	isnt(($h->run("ls -d /sys/fs/cgroup$group"))[0], 0, 'the group goes with QEMU');
}

# Of a VM that wants more than its limit, also when the supervisor that started it is gone.
sub starves {
	my ($h, $parent, $adopted) = @_;
	my $group = "$parent/qemu-supervise-web";
	$h->does('vmconf start web');
	my ($qemu, $supervisor) = pids($h, 'web');
	my ($free) = pids($h, 'free');
	if ($adopted) {
		$h->does("kill -s KILL $supervisor");
		$h->does('vmconf start web');
		$h->wait_for("! grep -q '^$supervisor ' /var/lib/qemu-supervise/web/vm.lock && vmconf qmp web query-status");
	}
	$h->run("vmconf qmp web $eat");
	my $last;
	wait_until('the end of QEMU to be told', sub { ($last) = grep { defined $_->{status} && ($_->{pid} // 0) == $qemu }
		map { JSON::PP::decode_json($_) } split /\n/, ($h->run('tail -n 3 /var/lib/qemu-supervise/web/history.jsonl'))[1]; $last });
	is($last->{status}, 83, 'QEMU is killed for want of memory');
	like($last->{words}, qr/^out of memory: the kernel killed QEMU, which needed more than limits.memory/, 'and the history says so');
	is((pids($h, 'free'))[0], $free, 'another VM goes on');
	return $qemu;
}

subtest 'without systemd' => sub {
	my $h = GuestHost->boot('/plain');
	is_held($h, '', '/');
	starves($h, '', 0);
	isnt(($h->run('ls -d /sys/fs/cgroup/qemu-supervise-web'))[0], 0, 'nothing is left');
	starves($h, '', 1);
	isnt(($h->run('ls -d /sys/fs/cgroup/qemu-supervise-web'))[0], 0, 'nor after a takeover');

	$h->define('many', cpus => 30, accel => 'tcg', limits => { pids => 16 });
	my ($status, $out) = $h->run('vmconf start many');
	isnt($status, 0, 'a VM that may not have so many threads');
	like($out, qr/it had all the threads that limits.pids lets it have/, 'and which limit that is');

	$h->does('mkdir /sys/fs/cgroup/qemu-supervise-web; sleep 1000 & echo $! >/sys/fs/cgroup/qemu-supervise-web/cgroup.procs');
	($status, $out) = $h->run('vmconf start web');
	is($status, 78, 'a group of that name that somebody is in');
	like($out, qr/cannot make the control group \S+: there are processes in one of that name/, 'is left alone');
	$h->does('umount /sys/fs/cgroup');
	($status, $out) = $h->run('vmconf start web');
	is($status, 78, 'without control groups it is not started');
	like($out, qr/limits.cpu: this host has no control groups of version 2 in/, 'and that is said');
	$h->cut;
};

subtest 'with systemd' => sub {
	my $h = GuestHost->boot('/lib/systemd/systemd');
	my $parent = '/machine.slice';
	is_held($h, $parent, "$parent/qemu-supervise\@web.service");
	$h->does('systemctl daemon-reload');
	$h->does('vmconf start web');
	is_limited($h, "$parent/qemu-supervise-web", 'at another start');
	$h->does('systemctl daemon-reload && systemctl daemon-reexec');
	is_limited($h, "$parent/qemu-supervise-web", 'whatever systemd reads again');
	my $killed = starves($h, $parent, 0);
	$h->wait_for("vmconf qmp web query-status && ! grep -q '^$killed ' /var/lib/qemu-supervise/web/vm.lock");
	is(group_of($h, (pids($h, 'web'))[0]), "$parent/qemu-supervise-web", 'systemd starts it again, in such a group');
	is(($h->run('vmconf stop web'))[0], 80, 'vmconf stop, and there is no guest');
	isnt(($h->run("ls -d /sys/fs/cgroup$parent/qemu-supervise-web"))[0], 0, 'nothing is left');
	$h->cut;
};

done_testing;
