#!/usr/bin/perl
# Confinement: a real guest boots from, is reached by and uses each kind of thing that a definition may name. QEMU is refused nothing
# that it needs, and what the rows have in common is as strict as ever.
use strict;
use warnings;
use FindBin;
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP ();
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'qemu-img', 'qemu-storage-daemon', 'ip');
my $root = $> == 0;
my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
spew("$work/other", 'x' x 512);

sub does {
	my @result = run_command(@_);
	is($result[0], 0, "@_") or diag($result[2]);
	return $result[1];
}

# What vmconf confine tells of a VM.
sub confined { return JSON::PP::decode_json(vmconf_does('confine', $_[0], '--json')) }

sub rights {
	my ($name, $path) = @_;
	my ($rule) = grep { $_->{path} eq $path } @{ confined($name)->{files} };
	return $rule ? join(',', @{ $rule->{rights} }) : 'none';
}

# A VM whose guest has a disk: keys go into its definition, append to its kernel's words.
sub guest {
	my ($name, %o) = @_;
	my $vm = T::guest_definition('normal', disk => $o{disk} || make_disk("$work/$name.raw"), console => "$work/$name.console", %o);
	T::define($name, { %$vm, confine => JSON::PP::true, %{ $o{keys} || {} } });
	return supervised($name, prefix => $o{prefix} || []);
}

sub supervised {
	my ($name, %o) = @_;
	my $s = supervise(vm => $name, %o);
	$s->{console} = "$work/$name.console";
	return $s;
}

# It is confined, and has all it needs.
sub up {
	my ($s, $said) = @_;
	$s->wait_console($said || qr/guest: listening/);
	unlike($s->log, qr/not confined|Permission denied/, "$s->{name}: up, and refused nothing");
	ok(!eval { $s->qmp->command('blockdev-add', { 'node-name' => 'x', driver => 'file', filename => "$work/other" }); 1 },
		"$s->{name}: other files are refused");
}

sub off {
	my ($s, $disk) = @_;
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, $s->{name});
	unlike($s->log, qr/Permission denied/, "$s->{name}: nor was it later");
	ok(disk_is_clean($disk), "$s->{name}: its disk is clean") if $disk;
}

# A program beside it, until a file is there.
sub daemon {
	my ($file, @command) = @_;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDERR, '>', "$work/daemon.err");
		exec @command or POSIX::_exit(127);
	}
	wait_until("@command", sub { waitpid($pid, POSIX::WNOHANG()) == 0 or die slurp("$work/daemon.err"); $file->() });
	return $pid;
}

sub ended {
	my ($pid) = @_;
	kill('TERM', $pid);
	waitpid($pid, 0);
}

sub free_port {
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $!;
	return $socket->sockport;
}

subtest 'an image on an image on an image, and each way into the guest' => sub {
	my $base = make_disk("$work/base.raw");
	does('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', $base, '-F', 'raw', "$work/middle");
	does('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', "$work/middle", '-F', 'qcow2', "$work/top");
	my $port = free_port();
	my $before = slurp($base);
	my $s = guest('all', append => 'serve=2222', agent => 'obeys', keys => {
		console => 'socket', 'console-log' => JSON::PP::true, args => ['-vnc', "unix:$work/vnc"], confine => { read => [$base, "$work/middle"] },
		disks => [{ path => "$work/top", format => 'qcow2' }], nics => [{ type => 'user' }], forwards => ["$port:2222"],
		on => { TERM => 'agent-shutdown 120s, kill' } });
	$s->{console} = "$state/all/console.log";
	up($s, qr/guest: listening/);
	is_deeply([map { rights('all', "$work/$_") } 'top', 'middle', 'base.raw'], ['read,write', 'read,ioctl', 'read,ioctl'], 'only the top may be written to');
	my $forward = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or die $!;
	is(<$forward>, "guest: hello\n", 'the forwarded port');
	my $vnc = IO::Socket::UNIX->new(Peer => "$work/vnc") or die $!;
	sysread($vnc, my $greeting, 8);
	is($greeting, 'RFB 003.', 'VNC');
	close($vnc);
	wait_until('the agent', sub { $s->state->{agent} });
	off($s);
	like($s->console, qr/guest: agent asked/, 'its agent took it down');
	is(slurp($base), $before, 'the base is as it was');
	does('qemu-img', 'convert', '-O', 'raw', "$work/top", "$work/flat");
	ok(disk_is_clean("$work/flat"), 'and what the guest wrote is whole');
};

subtest 'a block device' => sub {
	plan skip_all => 'only root may make one' if !$root;
	my $disk = make_disk("$work/loop.raw");
	my ($status, $device) = run_command('losetup', '--find', '--show', $disk);
	plan skip_all => 'there is no loop device' if $status != 0 && !$ENV{T_NO_SKIP};
	is($status, 0, 'a loop device');
	chomp $device;
	my $s = guest('block', disk => $device);
	up($s);
	is(rights('block', $device), 'read,write,ioctl', $device);
	off($s);
	does('losetup', '--detach', $device);
	wait_until("$device without $disk", sub { (run_command('losetup', '--associated', $disk))[1] eq '' });
	ok(disk_is_clean($disk), 'clean');
};

# Each kind of address is told as QEMU takes it; TCP is a right, a socket with a path is none.
for my $how ('inet', 'unix') {
	subtest "a disk of an NBD server, $how" => sub {
		my $disk = make_disk("$work/nbd-$how.raw");
		my ($port, $socket) = (free_port(), "$work/nbd.sock");
		my $server = $how eq 'inet' ? { type => 'inet', host => '127.0.0.1', port => "$port" } : { type => 'unix', path => $socket };
		my $pid = daemon(sub { $how eq 'unix' ? -S $socket : IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) },
			'qemu-nbd', '-t', '-f', 'raw', '-e', '4', '-x', '', $how eq 'inet' ? ('-b', '127.0.0.1', '-p', $port) : ('-k', $socket), $disk);
		my $s = guest("nbd-$how", keys => { disks => [{ format => 'nbd', server => $server }] });
		up($s);
		is(confined("nbd-$how")->{'tcp-connect'}, JSON::PP::true, 'it may connect');
		off($s);
		ended($pid);
		ok(disk_is_clean($disk), 'clean');
	};
}

# With less memory this firmware gets lost on its way into Linux, confined or not.
subtest 'UEFI' => sub {
	plan skip_all => 'no UEFI firmware (package ovmf)' if !-e '/usr/share/OVMF/OVMF_CODE_4M.fd' && !$ENV{T_NO_SKIP};
	my $disk = make_disk("$work/uefi.raw");
	my $s = guest('uefi', disk => $disk, keys => { firmware => 'uefi', memory => '512M', cpu => 'qemu64' });
	up($s);
	is(rights('uefi', "$state/uefi/uefi-vars.fd"), 'read,write', 'its variables');
	off($s, $disk);
};

# ---- networks of the host ----

sub pings {
	my ($name, $nic, $setup) = @_;
	my $files = T::ssh_guest_files();
	T::define($name, { accel => 'tcg', memory => '128M', nics => [$nic], kernel => "$files/vmlinux", initrd => "$files/initrd-ssh", console => 'none',
		append => T::ssh_guest_append('none', 'address=10.77.0.2/24', 'pings=10.77.0.1'), args => ['-serial', "file:$work/$name.console"] });
	my $s = supervised($name, prefix => ['unshare', '-n', '-m', 'sh', '-euc', "$setup; exec \"\$@\"", 'sh']);
	up($s, qr/guest: reaches 10\.77\.0\.1/);
	return $s;
}

subtest 'a tap' => sub {
	plan skip_all => 'only root may make one' if !$root;
	my $s = pings('tap', { type => 'tap', ifname => 'tap7', script => 'no', downscript => 'no' },
		'ip tuntap add tap7 mode tap; ip addr add 10.77.0.1/24 dev tap7; ip link set tap7 up');
	is(confined('tap')->{programs}, JSON::PP::false, 'no program of the host');
	off($s);
};

# Its helper reads /etc/qemu/bridge.conf.
subtest 'a bridge, by the helper of QEMU' => sub {
	plan skip_all => 'only root may make one' if !$root;
	my $s = pings('bridge', { type => 'bridge', br => 'br7' }, "mount -t tmpfs none '$work/etc'; mkdir -p '$work/etc/upper/qemu' '$work/etc/work';"
		. " echo allow br7 >'$work/etc/upper/qemu/bridge.conf'; mount -t overlay -o 'lowerdir=/etc,upperdir=$work/etc/upper,workdir=$work/etc/work' none /etc;"
		. ' ip link add br7 type bridge; ip addr add 10.77.0.1/24 dev br7; ip link set br7 up') if mkdir("$work/etc");
	is(confined('bridge')->{programs}, JSON::PP::true, 'it starts a program');
	off($s);
};

# ---- memory ----

sub memory {
	my ($object, @more) = @_;
	return ['-object', "$object,id=ram,size=128M,share=on", '-machine', 'memory-backend=ram', @more];
}

subtest 'huge pages' => sub {
	plan skip_all => 'only root may mount them' if !$root;
	my ($sysctl, $pages) = ('/proc/sys/vm/nr_hugepages', 64);
	my $had = slurp($sysctl) + 0;
	spew($sysctl, $had + $pages);
	plan skip_all => 'this host cannot spare them' if slurp($sysctl) < $had + $pages && !$ENV{T_NO_SKIP};
	my $dir = "$work/huge";
	mkdir($dir);
	my $disk = make_disk("$work/huge.raw");
	my $args = memory("memory-backend-file,mem-path=$dir", '-serial', "file:$work/huge.console");
	my $s = guest('huge', disk => $disk, keys => { args => $args },
		prefix => ['unshare', '-m', 'sh', '-euc', "mount -t hugetlbfs none '$dir'; exec \"\$@\"", 'sh']);
	up($s);
	like(slurp('/proc/' . $s->qemu . '/smaps'), qr{\Q$dir\E/.*\n(?:.*\n)*?KernelPageSize: +2048 kB}, 'the guest has them');
	off($s, $disk);
	spew($sysctl, $had);
};

subtest 'a disk by vhost-user, in memory that is shared' => sub {
	my ($disk, $socket) = (make_disk("$work/vhost.raw"), "$work/vhost.sock");
	my $pid = daemon(sub { -S $socket }, 'qemu-storage-daemon', '--blockdev', "file,node-name=disk,filename=$disk",
		'--export', "vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=$socket,writable=on");
	my $args = memory('memory-backend-memfd', '-serial', "file:$work/vhost.console", '-chardev', "socket,id=v,path=$socket",
		'-device', 'vhost-user-blk-pci,chardev=v');
	my $s = guest('vhost', disk => $disk, keys => { disks => [], args => $args });
	up($s);
	is(rights('vhost', $disk), 'none', 'QEMU itself has no right to the disk');
	off($s);
	ended($pid);
	ok(disk_is_clean($disk), 'clean');
};

# ---- a guest that comes from another QEMU ----

for my $how ('unix', 'tcp') {
	subtest "-incoming, $how" => sub {
		my $nics = $how eq 'tcp' ? [{ type => 'user' }] : [];	# which may connect
		my $disk = make_disk("$work/moving-$how.raw");
		my $uri = $how eq 'unix' ? "unix:$work/incoming" : 'tcp:127.0.0.1:' . free_port();
		my $from = guest("from-$how", disk => $disk, keys => { nics => $nics });
		up($from);
		my $to = guest("to-$how", disk => $disk, keys => { nics => $nics }, args => ['-incoming', $uri]);
		$to->wait_log(qr/QEMU runs/);
		is(confined("to-$how")->{'tcp-listen'}, $how eq 'tcp' ? JSON::PP::true : JSON::PP::false, 'only where it listens, it may');
		my $qmp = $from->qmp;
		$qmp->command('migrate', { uri => $uri });
		wait_until('the migration', sub { $qmp->command('query-migrate')->{status} =~ /^(?:completed|failed)$/ });
		is($qmp->command('query-migrate')->{status}, 'completed', 'it goes');
		$from->signal('TERM');
		$from->ends_with(0, qr/migrated/, 'where it was');
		is($to->qmp->status, 'running', 'it goes on');
		off($to, $disk);
	};
}

done_testing;
