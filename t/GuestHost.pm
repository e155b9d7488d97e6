# A host with a kernel of its own, which is a guest under TCG: for what only a whole kernel has, such as control groups of version 2 with
# all their controllers. It has this machine's QEMU, our programs as make install puts them, and systemd or a shell as its process 1,
# which reads commands from its second serial line. Its disk is gone with it.
package GuestHost;

use strict;
use warnings;
use File::Path qw(make_path);
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX ();
use T;

my @packages = qw(systemd systemd-sysv dbus);
my @more = ('/usr/share/seabios/bios-256k.bin', '/usr/share/qemu/kvmvapic.bin', glob '/usr/lib/*/qemu/accel-tcg-x86_64.so');
my $image = "$work/host.raw";
my $count = 0;

# Skips the test file where there cannot be such a host.
sub need_host {
	need(qw(qemu-system-x86_64 mke2fs mmdebstrap cpio ldd make));
	need_that('the test runs as root', sub { $> == 0 });
	need_that('the programs are built', sub { -x "$top/qemu-supervise" && -x "$top/vmconf" });
}

sub libraries_of {
	my ($program) = @_;
	my ($status, $out) = run_command('ldd', $program);
	die "ldd: $out" if $status != 0 || $out =~ /not found/;
	return $out =~ /(\/\S+) \(0x/g;
}

# Reads commands, and says what they said and how they ended. It goes on by itself, whatever they do.
my $driver = <<'END';
#!/bin/sh
export QEMU_SUPERVISE_PATIENCE=10m HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec 3<>/dev/ttyS1
stty raw -echo <&3
echo "host: up" >&3
while read -r line <&3; do
	sh -c "$line" >/run/said 2>&1 </dev/null
	status=$?
	cat /run/said >&3
	echo "host: status $status" >&3
done
END

my $unit = <<'END';
[Unit]
After=multi-user.target
[Service]
ExecStart=/driver
KillMode=process
[Install]
WantedBy=multi-user.target
END

# With a shell as process 1.
my $plain = <<'END';
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
/driver &
while :; do wait; sleep 1; done
END

my $init = <<'END';
#!/bin/sh
/bin/busybox --install -s /bin
PATH=/bin
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do
	[ ! -e /lib/$module.ko ] || insmod /lib/$module.ko
done
mount -t proc proc /proc
init=$(sed 's/.*host=//; s/ .*//' /proc/cmdline)
umount /proc
mount -t devtmpfs dev /dev
mount -t ext4 /dev/vda /mnt
exec switch_root -c /dev/console /mnt "$init"
END

# The disk of hosts, and what boots from it.
sub make {
	my ($root, $installed) = ("$work/root", "$work/installed");
	system("$top/t/host-root", '--own-usr', "$top/build/guest-host", @packages) == 0 or die "t/host-root failed\n";
	system('cp', '-a', "$top/build/guest-host/root", $root) == 0 or die "cp failed\n";
	delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
	my ($status, $out, $err) = run_command('make', '-C', $top, '-o', 'all', 'install', "DESTDIR=$root");
	die "make install: $err" if $status != 0;
	my $qemu = '/usr/bin/qemu-system-x86_64';
	my %files = map { $_ => 1 } $qemu, @more, map { libraries_of($_) } $qemu, "$top/qemu-supervise", "$top/vmconf";
	system('cp', '-L', '--parents', '--remove-destination', '-t', $root, sort keys %files) == 0 or die "cp failed\n";
	make_path("$root/etc/qemu-supervise", "$root/etc/systemd/system/multi-user.target.wants");
	chmod(0755, spew("$root/driver", $driver), spew("$root/plain", $plain));
	spew("$root/etc/systemd/system/driver.service", $unit);
	symlink('../driver.service', "$root/etc/systemd/system/multi-user.target.wants/driver.service") or die "symlink: $!";
	spew("$root/etc/hostname", "host\n");
	spew("$root/etc/machine-id", "8a9e1d7c2f5b4b0f9a3c6d1e0f2b4c6d\n");
	system('mke2fs', '-q', '-t', 'ext4', '-E', 'lazy_itable_init=1', '-d', $root, $image, '700M') == 0 or die "mke2fs failed\n";
	system('rm', '-rf', $root);
	mkdir("$work/initrd");
	chmod(0755, spew("$work/initrd/init", $init));
	my $guest = guest_files();
	system("cp $guest/initrd $work/host.initrd && cd $work/initrd && echo init | cpio -o -H newc --quiet -R 0:0 >>$work/host.initrd") == 0
		or die "cpio failed\n";
	return;
}

# Boots one with that process 1, and waits until it takes commands.
sub boot {
	my ($class, $process1) = @_;
	make() if !-e $image;
	my $n = ++$count;
	my $h = bless { console => "$work/host.$n" }, $class;
	my @qemu = ('qemu-system-x86_64', '-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', 2, '-m', 1024, '-nodefaults',
		'-no-user-config', '-display', 'none', '-kernel', guest_files() . '/vmlinux', '-initrd', "$work/host.initrd",
		'-append', "console=ttyS0 quiet panic=-1 cryptomgr.notests noreplace-smp nokaslr no_timer_check tsc=reliable host=$process1"
			. ' systemd.mask=serial-getty@ttyS0.service systemd.mask=proc-sys-fs-binfmt_misc.automount',
		'-drive', "file=$image,format=raw,if=virtio,snapshot=on", '-serial', "file:$h->{console}",
		'-serial', "unix:$work/line.$n,server=on,wait=off");
	$h->{pid} = fork // die "fork: $!";
	if ($h->{pid} == 0) {
		open(STDOUT, '>', '/dev/null');
		exec(@qemu) or POSIX::_exit(127);
	}
	$h->{line} = wait_until('its serial line', sub { IO::Socket::UNIX->new(Peer => "$work/line.$n") });
	$h->{line}->blocking(0);
	$h->{said} = '';
	$h->read_to(qr/(host: up)\n/);
	return $h;
}

# Reads until what is said matches, and returns what the parentheses match.
sub read_to {
	my ($h, $what) = @_;
	return @{ wait_until(sub { "$what:\n$h->{said}\n" . slurp($h->{console}) }, sub {
		die "the host has ended:\n", slurp($h->{console}) if waitpid($h->{pid}, POSIX::WNOHANG()) == $h->{pid};
		sysread($h->{line}, $h->{said}, 65536, length $h->{said});
		return $h->{said} =~ s/\A.*?$what//s ? [$1, $2] : undef;
	}) };
}

# Runs a line of shell on it: (status, output and errors).
sub run {
	my ($h, $line) = @_;
	$h->{said} = '';
	syswrite($h->{line}, "$line\n");
	wait_until(sub { "the end of: $line\n$h->{said}\n" . slurp($h->{console}) }, sub {
		sysread($h->{line}, $h->{said}, 65536, length $h->{said});
		return $h->{said} =~ /^host: status \d+\n\z/m;
	});
	my ($out, $status) = $h->{said} =~ /\A(.*?)host: status (\d+)\n\z/s;
	return ($status, $out =~ s/\r//gr);
}

# The same, of which success is expected: its output.
sub does {
	my ($h, $line) = @_;
	my ($status, $out) = $h->run($line);
	Test::More::is($status, 0, $line) or Test::More::diag($out);
	chomp $out;
	return $out;
}

# Waits until a line of shell succeeds.
sub wait_for {
	my ($h, $line) = @_;
	my $out = '';
	return wait_until(sub { "$line:\n$out\n" . ($h->run('vmconf list; for vm in /etc/qemu-supervise/*.json; do vmconf log $(basename $vm .json); done'))[1] },
		sub { (my $status, $out) = $h->run($line); $status == 0 && ($out || 1) });
}

sub define {
	my ($h, $name, %keys) = @_;
	my $json = JSON::PP->new->canonical->encode({ machine => 'q35', accel => 'tcg', memory => '64M', nics => [], console => 'none',
		on => { TERM => 'quit 60s, kill' }, %keys });
	$h->does("echo '$json' >/etc/qemu-supervise/$name.json");
	return;
}

# Pulls its plug.
sub cut {
	my ($h) = @_;
	kill('KILL', $h->{pid});
	waitpid($h->{pid}, 0);
	return;
}

1;
