# Two hosts, h1 and h2, with systemd, corosync and Pacemaker, in containers with a network between them. What they share:
# /shared, which is $work/shared, this machine's kernel, and so the locks of files there. t/host-root has their root.
package Cluster;

use strict;
use warnings;
use File::Basename qw(basename);
use File::Find qw(finddepth);
use File::Path qw(make_path);
use JSON::PP ();
use Nspawn;
use T;

my @packages = qw(systemd systemd-sysv dbus udev iproute2 corosync pacemaker pacemaker-cli-utils resource-agents crmsh
	qemu-system-x86 qemu-utils libevent-core-2.1-7 libjansson4);
my @nodes;

sub need_cluster {
	need(qw(qemu-system-x86_64 mke2fs dumpe2fs systemd-nspawn mmdebstrap nsenter ip make));
	need_that('the test runs as root', sub { $> == 0 });
	need_that('there are control groups', sub { -e '/sys/fs/cgroup/systemd' || -e '/sys/fs/cgroup/cgroup.controllers' });
	need_that('the programs are built', sub { -x "$top/qemu-supervise" && -x "$top/vmconf" });
}

sub ip { system('ip', @_) == 0 or die "ip @_ failed\n" }

# The nodes, which are down, and what is installed on them.
sub new {
	my ($class) = @_;
	my $root = "$top/build/cluster";
	system("$top/t/host-root", '--own-usr', $root, @packages) == 0 or die "t/host-root failed\n";
	make_path(map { "$work/$_" } qw(shared/config shared/state shared/fence etc));
	delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
	my ($status, undef, $err) = run_command('make', '-C', $top, '-o', 'all', 'install', "DESTDIR=$work/installed");
	die "make install: $err" if $status != 0;
	for (grep { $_->[0] } [$ENV{T_SUPERVISE}, 'qemu-supervise'], [$ENV{T_VMCONF}, 'vmconf']) {
		system('cp', $_->[0], "$work/installed/usr/local/bin/$_->[1]") == 0 or die "cp failed\n";
	}
	spew("$work/etc/corosync.conf", corosync_conf());
	spew("$work/etc/hosts", "127.0.0.1 localhost\n10.77.0.1 h1\n10.77.0.2 h2\n");
	chmod(0755, spew("$work/etc/fence_stub", fence_stub()));
	@nodes = map { bless { name => "h$_", net => "qs-$$-h$_", root => "$root/root", guest => guest_files() }, $class } 1, 2;
	ip('netns', 'add', $_->{net}) for @nodes;
	ip('link', 'add', 'eth0', 'netns', $nodes[0]{net}, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', $nodes[1]{net});
	for my $n (1, 2) {
		ip('-n', $nodes[$n - 1]{net}, @$_) for ['addr', 'add', "10.77.0.$n/24", 'dev', 'eth0'], ['link', 'set', 'eth0', 'up'], ['link', 'set', 'lo', 'up'];
	}
	return @nodes;
}

sub corosync_conf {
	my $nodes = join('', map { "\tnode {\n\t\tname: h$_\n\t\tnodeid: $_\n\t\tring0_addr: 10.77.0.$_\n\t}\n" } 1, 2);
	return "totem {\n\tversion: 2\n\tcluster_name: vms\n\ttransport: udpu\n\tcrypto_cipher: none\n\tcrypto_hash: none\n}\n"
		. "nodelist {\n$nodes}\nquorum {\n\tprovider: corosync_votequorum\n\ttwo_node: 1\n\twait_for_all: 0\n}\n"
		. "logging {\n\tto_syslog: yes\n}\n";
}

# Fencing asks us to kill the node, and waits until we have.
sub fence_stub {
	return <<'EOT';
#!/bin/sh
action=
node=
while read -r line; do
	case $line in
	action=*) action=${line#*=} ;;
	nodename=* | port=* | plug=*) node=${line#*=} ;;
	esac
done
case $action in
metadata)
	cat <<'XML'
<?xml version="1.0"?>
<resource-agent name="fence_stub" shortdesc="asks the test">
<longdesc>asks the test</longdesc>
<parameters>
<parameter name="action" required="1"><content type="string" default="off"/><shortdesc lang="en">action</shortdesc></parameter>
<parameter name="port"><content type="string"/><shortdesc lang="en">node</shortdesc></parameter>
</parameters>
<actions><action name="off"/><action name="reboot"/><action name="on"/><action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
XML
	;;
off | reboot)
	: >"/shared/fence/$node.wanted"
	while [ ! -e "/shared/fence/$node.done" ]; do sleep 0.1; done
	;;
esac
EOT
}

sub boot {
	my ($h) = @_;
	my $installed = "$work/installed/usr";
	spew("$work/etc/$h->{name}.hostname", "$h->{name}\n");
	my %binds = ("$work/etc/$h->{name}.hostname" => '/etc/hostname', "$work/etc/hosts" => '/etc/hosts',
		"$work/etc/corosync.conf" => '/etc/corosync/corosync.conf', "$work/etc/fence_stub" => '/usr/sbin/fence_stub',
		"$installed/local" => '/usr/local', "$installed/lib/ocf/resource.d/qemu-supervise" => '/usr/lib/ocf/resource.d/qemu-supervise',
		$h->{guest} => '/guest');
	my @command = ('systemd-nspawn', '--quiet', "--directory=$h->{root}", '--volatile=overlay', "--machine=qs-$$-$h->{name}",
		"--hostname=$h->{name}", '--boot', '--register=no', '--keep-unit', '--console=pipe', "--network-namespace-path=/run/netns/$h->{net}",
		(map { "--bind-ro=$_:$binds{$_}" } sort keys %binds), "--bind=$work/shared:/shared");
	make_path($h->{cgroup} = Nspawn::own_cgroup() . '/' . basename($work) . "-$h->{name}");
	$h->{pid} = fork // die "fork: $!";
	if ($h->{pid} == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$work/nspawn.$h->{name}");
		open(STDERR, '>&', \*STDOUT);
		spew("$h->{cgroup}/cgroup.procs", $$);
		{ no warnings 'exec'; exec { $command[0] } @command; }
		POSIX::_exit(127);
	}
	return $h;
}

sub wait_booted {
	my ($h) = @_;
	my $log = "$work/nspawn.$h->{name}";
	wait_until(sub { "$h->{name} being up\n" . slurp($log) }, sub {
		die "$h->{name} did not boot: " . slurp($log) if waitpid($h->{pid}, POSIX::WNOHANG()) == $h->{pid};
		($h->{init}) = split ' ', slurp("/proc/$h->{pid}/task/$h->{pid}/children");
		$h->{init} && ($h->does('systemctl', 'is-active', 'pacemaker'))[1] =~ /^active$/;
	});
}

# Runs a command on it: status, output, errors.
sub does {
	my ($h, @command) = @_;
	return run_command('nsenter', '-t', $h->{init}, '-m', '-u', '-i', '-n', '-p', 'env', '-i',
		'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LANG=C.UTF-8',
		'QEMU_SUPERVISE_CONFIG_DIR=/shared/config', 'QEMU_SUPERVISE_STATE_DIR=/shared/state', 'QEMU_SUPERVISE_INIT=none', @command);
}

# The same, which is expected to succeed: its output.
sub ok_does {
	my ($h, @command) = @_;
	my ($status, $out, $err) = $h->does(@command);
	is($status, 0, "$h->{name}: @command") or diag($out, $err);
	return $out;
}

sub vm {
	my ($h, $name) = @_;
	my (undef, $out) = $h->does('vmconf', 'list', $name, '--json');
	return eval { JSON::PP::decode_json($out)->{vms}[0] } || {};
}

sub journal {
	my ($h) = @_;
	return ($h->does('journalctl', '--no-pager', '-q', '-n', '150'))[1];
}

# Pulls its plug: every process on it ends at once.
sub cut {
	my ($h) = @_;
	kill('KILL', $h->{init});
	waitpid($h->{pid}, 0);
	$h->{pid} = undef;
}

# Has the host go down, and waits for its end.
sub poweroff {
	my ($h) = @_;
	$h->does('systemctl', 'poweroff');
	wait_until(sub { "$h->{name} being down\n" . slurp("$work/nspawn.$h->{name}") }, sub { waitpid($h->{pid}, POSIX::WNOHANG()) == $h->{pid} });
	$h->{pid} = undef;
}

END {
	my $status = $?;
	for my $h (@nodes) {
		if ($h->{pid}) {
			kill('KILL', grep { $_ } @$h{qw(init pid)});
			waitpid($h->{pid}, 0);
		}
		system('ip', 'netns', 'del', $h->{net});
		finddepth({ wanted => sub { rmdir }, no_chdir => 1 }, $h->{cgroup}) if $h->{cgroup} && -d $h->{cgroup};
	}
	$? = $status;
}

1;
