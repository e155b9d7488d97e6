#!/usr/bin/perl
# The sandbox of the units: how much of a host systemd sees in reach of each, that VMs of all sorts work in it, and what the
# programs of their ladders may and may not do there.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX;
use lib $FindBin::Bin;
use Nspawn;
use T;

Nspawn::need_host();
need(qw(losetup qemu-img));

# ---- what systemd thinks of all units that we install or show ----
my %bound = (
	'systemd/qemu-supervise-limits.service' => 1,
	'systemd/qemu-supervise@.service' => 3.5, 'systemd/qemu-supervise-guests.service' => 3.5, 'systemd/qemu-supervise-boot.service' => 3.5,
	'web.service' => 3.5, 'amqp/vmconf-amqp.service' => 3.5, 'prometheus/qemu-supervise-metrics.service' => 1.5,
	'systemd/user/qemu-supervise-guests.service' => 6.4, 'systemd/user/sandbox.conf' => 3
);
my %none = (
	'systemd/user/qemu-supervise@.service' => 'a bridge for a user is made by a setuid program: sandbox.conf is for VMs without one',
	'systemd/user/qemu-supervise-limits.service' => 'nothing but true(1) runs in it',
);

sub exposure {
	my ($file, @as) = @_;
	my ($status, $out, $err) = run_command('env', "HOME=$work", "XDG_RUNTIME_DIR=$work", 'systemd-analyze', @as, 'security', '--offline=true', $file);
	return $out =~ /Overall exposure level for \S+: ([\d.]+)/ ? $1 : die "systemd-analyze: $out$err";
}

sub sandbox { return grep { !/^#/ } slurp($_[0]) =~ /^(NoNewPrivileges=.*?)(?:^\[|\z)/ms ? split(/\n+/, $1) : () }

subtest 'systemd-analyze security' => sub {
	my @shown = sort map { s{^\Q$top\E/examples/}{}r } glob("$top/examples/*.service $top/examples/*/*.service $top/examples/*/*/*.service");
	is_deeply([sort keys %bound, keys %none], [sort @shown, 'systemd/user/sandbox.conf'], 'each unit has a bound');
	mkdir("$work/offline");
	for my $name (sort keys %bound) {
		my $file = "$top/examples/$name";
		$file = spew("$work/offline/drop-in.service", slurp($file =~ s/sandbox.conf/qemu-supervise@.service/r) . slurp($file)) if $name =~ /conf$/;
		my $exposure = exposure($file, $name =~ m{/user/} ? '--user' : ());
		cmp_ok($exposure, '<=', $bound{$name}, "$name: $exposure");
	}
	my @ours = sandbox("$top/examples/systemd/qemu-supervise@.service");
	cmp_ok(scalar @ours, '>', 30, 'the sandbox of VMs');
	for (qw(web.service amqp/vmconf-amqp.service systemd/qemu-supervise-guests.service systemd/qemu-supervise-boot.service)) {
		is_deeply([sandbox("$top/examples/$_")], \@ours, "$_ has the same");
	}
	my @guests = sandbox("$top/examples/systemd/user/qemu-supervise-guests.service");
	is_deeply(\@guests, [(sandbox("$top/examples/systemd/user/sandbox.conf"))[0 .. $#guests]], 'what stops those of a user has the first part of theirs');
};

# ---- VMs of all sorts, on a host where systemd can deny devices ----
local $ENV{SYSTEMD_NSPAWN_UNIFIED_HIERARCHY} = 1;
my $h = Nspawn->new('/dev/net/tun', -e '/dev/kvm' ? '/dev/kvm' : (), my $loop = loop_device());

# A disk that is a block device.
sub loop_device {
	mkdir("$work/srv");
	system('cp', make_disk(), "$work/loop") == 0 or die "cp failed\n";
	my ($status, $device, $err) = run_command('losetup', '--find', '--show', "$work/loop");
	die "losetup: $err" if $status != 0;
	return $device =~ s/\n//r;
}
END { system('losetup', '-d', $loop) if $loop }

my %device = (
	kvm => 'c 10 232', tun => 'c 10 200', 'vhost-net' => 'c 10 238', 'vhost-vsock' => 'c 10 241', vfio => 'c 10 196', hwrng => 'c 10 183',
	mem => 'c 1 1', kmsg => 'c 1 11', input => 'c 13 64', uinput => 'c 10 223', 'loop-control' => 'c 10 237', mapper => 'c 10 236', tty1 => 'c 4 1',
	rtc => 'c 10 135'
);

# What it prints of each thing that it tries: "may", or why not.
spew("$work/srv/probe", <<'EOT');
#!/usr/bin/perl
use strict;
use warnings;
use Socket;
use IO::Socket::INET;
sub error { return $_[0] ? 'may' : "$!" }
sub opened { return error(open(my $file, $_[0], $_[1])) }
sub runs { return system("@_ >/dev/null 2>&1") == 0 ? 'may' : 'may not' }
# There is no such driver here: the node was let through.
my %result = map { (s{/srv/dev.}{device }r => opened('+<', $_) =~ s/^No such device.*/may/r) } glob('/srv/dev.*');
$result{"write $_"} = opened('>', "$_/probe.made") for qw(/usr /etc /boot /home/vms /srv /tmp /var/lib /sys/fs/cgroup);
$result{'write sysctl'} = opened('>', '/proc/sys/vm/swappiness');
$result{'read of process 1'} = opened('<', '/proc/1/environ');
$result{packets} = error(socket(my $packet, 17, SOCK_RAW, 0));
$result{'raw IP'} = error(socket(my $raw, PF_INET, SOCK_RAW, 1));
$result{mount} = runs('mount -t tmpfs none /mnt');
$result{namespace} = runs('unshare --user true');
$result{affinity} = runs("taskset -p 1 $$");
$result{'a device'} = runs('mknod /srv/made c 1 3');
$result{setuid} = error(chmod(04755, '/srv/probe.made'));
$result{chown} = error(chown(1, 1, '/srv/probe.made'));
$result{'a link of the network'} = runs('ip link add probe0 type bridge && ip link del probe0');
$result{'TCP'} = IO::Socket::INET->new('127.0.0.1:1') ? 'may' : "$!" eq 'Connection refused' ? 'may' : "$!";
$result{'signals to others'} = error(kill(0, @ARGV ? $ARGV[0] : 1));
$result{'systemd-run'} = runs('systemd-run --quiet --wait taskset 1 unshare --mount true');
open(my $out, '>', '/srv/probe.new') or die;
print $out map { "$_: $result{$_}\n" } sort keys %result;
close($out);
rename('/srv/probe.new', '/srv/probe.out');
EOT
chmod(0755, "$work/srv", "$work/srv/probe");
my ($denied, $read_only) = ('Operation not permitted', 'Read-only file system');
my %expected = (
	(map { ("device $_" => 'may') } qw(kvm tun vhost-net vhost-vsock vfio)), 'device hwrng' => $denied, # it may be read alone
	(map { ("device $_" => $denied) } qw(mem kmsg input uinput loop-control mapper tty1 rtc)),
	(map { ("write $_" => 'may') } qw(/home/vms /srv /tmp /var/lib)), (map { ("write $_" => $read_only) } qw(/usr /etc /boot /sys/fs/cgroup)),
	'write sysctl' => $read_only, 'read of process 1' => 'Permission denied', packets => 'Address family not supported by protocol',
	'raw IP' => $denied, mount => 'may not', namespace => 'may not', affinity => 'may not', 'a device' => 'may not', setuid => $denied,
	chown => 'may', 'a link of the network' => 'may', TCP => 'may', 'signals to others' => 'may', 'systemd-run' => 'may'
);

$h->vm('home', 'normal', agent => 'obeys', keys => {
	kernel => '/guest/vmlinuz', initrd => '/guest/initrd-agent', agent => JSON::PP::true, ready => 'agent', 'run-as' => 'vm-home',
	disks => [{ path => '/home/vms/home.disk', format => 'raw' }], nics => [{ type => 'bridge', br => 'br0' }],
	console => 'socket', 'console-log' => JSON::PP::true, args => [], on => { USR1 => 'run:/srv/probe 60s' }
});
my @bound = ('-object', 'memory-backend-ram,id=m,size=1M,host-nodes=0,policy=bind');
$h->drop_in('loop', 'placement.conf');
$h->vm('bound', 'normal', args => \@bound);
$h->drop_in('bound', 'once.conf', "[Service]\nRestart=no\n");
$h->vm('loop', 'normal', keys => {
	disks => [{ path => $loop, format => 'raw' }], nics => [{ type => 'tap', ifname => 'tap7', script => 'no', downscript => 'no' }],
	on => { USR1 => 'run:/srv/probe 60s' }
}, args => ['-vnc', 'unix:/srv/loop.vnc', @bound, system('prlimit --memlock=unlimited:unlimited true 2>/dev/null') == 0 ? ('-overcommit', 'mem-lock=on') : ()]);
my $tpm = grep { -x "$_/swtpm" } split(/:/, $ENV{PATH});
$h->vm('uefi', 'normal', keys => {
	firmware => 'uefi', memory => '256M', kernel => '/guest/vmlinuz', nics => [{ type => 'user' }], forwards => ['127.0.0.1:80:80'],
	$tpm ? (tpm => JSON::PP::true) : ()
});
$h->boot;
$h->ok_does('sh', '-ec', "
	mkdir -p /home/vms /etc/qemu
	mv /srv/home.disk /home/vms/home.disk
	useradd --system vm-home
	ip link add br0 type bridge
	ip link set br0 up
	ip link set lo up
	echo 'allow br0' >/etc/qemu/bridge.conf
	" . join('', map { "mknod /srv/dev.$_ $device{$_}\n" } keys %device));

$h->ok_does('vmconf', 'start', 'home', 'loop', 'uefi');
is($h->unit('home', 'DevicePolicy'), 'closed', 'devices are denied');
is($h->unit($_, 'ActiveState'), 'active', "$_ runs") for qw(home loop uefi);
my ($exposure) = $h->ok_does('systemd-analyze', 'security', 'qemu-supervise@home') =~ /Overall exposure level for \S+: ([\d.]+)/;
cmp_ok($exposure, '<=', $bound{'systemd/qemu-supervise@.service'}, "systemd-analyze security where it runs: $exposure");
sub user_of { return ($h->does('ps', '-o', 'user=', '-p', $_[0]))[1] =~ s/\s//gr }
is(user_of($h->qemu('home')), 'vm-home', 'QEMU is another user');
like($h->ok_does('ip', 'link', 'show', 'master', 'br0'), qr/tap0/, 'with a bridge');
like($h->ok_does('vmconf', 'console', 'home', '--log'), qr/guest: up/, 'and a console');
like($h->ok_does('ip', 'link', 'show', 'tap7'), qr/tap7:/, 'a tap device');
my $vnc = IO::Socket::UNIX->new("$work/srv/loop.vnc");
like($vnc && readline($vnc), qr/^RFB 003/, 'VNC');
undef $vnc;
unlike($h->lines_of($_), qr/Permission denied|not permitted|not confined/, "$_: nothing was refused") for qw(home loop uefi);

# ---- supervisors die and are upgraded in it, and run programs ----
for my $name (qw(home loop uefi)) {
	my $qemu = $h->qemu($name);
	$h->ok_does('systemctl', 'kill', '-s', 'KILL', '--kill-whom=main', "qemu-supervise\@$name");
	$h->wait_unit($name, 'NRestarts', 1);
	$h->wait_unit($name, 'ActiveState', 'active');
	is($h->qemu($name), $qemu, "$name is taken over");
	$h->ok_does('systemctl', 'reload', "qemu-supervise\@$name");
	wait_until('the new program', sub { $h->lines_of($name) =~ /reexec: done/ });
}
sub probed {
	my ($name) = @_;
	unlink("$work/srv/probe.out");
	$h->ok_does('qemu-supervise', '--signal', 'USR1', $name);
	wait_until('the probe', sub { -e "$work/srv/probe.out" });
	return { map { split(/: /, $_, 2) } split(/\n/, slurp("$work/srv/probe.out")) };
}

is_deeply(probed('home'), \%expected, 'what a program of a ladder may do, and what not') or diag(slurp("$work/srv/probe.out"));
is_deeply(probed('loop'), { %expected, affinity => 'may' }, 'and with placement.conf') or diag(slurp("$work/srv/probe.out"));
like(($h->does('vmconf', 'start', 'bound'))[2], qr/cannot bind memory to host NUMA nodes: Operation not permitted/, 'QEMU, without that');

# ---- other units ----
spew("$work/units/web.service", slurp("$top/examples/web.service") =~ s/-accel kvm/-accel tcg/r);
my $share = '/usr/local/share/doc/qemu-supervise/examples';
$h->ok_does('sh', '-ec', "
	mkdir -p /var/lib/prometheus
	install -d -o vm-home /var/lib/prometheus/node-exporter
	cp $share/prometheus/qemu-supervise-metrics.service /etc/systemd/system
	qemu-img create -q -f qcow2 /srv/web.qcow2 1M
	systemctl daemon-reload
	systemctl start qemu-supervise-metrics web");
my $metrics = $h->ok_does('cat', '/var/lib/prometheus/node-exporter/qemu-supervise.prom');
like($metrics, qr/^qemu_supervise_vm_state\{[^}]*\b$_\b[^}]*running[^}]*\} 1$/m, "metrics of $_") for qw(home loop uefi);
like($metrics, qr/^# EOF$/m, 'and all of them');
is($h->ok_does('systemctl', 'is-active', 'web'), "active\n", 'a command line in a unit');
$h->ok_does('systemctl', 'kill', '-s', 'QUIT', '--kill-whom=main', 'web');

# ---- a user's VM ----
my $config = '/home/person/.config';
$h->vm('kid', 'normal', keys => { nics => [{ type => 'user' }] });
$h->ok_does('sh', '-ec', "
	useradd --create-home --uid 2000 person
	install -D -m 644 $share/systemd/user/sandbox.conf $config/systemd/user/qemu-supervise\@.service.d/sandbox.conf
	mkdir $config/qemu-supervise
	mv /etc/qemu-supervise/kid.json $config/qemu-supervise
	: >/srv/kid.console
	chown -R person /home/person /srv/kid.console /srv/kid.disk
	loginctl enable-linger person");
my @person = qw(runuser -u person -- env HOME=/home/person XDG_RUNTIME_DIR=/run/user/2000);
wait_until('the systemd of person', sub { ($h->does(@person, 'systemctl', '--user', 'is-system-running'))[1] =~ /^running/ });
$h->ok_does(@person, 'vmconf', 'start', 'kid');
sub kid { return ($h->does(@person, 'systemctl', '--user', 'show', '--value', "--property=$_[0]", 'qemu-supervise@kid'))[1] =~ s/\n//r }
sub kid_qemu { return ($h->does('cat', '/home/person/.local/share/qemu-supervise/kid/vm.lock'))[1] =~ /^(\d+)/ ? $1 : 'none' }
my $supervisor = kid('MainPID');
like($h->ok_does('cat', "/proc/$supervisor/status"), qr/^NoNewPrivs:\s+1\n(.*\n)*Seccomp:\s+2\n/m, 'a sandbox around the supervisor of a user');
($exposure) = $h->ok_does(@person, 'systemd-analyze', '--user', 'security', 'qemu-supervise@kid') =~ /Overall exposure level for \S+: ([\d.]+)/;
cmp_ok($exposure, '<=', $bound{'systemd/user/sandbox.conf'}, "systemd-analyze --user security: $exposure");
like($h->ok_does('cat', "/proc/$supervisor/status"), qr/^CapBnd:\s+0+\n/m, 'without any capability');
my $qemu = kid_qemu();
like($qemu, qr/^\d+$/, 'and QEMU');
$h->ok_does(@person, 'systemctl', '--user', 'kill', '-s', 'KILL', '--kill-whom=main', 'qemu-supervise@kid');
wait_until('another supervisor', sub { kid('NRestarts') eq '1' && kid('ActiveState') eq 'active' });
is(kid_qemu(), $qemu, 'which another one takes over');
$h->ok_does(@person, 'vmconf', 'stop', 'kid');
$h->is_clean('kid', 'after its stop');

$h->ok_does('vmconf', 'stop', '--all');
$h->ok_does('cp', '/home/vms/home.disk', '/srv');
for (['home', "$work/srv/home.disk"], ['loop', "$work/loop"], ['uefi', "$work/srv/uefi.disk"]) {
	is($h->end_of($_->[0])->{status}, 0, "$_->[0]: status 0");
	ok(disk_is_clean($_->[1]), "$_->[0]: file system clean");
}
$h->poweroff;

done_testing;
