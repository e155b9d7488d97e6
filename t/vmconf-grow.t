#!/usr/bin/perl
# vmconf grow: of a VM that is down, of one that runs, in a guest; what is refused; and when others work on the VM.
use strict;
use warnings;
use Fcntl qw(S_ISBLK);
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use POSIX ();
use T;

need('qemu-system-x86_64', 'qemu-img');

my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";

# The size that qemu-img sees, in MiB.
sub mib {
	my ($file, $format) = @_;
	my ($status, $out) = run_command('qemu-img', 'info', '-U', '-f', $format || 'qcow2', '--output=json', "$state/$file");
	return $status == 0 ? decode_json($out)->{'virtual-size'} / 1048576 : "status $status";
}

sub in_background {
	my ($said, @words) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	open(STDOUT, '>', $said);
	open(STDERR, '>&', \*STDOUT);
	exec($vmconf, @words) or POSIX::_exit(127);
}

sub size_in_qemu {
	my ($name) = @_;
	my ($disk) = @{ decode_json(vmconf_does('qmp', $name, 'query-block')) };
	return $disk->{inserted}{image}{'virtual-size'} / 1048576;
}

subtest 'a VM that is down' => sub {
	vmconf_does('create', 'a', quick('--disk', '1M', '--set', 'disks.1={"path": "two.raw", "format": "raw"}', '--set', qq{confine.write=["$work"]})); # for the backup
	truncate(spew("$state/a/two.raw", ''), 1 << 20);
	is(vmconf_does('grow', 'a', '2M'), "a: disks[0] grown from 1M to 2M\n", 'to a size');
	is(mib('a/root.qcow2'), 2, 'so it is');
	is(vmconf_does('grow', 'a', '+1M'), "a: disks[0] grown from 2M to 3M\n", 'by a size');
	is(mib('a/root.qcow2'), 3, 'so it is');
	is(vmconf_does('grow', 'a', '3M'), "a: disks[0] has 3M already\n", 'it has that already: a success');
	is(vmconf_does('grow', 'a', '1536K', '--disk', 1), "a: disks[1] grown from 1M to 1536K\n", 'another one, raw');
	is(-s "$state/a/two.raw", 1536 * 1024, 'so it is');
	like(vmconf_does('status', 'a'), qr{^disk +\Q$state\E/a/root\.qcow2, 3M\ndisk +\Q$state\E/a/two\.raw, 1536K$}m, 'status tells');
	is_deeply([map { $_->{size} } @{ decode_json(vmconf_does('status', 'a', '--json'))->{disks} }], [3 << 20, 1536 << 10], 'and in JSON');
	ok(!-e "$state/a/vm.lock", 'nothing is left over');
};

subtest 'what is refused' => sub {
	my $before = slurp("$state/a/root.qcow2");
	vmconf_fails(1, qr/^vmconf: a: disks\[0\] has 3M, and 2M is less: a disk is never made smaller/, 'grow', 'a', '2M');
	vmconf_fails(1, qr/^vmconf: a is not running, and --file-system is for its guest to do/, 'grow', 'a', '4M', '--file-system');
	vmconf_fails(64, qr/never made smaller/, 'grow', 'a', '--', '-1M');
	vmconf_fails(64, qr/grow: 20: not a size: .*is 20G meant\?/, 'grow', 'a', '20');
	vmconf_fails(64, qr/grow: \Q$_\E: not a size/, 'grow', 'a', $_) for '', '+', '++1M', '0M', '1X', '99999P', '1M ', '+-1M';
	vmconf_fails(1, qr/^vmconf: a was not grown$/m, 'grow', 'a', '+8191P');
	vmconf_fails(1, qr/^vmconf: a has no disks\[2\]: its definition has 2$/, 'grow', 'a', '4M', '--disk', 2);
	vmconf_fails(64, qr/--disk x: not a number/, 'grow', 'a', '4M', '--disk', 'x');
	vmconf_fails(1, qr/there is no VM b/, 'grow', 'b', '4M');
	vmconf_fails(64, qr/usage: vmconf grow/, 'grow', 'a');
	my %wrong = (
		'{"path": "root.qcow2", "format": "qcow2", "read-only": true}' => qr/it is read-only/,
		'{"path": "x.vmdk", "format": "vmdk"}' => qr/only qcow2 and raw images/,
		'{"path": "two.raw", "format": "raw", "size": 4096}' => qr/it is not just a file/,
		'{"format": "raw", "file": {"driver": "nbd", "host": "h"}}' => qr/it is not just a file/,
		'{"path": "none.raw", "format": "raw"}' => qr/cannot look at .*none\.raw: No such file/,
		'{"path": "/dev/null", "format": "raw"}' => qr{cannot look at /dev/null},
	);
	vmconf_does('create', 'w', quick());
	for my $disk (sort keys %wrong) {
		vmconf_does('set', 'w', "disks=[$disk]");
		vmconf_fails(1, qr/^vmconf: w: disks\[0\] cannot be grown: $wrong{$disk}/, 'grow', 'w', '8M');
	}
	vmconf_does('set', 'w', 'disks=[{"path": "' . "$state/a/root.qcow2" . '", "format": "qcow2", "read-only": true}]');
	vmconf_fails(1, qr/^vmconf: a cannot be grown: its disk .*root\.qcow2 is also a disk of w/, 'grow', 'a', '8M');
	vmconf_does('delete', 'w');
	vmconf_does('clone', 'a', 'linked', '--linked');
	vmconf_fails(1, qr/^vmconf: a cannot be grown: its disk .*root\.qcow2 is what a disk of linked is based on/m, 'grow', 'a', '8M');
	is(vmconf_does('grow', 'linked', '8M'), "linked: disks[0] grown from 3M to 8M\n", 'the overlay may');
	vmconf_does('delete', 'linked');
	ok(slurp("$state/a/root.qcow2") eq $before, 'nothing was written to the disk');

	vmconf_fails(1, qr/its file system has \S+( bytes)? left for .*two\.raw; use --force/, 'grow', 'a', '2000T', '--disk', 1);
	is(-s "$state/a/two.raw", 1536 * 1024, 'it is as it was');
	my ($free) = (run_command('df', '--output=avail', '-B1', "$state/a"))[1] =~ /(\d+)\s*\z/;
	my $most = int($free / (1 << 30)) + 10;
	vmconf_fails(1, qr/use --force/, 'grow', 'a', "+${most}G", '--disk', 1);
	like(vmconf_does('grow', 'a', "+${most}G", '--disk', 1, '--force'), qr/grown/, '--force: it is sparse');
	truncate("$state/a/two.raw", 1 << 20);
};

subtest 'a block device' => sub {
	my $node = "$state/a/device";
	plan skip_all => 'only root may make a block device' if system("mknod $node b 7 0 2>/dev/null") != 0;
	vmconf_does('set', 'a', 'disks.2={"path": "device", "format": "raw"}');
	vmconf_fails(1, qr/^vmconf: a: disks\[2\] cannot be grown: it is a block device, which has the size that it has/, 'grow', 'a', '8M', '--disk', 2);
	vmconf_does('set', 'a', 'disks.2=');
};

subtest 'a VM that runs' => sub {
	vmconf_does('start', 'a');
	is(vmconf_does('grow', 'a', '4M'), "a: disks[0] grown from 3M to 4M, and the guest has been told\n", 'qcow2');
	is(size_in_qemu('a'), 4, 'QEMU has it');
	is(vmconf_does('grow', 'a', '+1M', '--disk', 1), "a: disks[1] grown from 1M to 2M, and the guest has been told\n", 'raw');
	is(vmconf_does('grow', 'a', '4M'), "a: disks[0] has 4M already\n", 'again');
	vmconf_fails(1, qr/^vmconf: a: what is mounted from disks\[0\] was not grown: no guest agent answers$/m, 'grow', 'a', '4M', '--file-system');
	vmconf_fails(1, qr/has 4M, and 1M is less/, 'grow', 'a', '1M');
	vmconf_fails(1, qr/use --force/, 'grow', 'a', '2000T', '--disk', 1);
	like(vmconf_does('status', 'a'), qr{root\.qcow2, 4M$}m, 'status');

	# A backup at work on it, which QEMU knows.
	run_command('qemu-img', 'create', '-q', '-f', 'raw', "$work/backup", '4M');
	vmconf_does('qmp', 'a', 'blockdev-add', qq({"node-name": "to", "driver": "raw", "file": {"driver": "file", "filename": "$work/backup"}}));
	vmconf_does('qmp', 'a', 'blockdev-backup', '{"job-id": "b", "device": "disk0", "target": "to", "sync": "none"}');
	vmconf_fails(1, qr/^vmconf: a: disks\[0\] was not grown: .*(busy|in use|backup)/, 'grow', 'a', '5M');
	vmconf_does('qmp', 'a', 'block-job-cancel', '{"device": "b"}');
	wait_until('the job is gone', sub { vmconf_does('qmp', 'a', 'query-block-jobs') !~ /"b"/ });

	# The guest is on an overlay: that grows, and what it is based on does not.
	vmconf_does('qmp', 'a', 'blockdev-snapshot-sync', qq({"node-name": "disk0", "snapshot-file": "$state/a/over.qcow2", "snapshot-node-name": "over"}));
	is(vmconf_does('grow', 'a', '6M'), "a: disks[0] grown from 4M to 6M, and the guest has been told\n", 'after a snapshot');
	is(mib('a/over.qcow2') . mib('a/root.qcow2'), '64', 'the overlay');

	# The definition says something else than what runs.
	vmconf_does('set', 'a', 'disks.1.path=other.raw');
	truncate(spew("$state/a/other.raw", ''), 1 << 20);
	vmconf_fails(1, qr/disks\[1\] cannot be grown: the running VM has another disk there than its definition/, 'grow', 'a', '8M', '--disk', 1);
	vmconf_does('set', 'a', 'disks.2={"path": "two.raw", "format": "raw"}');
	vmconf_fails(1, qr/disks\[2\] cannot be grown: the running VM has no such disk; restart it first/, 'grow', 'a', '8M', '--disk', 2);
	vmconf_does('stop', 'a');
	vmconf_fails(78, qr/over\.qcow2/, 'grow', 'a', '8M');
	is(mib('a/over.qcow2'), 6, 'a VM that is down, with a disk that has moved: not before that is settled');
	vmconf_does('delete', 'a');
};

subtest 'two at once' => sub {
	vmconf_does('create', 'b', quick('--disk', '1M'));
	for my $how ('down', 'running') {
		vmconf_does('start', 'b') if $how eq 'running';
		my $before = mib('b/root.qcow2');
		my @pids = map { in_background("$work/grow$_", 'grow', 'b', '+1M') } 1 .. 4;
		is_deeply([map { waitpid($_, 0); $? } @pids], [0, 0, 0, 0], "$how: all succeed") or diag(map { slurp("$work/grow$_") } 1 .. 4);
		is(mib('b/root.qcow2'), $before + 4, 'and each has added its own');
	}
	vmconf_does('stop', 'b');
};

# A qemu-img that waits before it does anything.
subtest 'others meanwhile, and kill -9' => sub {
	mkdir("$work/bin");
	my ($real) = (run_command('sh', '-c', 'command -v qemu-img'))[1] =~ /(.*)/;
	spew("$work/bin/qemu-img", qq(#!/bin/sh\n[ "\$1" != resize ] || { : >"$work/waits"; while [ ! -e "$work/go" ]; do sleep 0.02; done; }\nexec $real "\$@"\n));
	chmod 0755, "$work/bin/qemu-img";
	my $before = mib('b/root.qcow2');
	my $begin = sub {
		local $ENV{PATH} = "$work/bin:$ENV{PATH}";
		unlink "$work/waits", "$work/go";
		my $pid = in_background("$work/said", 'grow', 'b', '+1M');
		wait_until('qemu-img is at it', sub { -e "$work/waits" });
		return $pid;
	};
	my $first = $begin->();
	my $second = in_background("$work/said2", 'grow', 'b', '+1M');
	my $start = in_background("$work/said3", 'start', 'b');
	wait_until('the second waits', sub { slurp("$work/said2") =~ /another vmconf makes a change .*: waiting for it/ });
	wait_until('so does a start', sub { slurp("$work/said3") =~ /b: another vmconf works on its files; waiting for it/ });
	spew("$work/go", '');
	is_deeply([map { waitpid($_, 0); $? >> 8 } $first, $start], [0, 0], 'both end well');
	waitpid($second, 0);
	my $grown = $? == 0 ? 2 : 1;	# what begins first is not said
	like(slurp("$work/said2"), $grown == 2 ? qr/^b: disks\[0\] grown/m : qr/b is (starting|running) \(pid \d+\): it cannot be grown now/, 'the other grow, too, or it says why not');
	is(mib('b/root.qcow2'), $before + $grown, 'the size that was said');
	vmconf_does('stop', 'b');

	$before = mib('b/root.qcow2');
	$first = $begin->();
	kill('KILL', $first);
	waitpid($first, 0);
	spew("$work/go", '');
	is(vmconf_does('check', 'b'), '', 'after kill -9: nothing is wrong');
	is(mib('b/root.qcow2'), $before, 'the disk is as it was');
	vmconf_does('grow', 'b', '+1M');
	is(mib('b/root.qcow2'), $before + 1, 'and can be grown');
	is((run_command('qemu-img', 'check', '-q', '-f', 'qcow2', "$state/b/root.qcow2"))[0], 0, 'the image is in order');

	spew("$work/bin/qemu-img", "#!/bin/sh\necho 'no space, say' >&2\nexit 1\n");
	local $ENV{PATH} = "$work/bin:$ENV{PATH}";
	vmconf_fails(1, qr/^vmconf: qemu-img failed with status 1\nvmconf: b was not grown$/m, 'grow', 'b', '+1M');
	unlink "$work/bin/qemu-img";
	local $ENV{PATH} = "$work/bin";
	vmconf_fails(1, qr/^ *vmconf: qemu-img is not installed.*\nvmconf: b was not grown$/m, 'grow', 'b', '+1M');
};

subtest 'in a guest' => sub {
	T::define('guest', T::guest_definition('idle', disk => make_disk("$work/guest.disk"), console => "$work/console", append => 'ignore_loglevel', agent => 'obeys'));
	my $size = (-s "$work/guest.disk") / 1048576;
	vmconf_does('start', 'guest');
	wait_until('it listens', sub { slurp("$work/console") =~ /guest: listening/ });
	is(vmconf_does('grow', 'guest', '+64M'), "guest: disks[0] grown from ${size}M to " . ($size + 64) . "M, and the guest has been told\n", 'while it runs');
	wait_until('the guest sees it', sub { slurp("$work/console") =~ /\[vda\] new size: (\d+) 512-byte/ && $1 == ($size + 64) * 2048 });
	wait_until('its agent', sub { slurp("$work/console") =~ /guest: agent\r?$/m });
	vmconf_fails(1, qr/^vmconf: guest: what is mounted from disks\[0\] was not grown: the guest lacks the program for it \(resize2fs, /m,
		'grow', 'guest', ($size + 64) . 'M', '--file-system');
	vmconf_does('stop', 'guest');
	ok(disk_is_clean("$work/guest.disk"), 'and its file system is in order');
};

done_testing;
