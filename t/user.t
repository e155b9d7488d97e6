#!/usr/bin/perl
# Root's QEMU is another user: the system user, one of the VM's own, or that of "run-as". What is the VM's own is given to it, and
# what it may not open is said.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX ();
use POSIX ();
use lib $FindBin::Bin;
use SystemUser;
use T;

need('qemu-system-x86_64', 'qemu-img', 'mke2fs', 'dumpe2fs', 'unshare');
need_that('we are root', sub { $> == 0 });
my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $user = $SystemUser::uid;
my @machine = (accel => 'tcg', memory => '64M', args => ['-S']);
chmod(0755, $work);
chmod(0700, make_disk("$work/out-of-reach.raw"));

sub uid_of { return (split ' ', (slurp('/proc/' . $_[0]->qemu . '/status') =~ /^Uid:(.*)$/m)[0])[1] }
sub owner { return join(':', (stat $_[0])[4, 5]) }
sub file { my ($name) = @_; spew("$work/$name", 'x' x 512); chmod(0600, "$work/$name"); return "$work/$name" }

sub start {
	my ($name, %definition) = @_;
	T::define($name, { @machine, %definition });
	my $s = supervise(vm => $name);
	$s->wait_log(qr/QEMU runs/);
	return $s;
}

sub stop {
	my ($s, $what) = @_;
	$s->signal('QUIT');
	$s->ends_with(0, qr/no guest was running/, $what);
}

# It was made when QEMU was root, with root's files; it has all that a VM of vmconf's has.
subtest 'a guest on a base, with UEFI, a network, an agent and a console' => sub {
	my $base = make_disk("$work/base.raw");
	chmod(0644, $base);
	vmconf_does('create', 'web', '--image', $base, '--memory', '256M', '--set', 'accel=tcg', '--set', 'firmware=uefi');
	my $guest = T::guest_definition('normal', console => 'serial', disk => 'x', agent => 'obeys');
	my $web = definition('web');
	$web->{$_} = $guest->{$_} for qw(kernel initrd append);
	$web->{args} = ['-serial', 'file:serial'];
	T::define('web', $web);
	my $disk = (glob "$state/web/*.qcow2")[0];
	is(owner($disk), '0:0', 'the disk is root\'s');
	my $s = supervise(vm => 'web');
	$s->wait_log(qr/QEMU runs/);
	is(uid_of($s), $user, 'QEMU is the system user');
	like(slurp('/proc/' . $s->qemu . '/cmdline'), qr/elevateprivileges=deny/, 'and may not change that');
	unlike(slurp('/proc/' . $s->qemu . '/cmdline'), qr/runas|run-with/, 'it was so from the start');
	is(owner($_), "$user:$user", "$_ is its own") for $disk, "$state/web/uefi-vars.fd", "$state/web/serial";
	is(owner("$state/web"), "0:$user", 'root keeps the directory');
	is((stat "$state/web")[2] & 07777, 0710, 'where others only pass');
	is(owner($_), '0:0', "$_ is root's") for "$state/web/vm.lock", $base;
	wait_until('the agent', sub { $s->state->{agent} });
	wait_until('the guest', sub { (vmconf('console', 'web', '--log'))[1] =~ /guest: listening/ });
	my @snapshot = ('qmp', 'web', 'blockdev-snapshot-sync', '{"node-name": "disk0", "snapshot-file": "snapshots/over", "snapshot-node-name": "o"}');
	vmconf_fails(1, qr/Permission denied|Could not create/, @snapshot);
	mkdir("$state/web/snapshots");
	chown($user, $user, "$state/web/snapshots");
	vmconf_does(@snapshot);
	is(owner("$state/web/snapshots/over"), "$user:$user", 'it makes a snapshot in a directory of its own');
	$s = $s->taken_over;
	$s->signal('USR2');
	$s->wait_log(qr/executing|new program|reexec/i);
	vmconf_does('grow', 'web', '+1M');
	is(JSON::PP::decode_json(vmconf_does('confine', 'web', '--json'))->{uid}, $user, 'vmconf confine says so');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'web');
	unlike($s->log, qr/Permission denied/, 'nothing was refused');
};

subtest 'a uid of its own' => sub {
	mkdir($state);
	my %disk = (format => 'raw', path => 'disk.raw');
	mkdir("$state/$_") && make_disk("$state/$_/disk.raw") for 'one', 'two';
	my %own = ('run-as' => 'own', disks => [\%disk]);
	T::define('one', { @machine, %own });
	like(vmconf_does('confine', 'one'), qr/^user: one of its own, which it gets at its first start$/m, 'none yet');
	mkdir("$state/two/$_", 0700) for 'a', 'a/b';
	chmod(0600, make_disk("$state/two/a/b/more.raw"));
	my ($one, $two) = (start('one', %own), start('two', %own, disks => [\%disk, { format => 'raw', path => 'a/b/more.raw' }]));
	my @uids = map { uid_of($_) } $one, $two;
	ok(!grep({ $_ < 2_100_000_000 || $_ >= 2_100_065_536 } @uids), 'two of the range');
	isnt($uids[0], $uids[1], 'each has its own');
	is((stat "$state/one/disk.raw")[2] & 0777, 0640, 'others may not read its disk') or 1;
	is(owner("$state/two/a/b/more.raw"), "$uids[1]:$uids[1]", 'a disk in directories of root\'s is its own');
	is(owner("$state/two/$_") . sprintf(' %o', (stat "$state/two/$_")[2] & 07777), "0:$uids[1] 710", "$_: it may only pass") for 'a', 'a/b';
	like(vmconf_does('confine', 'one'), qr/^user: $uids[0], which is its own$/m, 'vmconf confine prints it');
	stop($one, 'one');
	stop($two, 'two');
	$one = start('one', %own);
	is(uid_of($one), $uids[0], 'it keeps that');
	stop($one, 'one');
	vmconf_does('rename', 'one', 'won');
	$one = supervise(vm => 'won');
	$one->wait_log(qr/QEMU runs/);
	is(uid_of($one), $uids[0], 'under a new name, too');
	stop($one, 'won');
	vmconf_does('clone', 'won', 'twin');
	my $twin = supervise(vm => 'twin');
	$twin->wait_log(qr/QEMU runs/);
	ok(!grep({ $_ == uid_of($twin) } @uids), 'a clone has another');
	stop($twin, 'twin');
	ok(-l "$state/.uids/$uids[1]", 'it is taken');
	vmconf_does('delete', 'two', '--keep-disks');
	ok(!-l "$state/.uids/$uids[1]", 'and free once the VM is deleted');
	is(owner("$state/two/$_"), '0:0', "what is left is root's: $_") for 'disk.raw', 'a', 'a/b', 'a/b/more.raw';
	T::define('won', { @machine, disks => [\%disk] });
	$one = supervise(vm => 'won');
	$one->wait_log(qr/QEMU runs/);
	is(uid_of($one), $user, 'and back to the system user');
	stop($one, 'won');
};

subtest 'a TPM' => sub {
	plan skip_all => 'no swtpm' if !grep { -x "$_/swtpm" } split(/:/, $ENV{PATH});
	mkdir("$state/tpm");
	mkdir("$state/tpm/tpm", 0700);
	my $s = start('tpm', tpm => JSON::PP::true);
	my ($tpm) = grep { slurp("/proc/$_/comm") =~ /^swtpm/ } children($s->{pid});
	like(slurp("/proc/$tpm/status"), qr/^Uid:\s+$user\s/m, 'its program is that user');
	is(owner($_), "$user:$user", "$_ is its own") for "$state/tpm/tpm", glob("$state/tpm/tpm/tpm2*");
	stop($s, 'tpm');
};

subtest 'what it may not open' => sub {
	my $disk = file('elsewhere.raw');
	my $s = start('disk', disks => [{ path => $disk, format => 'raw' }]);
	like($s->log, qr/QEMU begins as root, and becomes qemu-supervise by itself: only root may open \Q$disk\E \(disks\)/, 'a disk elsewhere is opened by root');
	is(uid_of($s), $user, 'before QEMU is the user');
	is(owner($disk), '0:0', 'and stays whose it is');
	stop($s, 'disk');
	chown($user, $user, $disk);
	$s = start('disk', disks => [{ path => $disk, format => 'raw' }]);
	unlike($s->log, qr/begins as root/, 'need not be, if it is that user\'s');
	stop($s, 'disk');
	mkdir("$work/shared", 0700);
	T::define('shared', { @machine, args => ['-virtfs', "local,path=$work/shared,mount_tag=x,security_model=none"] });
	$s = supervise(vm => 'shared');
	is($s->end, 78, 'a directory that the guest is to work in: status 78');
	like($s->log, qr/shared cannot be started: QEMU runs as qemu-supervise, who may not read and write \Q$work\E\/shared \(-virtfs\): chown it to that user, or name another one as "run-as"/,
		'and what to do');
	vmconf_fails(78, qr/may not read and write \Q$work\E\/shared/, 'check', 'shared');
	$s = start('serves', args => ['-S', '-serial', 'unix:serial.sock,server=on,wait=off']);
	like($s->log, qr/by itself: only root may open \Q$state\E\/serves\/\. \(-serial\)/, 'a socket in its directory is made by root');
	is(uid_of($s), $user, 'before QEMU is the user');
	stop($s, 'serves');
	$s = start('serves', args => ['-S', '-serial', "unix:$state/serves/serial.sock,server=on,wait=off"]);
	like($s->log, qr/by itself: only root may open \Q$state\E\/serves \(/, 'by whatever path');
	stop($s, 'serves');
	my $listening = IO::Socket::UNIX->new(Local => "$work/of-root.sock", Listen => 1) or die $!;
	chmod(0700, "$work/of-root.sock");
	$s = start('connects', args => ['-S', '-serial', "unix:$work/of-root.sock"]);
	like($s->log, qr/by itself: only root may open \Q$work\E\/of-root.sock \(-serial\)/, 'so is a connection to a socket of root\'s');
	stop($s, 'connects');
	file("far.raw");
	mkdir("$state/far");
	symlink("$work/far.raw", "$state/far/disk.raw");
	$s = start('far', disks => [{ path => 'disk.raw', format => 'raw' }]);
	like($s->log, qr/only root may open \Q$state\E\/far\/disk.raw \(disks\)/, 'a link of root\'s leads elsewhere');
	stop($s, 'far');
	chmod(0700, $work);
	T::define('far', { @machine });
	$s = supervise(vm => 'far');
	is($s->end, 78, 'a directory on the way that is root\'s alone: status 78');
	like($s->log, qr/far cannot be started: QEMU runs as qemu-supervise, who may not pass to \Q$state\E\/far: chmod/, 'and what to do');
	chmod(0755, $work);
	my $rom = file('kernel');
	$s = start('late', args => ['-S', '-fw_cfg', "name=opt/x,file=$rom"]);
	like($s->log, qr/QEMU begins as root, and becomes qemu-supervise by itself: only root may open \Q$rom\E \(-fw_cfg\)/, 'another file is opened by root');
	is(uid_of($s), $user, 'before QEMU is the user');
	stop($s, 'late');
	$s = start('low', nics => [{ type => 'user' }], forwards => ['127.0.0.1:999:22']);
	like($s->log, qr/by itself: a port of the host below 1024 is root's/, 'a low port');
	is(uid_of($s), $user, 'the user, all the same');
	stop($s, 'low');
	my $script = spew("$work/qemu-script", qq(#!/bin/sh\nexec qemu-system-x86_64 "\$@"\n));
	chmod(0755, $script);
	$s = start('script', emulator => $script);
	like($s->log, qr/by itself: its emulator is not QEMU itself/, 'a script');
	is(uid_of($s), $user, 'is root, and QEMU is not');
	stop($s, 'script');
};

subtest 'descriptors that the definition names' => sub {
	my $named = spew("$work/named", 'x' x 512);
	T::define('fds', { @machine, args => ['-S', '-add-fd', 'fd=8,set=5', '-add-fd', 'set=6,fd=9'] });
	my $s = supervise(vm => 'fds', setup => sub { POSIX::dup2(POSIX::open($named, POSIX::O_RDONLY()), $_) for 8, 9, 10 });
	$s->wait_log(qr/QEMU runs/);
	is(scalar(grep { (readlink($_) // '') eq $named } glob('/proc/' . $s->qemu . '/fd/*')), 2, 'both are there, and not the third');
	stop($s, 'fds');
};

subtest 'whose files are given' => sub {
	mkdir("$state/files");
	make_disk("$state/files/$_.raw") for 'linked', 'somebody';
	link("$state/files/linked.raw", "$work/other-name");
	chown(65534, 65534, "$state/files/somebody.raw");
	my $disks = sub { return { @machine, disks => [{ path => "$_[0].raw", format => 'raw' }] } };
	symlink(file('of-root'), "$state/files/link.raw");
	run_command('chown', '-h', $user, "$state/files/link.raw");
	chmod(0600, glob "$state/files/*.raw");
	for my $name (qw(linked somebody link)) {
		T::define('files', $disks->($name));
		my $s = supervise(vm => 'files');
		is($s->end, 78, "$name: is not given");
	}
	is(owner("$work/of-root"), '0:0', 'what a link leads to is still root\'s');
	is(owner("$work/other-name"), '0:0', 'and what has another name');
};

subtest 'root' => sub {
	my $s = start('root', 'run-as' => 'root');
	is(uid_of($s), 0, 'if the definition says so');
	unlike($s->log, qr/QEMU (is|begins as) root/, 'and nothing is said');
	like((vmconf('check', 'root'))[2], qr/root\.json: run-as: QEMU runs as root: a guest that breaks out/, 'but check warns');
	is((vmconf('check', 'root'))[0], 0, 'and succeeds');
	stop($s, 'root');
	T::define('nobody', { @machine, 'run-as' => 'no-such-user' });
	$s = supervise(vm => 'nobody');
	is($s->end, 78, 'a user who does not exist: status 78');
	like($s->log, qr/run-as: there is no user no-such-user/, 'and why');
	$s = start('args', args => ['-S', '-runas', 'nobody']) if (run_command('qemu-system-x86_64', '-help'))[1] =~ /^-runas/m;
	is(uid_of($s), 65534, 'args say whom QEMU becomes') if $s->qemu;
	stop($s, 'args') if $s->qemu;
	spew("$work/passwd", join('', grep { !/^qemu-supervise:/ } map { "$_\n" } split(/\n/, slurp('/etc/passwd'))));
	chmod(0644, "$work/passwd");
	T::define('none', {@machine});
	$s = supervise(vm => 'none', prefix => ['unshare', '-m', 'sh', '-c', "mount --bind $work/passwd /etc/passwd && exec \"\$@\"", 'sh']);
	$s->wait_log(qr/QEMU runs/);
	like($s->log, qr/QEMU is root, as there is no user qemu-supervise: make it \(systemd-sysusers, /, 'without that user the log says so');
	is(uid_of($s), 0, 'and it is root');
	stop($s, 'none');
};

done_testing;
