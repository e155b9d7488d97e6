# A host with systemd as its process 1, in a container: t/host-root has its root, and this machine its /usr. What is
# installed on it is ours, by make install; or it has a /usr of its own, with our packages. Its directories of definitions, states, units and its journal are those of
# the test, which can look into them when the host is down.
package Nspawn;

use strict;
use warnings;
use File::Basename qw(basename);
use File::Find qw(finddepth);
use File::Path qw(make_path);
use JSON::PP ();
use T;

my @packages = qw(systemd systemd-sysv dbus libpam-systemd);
my @hosts;
my %place = (
	'/etc/qemu-supervise' => 'config', '/var/lib/qemu-supervise' => 'state', '/etc/systemd/system' => 'units',
	'/var/log/journal' => 'journal', '/srv' => 'srv'
);

# Skips the test file where there cannot be such a host.
sub need_host {
	need(qw(qemu-system-x86_64 mke2fs dumpe2fs systemd-nspawn mmdebstrap nsenter journalctl systemd-analyze make));
	need_that('the test runs as root', sub { $> == 0 });
	need_that('systemd and dbus are installed', sub { -x '/lib/systemd/systemd' && -e '/lib/systemd/system/dbus.service' });
	need_that('there are control groups', sub { -e '/sys/fs/cgroup/systemd' || -e '/sys/fs/cgroup/cgroup.controllers' });
	need_that('the programs are built', sub { -x "$top/qemu-supervise" && -x "$top/vmconf" });
}

# A host that is down, and its directories. usr: how nspawn is told of its /usr.
sub host {
	my ($class, $root, $usr, $binds, @host_root) = @_;
	my $h = bless { root => $root, name => "qs-$$", guest => guest_files(), boots => 0, usr => $usr, binds => $binds }, $class;
	push @hosts, $h;
	system("$top/t/host-root", @host_root) == 0 or die "t/host-root failed\n";
	make_path(map { "$work/$_" } values %place);
	return $h;
}

# One with a /usr of its own, where these packages are installed, and others can be. binds: as below.
sub with_packages {
	my ($class, $root, $binds, @more) = @_;
	return $class->host($root, [], $binds, '--own-usr', $root, @packages, @more);
}

# Installs what make has built. binds: more files of this machine.
sub new {
	my ($class, @binds) = @_;
	my $root = "$top/build/systemd";
	my $h = $class->host($root, ['--bind-ro=/usr', "--bind-ro=$work/installed/usr/local:/usr/local"], \@binds, $root, @packages);
	delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
	my ($status, $out, $err) = run_command('make', '-C', $top, '-o', 'all', 'install', "DESTDIR=$work/installed");
	die "make install: $err" if $status != 0;
	if ($ENV{T_SUPERVISE}) {
		system('cp', $ENV{T_SUPERVISE}, "$work/installed/usr/local/bin/qemu-supervise") == 0 or die "cp failed\n";
	}
	# A unit inherits nothing; and the sandbox denies LeakSanitizer its ptrace.
	make_path("$work/units/qemu-supervise\@.service.d");
	spew("$work/units/qemu-supervise\@.service.d/sanitizer.conf", "[Service]\nEnvironment=ASAN_OPTIONS=$ENV{ASAN_OPTIONS}:detect_leaks=0\n")
		if $ENV{ASAN_OPTIONS};
	return $h;
}

# Where control groups of ours can be. systemd-nspawn makes none with --keep-unit: hosts beside each other would be in one.
sub own_cgroup {
	my ($unified) = grep { -e "$_/cgroup.controllers" } '/sys/fs/cgroup', '/sys/fs/cgroup/unified';
	my ($mount, $mine) = $unified ? ($unified, qr/^0::(.*)/m) : ('/sys/fs/cgroup/systemd', qr/:name=systemd:(.*)/);
	my ($path) = slurp('/proc/self/cgroup') =~ $mine;
	return $mount . ($path // '') =~ s{/$}{}r;
}

# Boots it and waits until it is up.
sub boot {
	my ($h) = @_;
	my $log = "$work/nspawn." . ++$h->{boots};
	my @binds = map { "--bind=$work/$place{$_}:$_" } sort keys %place;
	my @command = (
		'systemd-nspawn', '--quiet', "--directory=$h->{root}/root", '--volatile=overlay', "--machine=$h->{name}",
		'--boot', '--register=no', '--keep-unit', '--private-network', '--console=pipe',
		'--system-call-filter=bpf landlock_create_ruleset landlock_add_rule landlock_restrict_self', # devices are denied by BPF
		@{ $h->{usr} }, @binds, "--bind-ro=$h->{guest}:/guest", map { "--bind=$_" } @{ $h->{binds} }
	);
	make_path($h->{cgroup} = own_cgroup() . "/" . basename($work));
	$h->{pid} = fork // die "fork: $!";
	if ($h->{pid} == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', $log);
		open(STDERR, '>&', \*STDOUT);
		spew("$h->{cgroup}/cgroup.procs", $$);
		{ no warnings 'exec'; exec { $command[0] } @command; }
		POSIX::_exit(127);
	}
	wait_until(sub { "the host being up\n" . slurp($log) }, sub {
		die "the host did not boot: " . slurp($log) if waitpid($h->{pid}, POSIX::WNOHANG()) == $h->{pid};
		($h->{init}) = split ' ', slurp("/proc/$h->{pid}/task/$h->{pid}/children");
		$h->{init} && ($h->does('systemctl', 'is-system-running'))[1] =~ /^(running|degraded)$/;
	});
	return $h;
}

# Runs a command on it: status, output, errors. systemd 257 wants to know nothing of processes outside of its control groups.
sub does {
	my ($h, @command) = @_;
	return run_command('sh', '-c', '{ echo $$ >"$1"; } 2>/dev/null; shift; exec "$@"', 'sh',
		"$h->{cgroup}/payload/init.scope/cgroup.procs", 'nsenter', '-t', $h->{init}, '-m', '-u', '-i', '-n', '-p', 'env', '-i',
		'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin', 'TMPDIR=/tmp', 'LANG=C.UTF-8', @command);
}

# The same, which is expected to succeed: its output.
sub ok_does {
	my ($h, @command) = @_;
	my ($status, $out, $err) = $h->does(@command);
	is($status, 0, "@command") or diag($out, $err);
	return $out;
}

# ---- VMs ----

# Defines a VM with a guest as T::guest_append has it, and a new disk. keys: of the definition; args: QEMU's.
sub vm {
	my ($h, $name, $mode, %o) = @_;
	make_disk("$work/srv/$name.disk");
	spew("$work/config/$name.json", JSON::PP->new->canonical->pretty->encode({
		machine => 'q35', accel => 'tcg', memory => '128M', kernel => '/guest/vmlinux', initrd => '/guest/initrd',
		append => T::guest_append($mode, %o), disks => [{ path => "/srv/$name.disk", format => 'raw' }], nics => [],
		console => 'none', ready => 'listening', args => ['-serial', "file:/srv/$name.console", @{ $o{args} || [] }],
		%{ $o{keys} || {} }
	}));
}

sub console { return slurp("$work/srv/$_[1].console") }

# How it ended last, and the pid of its QEMU there.
sub end_of { return T::last_end($_[1], "$work/state") }

sub qemu { return qemu_in("$work/state/$_[1]/vm.lock") }

sub is_clean {
	my ($h, $name, $when) = @_;
	ok(disk_is_clean("$work/srv/$name.disk"), "$name: file system clean $when") or diag($h->console($name), $h->lines_of($name));
}

# A property of the unit of a VM.
sub unit {
	my ($h, $vm, $property) = @_;
	my (undef, $value) = $h->does('systemctl', 'show', '--value', "--property=$property", "qemu-supervise\@$vm.service");
	chomp $value;
	return $value;
}

sub wait_unit {
	my ($h, $vm, $property, $wanted) = @_;
	my $value = '';
	return wait_until(sub { "$property=$wanted of $vm, which is $value\n" . $h->journal }, sub { ($value = $h->unit($vm, $property)) =~ /^(?:$wanted)$/ });
}

# An example as the drop-in of one VM, or any text.
sub drop_in {
	my ($h, $vm, $name, $text) = @_;
	my $dir = "$work/units/qemu-supervise\@$vm.service.d";
	make_path($dir);
	spew("$dir/$name", $text // slurp("$work/installed/usr/local/share/doc/qemu-supervise/examples/systemd/$name"));
}

# What the journal has of its unit.
sub lines_of { return $_[0]->journal('-u', "qemu-supervise\@$_[1]") }

# The whole journal, also of a host that is down.
sub journal {
	my ($h, @words) = @_;
	return (run_command('journalctl', '--no-pager', '-q', '-o', 'short-precise', '-D', "$work/journal", @words))[1];
}

# Has the host go down, and waits for its end. Returns how many seconds that took.
sub poweroff {
	my ($h) = @_;
	my $began = time;
	$h->does('systemctl', 'poweroff');
	wait_until(sub { "the host being down\n" . $h->journal }, sub { waitpid($h->{pid}, POSIX::WNOHANG()) == $h->{pid} });
	return time - $began;
}

# Its control groups, when nothing is in them any more.
END {
	for my $cgroup (grep { defined } map { $_->{cgroup} } @hosts) {
		finddepth({ wanted => sub { rmdir }, no_chdir => 1 }, $cgroup) if -d $cgroup;
	}
}

1;
