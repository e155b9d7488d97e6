#!/usr/bin/perl
# Real VMs that run as their definitions say.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;
use IO::Socket::UNIX;
use JSON::PP;

need('qemu-system-x86_64', 'qemu-system-aarch64');

my $guest = guest_files();
my $config = "$work/config";
my $state = "$work/state";
mkdir $config;
mkdir $state;
local $ENV{QEMU_SUPERVISE_CONFIG_DIR} = $config;
local $ENV{QEMU_SUPERVISE_STATE_DIR} = $state;

my %linux = (
	accel => 'tcg', memory => '128M', kernel => "$guest/vmlinux", initrd => "$guest/initrd",
	append => 'console=ttyS0 quiet panic=-1 cryptomgr.notests noreplace-smp nokaslr no_timer_check tsc=reliable guest=normal'
);

sub define {
	my ($name, %keys) = @_;
	spew("$config/$name.json", encode_json(\%keys));
}

# Starts a VM by its name alone.
sub start {
	my ($name, @options) = @_;
	return supervise(vm => $name, options => \@options);
}

# The console of a VM as a handle, and what it has said so far.
sub console {
	my ($s) = @_;
	my $path = $s->dir . '/console';
	return { socket => wait_until("socket $path", sub { IO::Socket::UNIX->new(Peer => $path) }), text => '' };
}

sub wait_for {
	my ($console, $what) = @_;
	wait_until(sub { "$what on the console:\n$console->{text}" }, sub {
		my $bits = '';
		vec($bits, fileno($console->{socket}), 1) = 1;
		sysread($console->{socket}, $console->{text}, 65536, length $console->{text}) if select($bits, undef, undef, 0) > 0;
		return $console->{text} =~ $what;
	});
}

sub status_of {
	my ($pid, $key) = @_;
	return slurp("/proc/$pid/status") =~ /^$key:\s+(.*)$/m ? $1 : '';
}

sub qemu_of { return qemu_in("$state/$_[0]/vm.lock") }

subtest 'a guest with a disk of an odd name' => sub {
	my $name = "a,b c'\"%d\nüi,file=x.raw";
	mkdir "$state/odd";
	make_disk("$state/odd/$name");
	utf8::decode(my $path = $name);
	define('odd', %linux, disks => [{ path => $path, format => 'raw', discard => 'unmap' }], nics => [{ type => 'user' }],
		on => { TERM => 'powerdown 100s, kill' }, ready => 'listening', agent => JSON::PP::true);
	my $s = start('odd', '-v');
	my $console = console($s);
	wait_for($console, qr/guest: listening/);
	$s->wait_log(qr/readiness reported/);
	my $qemu = qemu_of('odd');
	is(readlink("/proc/$qemu/cwd"), "$state/odd", 'QEMU works in the state directory');
	is(slurp("/proc/$qemu/comm"), "vm-odd\n", 'and has a name of its own');
	is(status_of($qemu, 'Seccomp'), 2, 'it is in the sandbox');
	ok(!-e $s->dir . '/vm.lock', 'vm.lock is not in the runtime directory');
	ok(-S $s->dir . '/agent', 'there is a socket for the agent');
	my @said = run_command($s->{command}[0], 'odd');
	is($said[0], 75, 'a second supervisor is refused');
	{
		local $ENV{QEMU_SUPERVISE_RUNTIME_DIR} = "$work/other-run";
		@said = run_command($s->{command}[0], 'odd');
		is($said[0], 75, 'also with another runtime directory: the disk is the same');
		like($said[2], qr/still runs.*QEMU's pid is $qemu/, 'and it says who holds it');
	}
	$s->signal('TERM');
	$s->ends_with(0, qr/TERM: powerdown \S+s$/, 'odd');
	ok(disk_is_clean("$state/odd/$name"), 'file system clean');
	ok(!-e "$state/odd/vm.lock", 'vm.lock is removed');
};

subtest 'UEFI' => sub {
	need_firmware('x86_64') or return;
	define('uefi', accel => 'tcg', memory => '256M', firmware => 'uefi');
	my $s = start('uefi');
	my $console = console($s);
	wait_for($console, qr/BdsDxe|UEFI|Boot/);
	my $store = "$state/uefi/uefi-vars.fd";
	ok(-s $store, 'a variable store was made');
	is((stat $store)[2] & 0777, 0600, 'of its own');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'uefi');
	is_deeply([map { s{.*/}{}r } glob "$state/uefi/*"], ['history.jsonl', 'uefi-vars.fd', 'uefi-vars.json'], 'nothing but it is left, and how it ended');
	my $before = slurp($store);
	open(my $fh, '+<', $store) or die;
	seek($fh, -8, 2);
	print $fh 'mine-own';
	close($fh);
	$s = start('uefi');
	$s->wait_log(qr/QEMU runs/);
	$s->signal('QUIT');
	$s->end;
	is(substr(slurp($store), -8), 'mine-own', 'it is kept at the next start');
	isnt(slurp($store), '', 'whole');
	is(length slurp($store), length $before, 'with its size');
};

subtest 'no firmware, no store' => sub {
	need_firmware('x86_64') or return;
	define('none', accel => 'tcg', machine => 'microvm', firmware => 'uefi');
	my $s = start('none');
	is($s->end, 78, 'no UEFI for a microvm: status 78');
	like($s->log, qr/none\.json: firmware: no UEFI firmware for the machine microvm of x86_64/, 'and it says so');
	# A template that cannot be read whole: nothing half is left.
	my $descriptors = "$work/xdg/qemu/firmware";
	system('mkdir', '-p', $descriptors);
	spew("$work/code.fd", 'code');
	mkdir "$work/template.fd";
	spew("$descriptors/00-mine.json", encode_json({
		'interface-types' => ['uefi'], features => [],
		mapping => { device => 'flash', executable => { filename => "$work/code.fd", format => 'raw' },
			'nvram-template' => { filename => "$work/template.fd", format => 'raw' } },
		targets => [{ architecture => 'x86_64', machines => ['pc-q35-*'] }]
	}));
	local $ENV{XDG_CONFIG_HOME} = "$work/xdg";
	define('half', accel => 'tcg', firmware => 'uefi');
	my (undef, $out) = run_command($s->{command}[0], '--print', 'half');
	like($out, qr{"filename":"\Q$work\E/code\.fd"}, 'a descriptor of the user comes first');
	$s = start('half');
	is($s->end, 71, 'a store that cannot be made: status 71');
	like($s->log, qr{cannot copy \Q$work\E/template\.fd to \Q$state\E/half/uefi-vars\.fd: Is a directory}, 'and it says so');
	is_deeply([glob "$state/half/*"], ["$state/half/history.jsonl"], 'nothing is left but how it ended');
	ok(!-e $s->dir, 'nor a runtime directory');
	spew("$descriptors/60-edk2-x86_64.json", '');
	unlink "$descriptors/00-mine.json";
	$s = start('half');
	is($s->end, 78, 'an empty descriptor hides the one of its name');
};

subtest 'aarch64' => sub {
	need_firmware('aarch64') or return;
	define('arm', emulator => 'qemu-system-aarch64', memory => '256M', cpu => 'cortex-a57', firmware => 'uefi', agent => JSON::PP::true,
		disks => [{ format => 'null-co', size => 1 << 20 }], nics => [{ type => 'user' }]);
	my $s = start('arm');
	my $console = console($s);
	wait_for($console, qr/BdsDxe|UEFI|Boot/);
	pass('the firmware talks on the console');
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, 'arm');
};

subtest 'every kind of device' => sub {
	spew("$work/x.iso", "\0" x 4096);
	my %keys = (
		accel => 'tcg', memory => '64M', cdrom => "$work/x.iso", display => 'vnc=unix:a b.sock', agent => JSON::PP::true,
		disks => [map { { format => 'null-co', size => 1 << 20, device => $_ } } qw(ide-hd ide-hd scsi-hd usb-storage nvme virtio-blk-pci)],
		nics => [{ type => 'user', device => 'e1000e' }]
	);
	for my $machine ('q35', 'pc') {
		define('devices', %keys, machine => $machine);
		my $s = start('devices');
		$s->wait_log(qr/QEMU runs/);
		my @found = map { $_->{device} } @{ $s->qmp->command('query-block') };
		is(scalar(@found), 7, "$machine: six disks and a disc");
		ok(-S "$state/devices/a b.sock", "$machine: a display, in the state directory");
		$s->signal('QUIT');
		$s->ends_with(80, qr/quit/, $machine);
	}
};

subtest 'run-as' => sub {
	plan skip_all => 'needs root' if $> != 0;
	chmod(0755, $work);
	mkdir("$state/nobody", 0700);
	my $disk = make_disk("$state/nobody/root-only.raw");
	my $elsewhere = make_disk("$work/root-only.raw");
	chmod(0600, $disk, $elsewhere);
	define('nobody', %linux, 'run-as' => 'nobody', disks => [map { +{ path => $_, format => 'raw' } } $elsewhere, 'root-only.raw']);
	my $s = start('nobody');
	wait_for(console($s), qr/guest: listening/);
	my $qemu = qemu_of('nobody');
	is((split ' ', status_of($qemu, 'Uid'))[1], (getpwnam 'nobody')[2], 'QEMU is somebody else');
	is(status_of($qemu, 'Seccomp'), 2, 'in the sandbox');
	is((stat $disk)[4], (getpwnam 'nobody')[2], 'a disk in its directory that only root could open is its own');
	is((stat "$state/nobody")[4], 0, 'the directory is not');
	is($s->qmp->status, 'running', 'the sockets can be used');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'nobody');
	is((stat $elsewhere)[4], 0, 'one elsewhere stays root\'s');
	ok(disk_is_clean($elsewhere), 'and is clean');
};

subtest 'from the bottom' => sub {
	define('nothing', accel => 'tcg', emulator => "$work/no-such-qemu");
	my $s = start('nothing');
	is($s->end, 127, 'no emulator: status 127');
	define('wrong', accel => 'tcg', disks => [{ path => 'missing.raw', format => 'raw' }]);
	$s = start('wrong');
	is($s->end, 69, 'a missing disk: status 69');
	like($s->log, qr{\Q$state\E/wrong/missing\.raw.*No such file}, "QEMU's own words");
	define('unknown', accel => 'tcg', disks => [{ path => 'x', format => 'raw', discrad => 'unmap' }]);
	spew("$state/wrong/x", "\0" x 512);
	mkdir "$state/unknown";
	spew("$state/unknown/x", "\0" x 512);
	$s = start('unknown');
	is($s->end, 69, 'a key that QEMU does not know: status 69');
	like($s->log, qr/'discrad'/, "QEMU's own words, too");
};

sub need_firmware {
	my ($arch) = @_;
	return 1 if grep { slurp($_) =~ /"architecture": "$arch"/ } glob '/usr/share/qemu/firmware/*.json';
	die "UEFI firmware for $arch is missing, and T_NO_SKIP is set\n" if $ENV{T_NO_SKIP};
	plan skip_all => "no UEFI firmware for $arch (t/setup check installs it)";
}

done_testing;
