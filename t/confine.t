#!/usr/bin/perl
# Confinement: a real QEMU with a real guest has what its definition names and nothing else, and says how to get more.
use strict;
use warnings;
use FindBin;
use JSON::PP ();
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'qemu-img');
my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $true = JSON::PP::true;
my @machine = (accel => 'tcg', memory => '64M');

sub image { is((run_command('qemu-img', 'create', '-q', @_))[0], 0, "image $_[-1]") }

# The rights that vmconf confine tells of a path.
sub rights {
	my ($name, $path) = @_;
	my ($rule) = grep { $_->{path} eq $path } @{ JSON::PP::decode_json(vmconf_does('confine', $name, '--json'))->{files} };
	return $rule ? join(',', @{ $rule->{rights} }) : 'none';
}

subtest 'a guest with all sorts of devices' => sub {
	my $disk = make_disk();
	mkdir("$work/share");
	image('-f', 'raw', "$work/raw", '1M');
	image('-f', 'qcow2', "$work/cow", '1M');
	my $web = T::guest_definition('normal', disk => $disk, console => "$work/console",
		args => ['-virtfs', "local,path=$work/share,mount_tag=s,security_model=mapped-xattr", '-vnc', "unix:$work/vnc",
			'-object', 'memory-backend-memfd,id=m,size=8M', '-object', "memory-backend-file,id=f,size=1M,mem-path=$work/memory",
			'-chardev', "socket,id=c,path=$work/channel,server=on,wait=off"]);
	$web->{disks}[1] = { path => "$work/cow", format => 'qcow2' };
	$web->{cdrom} = "$work/raw";
	$web->{nics} = [{ type => 'user' }];
	$web->{forwards} = ['23456+:22'];
	T::define('web', $web);
	is(rights('web', $disk), 'read,write', 'a disk');
	is(rights('web', "$work/raw"), 'read', 'the cdrom');
	is(rights('web', '/etc/shadow'), 'none', 'anything else');
	my $s = supervise(vm => 'web');
	wait_until('the guest', sub { slurp("$work/console") =~ /guest: listening/ });
	unlike($s->log, qr/not confined|Permission denied/, 'it has all it needs');
	ok(-S "$work/vnc" && -S "$work/channel" && -f "$work/memory", 'and made its sockets and its memory');
	vmconf_fails(1, qr{Permission denied; confined: \Q$work\E/other is not in the definition; add it to confine.read}, 'qmp', 'web',
		'blockdev-add', qq({"node-name": "x", "driver": "file", "filename": "$work/other"})) if spew("$work/other", 'x' x 512);
	vmconf_does('qmp', 'web', 'blockdev-snapshot-sync', qq({"node-name": "disk1", "snapshot-file": "$state/web/over", "snapshot-node-name": "o"}));
	rename("$work/raw", "$work/raw.was");
	spew("$work/raw", 'y' x 512);
	vmconf_fails(1, qr{Permission denied}, 'qmp', 'web', 'blockdev-add', qq({"node-name": "x", "driver": "file", "filename": "$work/raw", "read-only": true}));
	rename("$work/raw.was", "$work/raw");
	vmconf_does('qmp', 'web', 'blockdev-add', qq({"node-name": "x", "driver": "file", "filename": "$work/raw", "read-only": true}));
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'web');
	unlike($s->log, qr/Permission denied/, 'the end, too');
	ok(disk_is_clean($disk), 'clean');
};

subtest 'a base that only the image names' => sub {
	image('-f', 'raw', "$work/base", '1M');
	image('-f', 'qcow2', '-b', "$work/base", '-F', 'raw', "$work/top");
	my %vm = (@machine, disks => [{ path => "$work/top", format => 'qcow2' }], args => ['-S']);
	T::define('doubt', \%vm);
	my $explained = qr{confined: \Q$work\E/base is not in the definition; add it to confine.read};
	my $s = supervise(vm => 'doubt');
	is($s->end, 69, 'is not read');
	like($s->log, $explained, 'and the log says what to do');
	like(join('', vmconf('check', 'doubt')), qr{may not open \Q$work\E/base}, 'so does check');
	T::define('doubt', { %vm, confine => { read => ["$work/base"] } });
	is(rights('doubt', "$work/base"), 'read,ioctl', 'it may be added');
	$s = running(vm => 'doubt');
	$s->signal('QUIT');
	$s->ends_with(0, qr/no guest was running/, 'doubt');
};

subtest 'a chain that vmconf has made' => sub {
	mkdir($state);
	mkdir("$work/bases");
	image('-f', 'raw', "$work/bases/one", '1M');
	image('-f', 'qcow2', '-b', "$work/bases/one", '-F', 'raw', "$work/bases/two.qcow2");
	vmconf_does('create', 'chain', quick('--image', "$work/bases/two.qcow2", '--trust-image', '--set', 'on.TERM=quit 60s, kill'));
	my $s = running(vm => 'chain');
	is(rights('chain', "$work/bases/$_"), 'read', $_) for 'one', 'two.qcow2';
	$s->signal('TERM');
	$s->ends_with(0, qr/no guest was running/, 'chain');
};

# QEMU does not say of all of them why; one option names a file that only its own contents name.
subtest 'a file in args that is not known to be one' => sub {
	my $rom = spew("$work/rom", 'x' x 512);
	my $config = spew("$work/extra", qq([drive]\n  file = "$work/other"\n  format = "raw"\n  if = "virtio"\n));
	for (
		[rom => ['-nic', 'user,model=virtio-net-pci', '-global', "virtio-net-pci.romfile=$rom"], $rom, 1],
		[config => ['-readconfig', $config], "$work/other", 0]
	) {
		my ($name, $args, $path, $seen) = @$_;
		T::define($name, { @machine, args => ['-S', @$args] });
		my $s = supervise(vm => $name);
		is($s->end, 69, "$name: QEMU does not start");
		like($s->log, qr{confined: \Q$path\E is not in the definition; add it to confine.read}, "$name: and the log says why");
		my ($status, $out, $err) = vmconf('check', $name);
		like($err, qr{$name.json: args: QEMU is confined, and may not open \Q$path\E: add it to confine.read}, "$name: so does check") if $seen;
		unlike($err, qr{\Q$path\E}, "$name: which check cannot know") if !$seen;
		T::define($name, { @machine, args => ['-S', @$args], confine => { read => [$path] } });
		unlike(join('', vmconf('check', $name)), qr/confined/, "$name: it is added");
		$s = supervise(vm => $name);
		$s->wait_log(qr/QEMU runs|ended/);
		unlike($s->log, qr/confined: \Q$path\E is not/, "$name: and QEMU reads it");
		$s->signal('QUIT');
		$s->end;
	}
};

subtest 'a connection' => sub {
	my @add = ('blockdev-add', qq({"node-name": "x", "driver": "nbd", "server": {"type": "inet", "host": "127.0.0.1", "port": "1"}}));
	T::define('calls', { @machine, args => ['-S'] });
	my $s = running(vm => 'calls');
	vmconf_fails(1, qr/Permission denied; confined: nothing in the definition connects by TCP, so QEMU may not/, 'qmp', 'calls', @add);
	my $err = vmconf_fails(1, qr/No such file/, 'qmp', 'calls', 'blockdev-add',
		qq({"node-name": "x", "driver": "nbd", "server": {"type": "unix", "path": "$work/nowhere"}}));
	unlike($err, qr/confined/, 'a socket with a path is no matter of rules');
	$s->signal('QUIT');
	$s->end;
	T::define('calls', { @machine, args => ['-S'], nics => [{ type => 'user' }] });
	$s = running(vm => 'calls');
	unlike(vmconf_fails(1, qr/Connection refused/, 'qmp', 'calls', @add), qr/confined/, 'where a nic connects, it may');
	$s->signal('QUIT');
	$s->end;
};

# t/escape.t has what an older Landlock refuses; here is what it lets a real QEMU do, and what is told of it.
subtest 'an older kernel' => sub {
	plan skip_all => 'cc is not installed' if (run_command('cc', '--version'))[0] && !$ENV{T_NO_SKIP};
	my $old = "$work/old-kernel";
	is((run_command('cc', '-D_GNU_SOURCE', '-o', $old, "$top/t/old-kernel.c"))[0], 0, 't/old-kernel');
	image('-f', 'qcow2', "$work/older", '1M');
	T::define('older', { @machine, args => ['-S'], nics => [{ type => 'user' }], disks => [{ path => "$work/older", format => 'qcow2' }] });
	my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";
	for ([0, qr/not confined: this kernel has no Landlock/], [1, qr/but for truncate\(2\), TCP,/], [4, qr/but for ioctl on devices, signals/]) {
		my ($version, $told) = @$_;
		my $s = running(vm => 'older', prefix => [$old, $version]);
		like($s->log, $told, "$version: the log");
		my $opened = eval { $s->qmp->command('blockdev-add', { 'node-name' => 'x', driver => 'file', filename => "$work/other" }); 1 };
		is($opened ? 1 : 0, $version ? 0 : 1, "$version: other files");
		$s->signal('QUIT');
		$s->end;
		like((run_command($old, $version, $vmconf, 'confine', 'older'))[1], $told, "$version: vmconf confine");
		like((run_command($old, $version, $vmconf, 'doctor'))[1], $version ? qr/landlock .*ABI $version, $told/ : qr/landlock +.*none/, "$version: doctor");
	}
};

subtest 'what is not confined' => sub {
	my $script = spew("$work/qemu-script", qq(#!/bin/sh\nexec qemu-system-x86_64 "\$@"\n));
	chmod(0755, $script);
	T::define('script', { @machine, args => ['-S'], emulator => $script });
	my $s = running(vm => 'script');
	like($s->log, qr/QEMU is not confined: its emulator is not QEMU itself/, 'a script, and the log says so');
	$s->signal('QUIT');
	$s->end;
	T::define('script', { @machine, args => ['-S'], emulator => $script, confine => $true });
	$s = running(vm => 'script');
	unlike($s->log, qr/not confined/, 'unless its definition says that it is');
	ok(!eval { $s->qmp->command('blockdev-add', { 'node-name' => 'x', driver => 'file', filename => "$work/other" }); 1 }, 'other files are refused');
	$s->signal('QUIT');
	$s->end;
	T::define('off', { @machine, args => ['-S'], confine => JSON::PP::false });
	$s = running(vm => 'off');
	$s->qmp->command('blockdev-add', { 'node-name' => 'x', driver => 'file', filename => "$work/other" });
	unlike($s->log, qr/confined/, 'the definition says so: nothing is said');
	$s->signal('QUIT');
	$s->end;
};

subtest 'a command line' => sub {
	my @qemu = ('qemu-system-x86_64', '-accel', 'tcg', '-m', '64M', '-S', '-display', 'none', '-nodefaults');
	my $s = supervise(command => [@qemu, '-drive', "file=$work/raw,format=raw,if=virtio", '-serial', "file:$work/serial"], name => 'line',
		options => ['--confine']);
	$s->wait_log(qr/QEMU runs/);
	ok(-f "$work/serial", 'what an option names is made');
	ok(!eval { $s->qmp->command('blockdev-add', { 'node-name' => 'x', driver => 'file', filename => "$work/other" }); 1 }, 'anything else is refused');
	$s->signal('QUIT');
	$s->end;
	is((run_command($ENV{T_SUPERVISE} || "$top/qemu-supervise", '--confine=all', '--', @qemu))[0], 64, 'a right that there is none of');
};

done_testing;
