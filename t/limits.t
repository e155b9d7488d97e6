#!/usr/bin/perl
# A VM whose limits this host cannot hold it to is not started, and that is said, by check, too. What a kernel makes of limits shows
# t/limits-host.t.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-system-x86_64');
my %vm = (machine => 'q35', accel => 'tcg', memory => '128M', nics => [], console => 'none', on => { TERM => 'quit 10s, kill' });

sub limited {
	my (%limits) = @_;
	T::define('web', { %vm, limits => \%limits });
}

subtest 'what confine tells' => sub {
	limited(cpu => '150%', memory => '3G', 'io-weight' => 50, pids => 200);
	like(vmconf_does('confine', 'web'), qr/^limits: cpu 150%, memory 3072 MiB, io-weight 50, pids 200$/m, 'all of them');
	is_deeply(JSON::PP::decode_json(vmconf_does('confine', 'web', '--json'))->{limits},
		{ cpu => '150%', memory => '3G', 'io-weight' => 50, pids => 200 }, 'as JSON');
	vmconf_does('set', 'web', 'limits.cpu=', 'limits.io-weight=', 'limits.pids=', 'limits.memory=64M');
	like(vmconf_does('confine', 'web'), qr/^limits: memory 64 MiB$/m, 'one of them');
	vmconf_does('set', 'web', 'limits=');
	like(vmconf_does('confine', 'web'), qr/^limits: none$/m, 'none');
	is(JSON::PP::decode_json(vmconf_does('confine', 'web', '--json'))->{limits}, undef, 'as JSON');
};

subtest 'a host without control groups of version 2' => sub {
	need_that('we are root, and may mount', sub { (run_command(qw(unshare --mount mount -t tmpfs none /sys/fs/cgroup)))[0] == 0 });
	my $program = $ENV{T_VMCONF} || "$top/vmconf";
	my @without = ('unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', 'sh', $program);
	my $why = qr{limits.memory: this host has no control groups of version 2 in /sys/fs/cgroup: mount them there, or remove the limit};
	limited(memory => '1G');
	my ($status, undef, $err) = run_command(@without, 'check', 'web');
	is($status, 78, 'check');
	like($err, qr/^vmconf: \S+web.json: $why$/m, 'says so');
	($status, undef, $err) = run_command(@without, 'start', 'web');
	is($status, 78, 'start');
	like($err, qr/^vmconf: cannot start web: $why \(status 78\)/m, 'says so, too');
	is(last_end('web')->{status}, 78, 'it ended so');
	like(last_end('web')->{words}, qr/\A$why\z/, 'says the history');
	T::define('web', \%vm);
	($status, undef, $err) = run_command(@without, 'start', 'web');
	is($status, 0, 'without limits it starts') or diag($err);
	vmconf_fails(80, qr/was not shut down: quit/, 'stop', 'web');	# there is no guest
};

subtest 'a limit below the memory of the guest' => sub {
	my @mounts = ('mount -t cgroup2 none /sys/fs/cgroup', "mount --bind $work/controllers /sys/fs/cgroup/cgroup.controllers");
	spew("$work/controllers", "cpu io memory pids\n");
	my @with = ('unshare', '-r', '-m', '-C', 'sh', '-c', join(' && ', @mounts, 'exec "$@"'), 'sh');
	need_that('there are namespaces, and control groups of version 2 in one', sub { (run_command(@with, 'true'))[0] == 0 });
	my $less = qr/^vmconf: \S+web.json: limits.memory: found 127 MiB, less than the guest's memory: the kernel kills QEMU /m;
	for ([127, $less], [128, qr/\A\z/]) {
		my ($mib, $said) = @$_;
		limited(memory => "${mib}M");
		my ($status, undef, $err) = run_command(@with, $ENV{T_VMCONF} || "$top/vmconf", 'check', 'web');
		is($status, 0, "$mib MiB are no error");
		like($err, $said, 'and what is said of them');
	}
};

done_testing;
