#!/usr/bin/perl
# VMs as units of a real systemd, second part: what is started at the host's boot, what the units' sandbox leaves to QEMU,
# VMs of other users, and VMs that have no supervisor when the host goes down.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Nspawn;
use T;

Nspawn::need_host();
my $h = Nspawn->new('/dev/net/tun', -e '/dev/kvm' ? '/dev/kvm' : ());

$h->vm('web', 'normal', keys => { order => 2 });
$h->vm('db', 'normal', keys => { order => 1 });
$h->vm('mail', 'normal');
$h->drop_in('web', 'needs-db.conf');
system('mkdir', '-p', "$work/units/multi-user.target.wants") == 0 or die "mkdir failed\n";
symlink('/usr/local/lib/systemd/system/qemu-supervise@.service', "$work/units/multi-user.target.wants/qemu-supervise\@web.service") or die "symlink: $!";
$h->vm('mine', 'normal');
$h->vm('bridged', 'normal', keys => { nics => [{ type => 'bridge', br => 'br0' }] });
$h->vm('extra', 'normal');
$h->vm('left', 'normal');
$h->drop_in('mine', 'other-user.conf');
$h->drop_in('probe', 'probe.conf', <<'EOT');
[Service]
Type=exec
Restart=no
ExecStart=
ExecStart=sh -c 'for d in /dev/net/tun /dev/kvm; do [ ! -e $$d ] || { : <>$$d && echo $$d; }; done'
EOT
# In a container that has the old control groups, systemd is not told that those of a user are empty, and waits so long.
system('mkdir', '-p', "$work/units/user@.service.d") == 0 or die "mkdir failed\n";
spew("$work/units/user@.service.d/timeout.conf", "[Service]\nTimeoutStopSec=10s\n");
$h->boot;
$h->wait_unit('web', 'ActiveState', 'active');
is($h->unit('db', 'ActiveState') . ' ' . $h->unit('mail', 'ActiveState'), 'active inactive', 'what is enabled is started at boot, with what it needs');

$h->ok_does('systemctl', 'start', 'qemu-supervise@probe');
$h->wait_unit('probe', 'ActiveState', 'inactive|failed');
for my $device (grep { -e } qw(/dev/net/tun /dev/kvm)) {
	like($h->lines_of('probe'), qr/\Q$device\E$/m, "the sandbox leaves $device");
}

$h->ok_does('sh', '-c', 'groupadd --force --system kvm && useradd --system vm-web && chown vm-web /srv/mine.disk');
$h->ok_does('install', '-d', '-o', 'vm-web', '/var/lib/qemu-supervise/mine');
$h->ok_does('install', '-o', 'vm-web', '/dev/null', '/srv/mine.console');
$h->ok_does('vmconf', 'start', 'mine');
my $of = sub { ($h->does('ps', '-o', 'user=', '-p', $_[0]))[1] =~ s/\s//gr };
is($of->($h->unit('mine', 'MainPID')) . ' ' . $of->($h->qemu('mine')), 'vm-web vm-web', 'supervisor and QEMU are another user');
my $qemu = $h->qemu('mine');
$h->ok_does('systemctl', 'kill', '-s', 'KILL', '--kill-whom=main', 'qemu-supervise@mine');
$h->wait_unit('mine', 'NRestarts', 1);
$h->wait_unit('mine', 'ActiveState', 'active');
is($h->qemu('mine'), $qemu, 'and the next supervisor takes it over');

$h->ok_does('sh', '-c', 'ip link add br0 type bridge && ip link set br0 up && mkdir -p /etc/qemu && echo "allow br0" >/etc/qemu/bridge.conf');
$h->ok_does('vmconf', 'start', 'bridged');
like($h->ok_does('ip', 'link', 'show', 'master', 'br0'), qr/tap0/, 'a VM with a bridge');

# ---- a person's VM, under that person's systemd ----
my $home = '/home/person/.config/qemu-supervise';
$h->vm('kid', 'normal');
$h->ok_does('sh', '-c', "useradd --create-home --uid 2000 person && mkdir -p $home && mv /etc/qemu-supervise/kid.json $home/"
	. ' && : >/srv/kid.console && chown -R person /home/person /srv/kid.console /srv/kid.disk && chmod 755 /srv && loginctl enable-linger person');
my @person = qw(runuser -u person -- env HOME=/home/person XDG_RUNTIME_DIR=/run/user/2000);
wait_until('the systemd of person', sub { ($h->does(@person, 'systemctl', '--user', 'is-system-running'))[1] =~ /^running/ });
is($h->ok_does(@person, 'vmconf', 'enable', 'kid'), "kid: enabled\n", 'a person enables a VM');
like($h->ok_does(@person, 'vmconf', 'list'), qr/^kid .* 0$/m, 'which is listed as such');
like($h->ok_does(@person, 'vmconf', 'start', 'kid'), qr/^kid: running/, 'and starts it');
is($h->ok_does(@person, 'systemctl', '--user', 'is-active', 'qemu-supervise@kid', 'qemu-supervise-guests'), "active\nactive\n", 'through systemd');
like($h->ok_does(@person, 'vmconf', 'stop', 'kid'), qr/^kid: stopped: the guest powered itself off/, 'and stops it');
$h->ok_does(@person, 'vmconf', 'start', 'kid');

# ---- VMs without a supervisor, or without a unit ----
$h->ok_does('env', 'QEMU_SUPERVISE_INIT=none', 'vmconf', 'start', 'extra');
like($h->ok_does('vmconf', 'stop', 'extra'), qr/^extra: stopped: the guest powered itself off/, 'one that systemd has not started is stopped');
$h->ok_does('env', 'QEMU_SUPERVISE_INIT=none', 'vmconf', 'start', 'extra', 'left');
$h->ok_does('sh', '-c', 'kill -KILL $(cat /run/qemu-supervise/left/lock)');
like($h->ok_does('vmconf', 'list'), qr/^left +unmanaged/m, 'one has lost its supervisor');

$h->ok_does('systemctl', 'kill', '-s', 'KILL', '--kill-whom=main', 'qemu-supervise@db');
$h->ok_does(@person, 'systemctl', '--user', 'kill', '-s', 'KILL', '--kill-whom=main', 'qemu-supervise@kid');
unlink map { "$work/state/$_/history.jsonl" } qw(db left);
my $took = $h->poweroff;
diag(sprintf('poweroff: %.1f s', $took));
cmp_ok($took, '<', 60, 'poweroff waits for nobody');
is(join(' ', map { $h->end_of($_)->{status} // 'not seen' } qw(db left)), '0 0', 'those without a supervisor got one, which has seen the end');
$h->is_clean('kid', 'after poweroff');
for my $name (qw(web db mine bridged extra left)) {
	$h->is_clean($name, 'after poweroff');
	is($h->end_of($name)->{status}, 0, "$name: status 0");
}

done_testing;
