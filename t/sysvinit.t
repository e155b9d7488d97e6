#!/usr/bin/perl
# sysvinit: the real one boots a host, starts VMs, and shuts it down: the init script, then sendsigs with its TERM and KILL.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T qw(:DEFAULT !vmconf !vmconf_does);
use Init;

# Defined first: they are started at boot.
my ($web, $db) = (vm('web', 'normal'), vm('db', 'slow-stop', delay => 12));	# 12: sendsigs waits for 10

my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";

# Of sysvinit's own scripts only rc and sendsigs: the others would unmount, and take the network down, for real.
my $h = boot('sysvinit', <<"EOT");
cd /etc/init.d
find . -type f ! -name rc ! -name sendsigs -delete
rm -f /etc/rc?.d/*
cp $top/examples/sysvinit/qemu-supervise .
mkdir -p /etc/default /usr/local/bin
echo >/etc/fstab
for v in CONFIG STATE RUNTIME; do
	eval "echo export QEMU_SUPERVISE_\${v}_DIR=$work/\$(echo \$v | tr A-Z a-z | sed s/runtime/run/)"
done >/etc/default/qemu-supervise
ln -s $vmconf /usr/local/bin/vmconf
insserv qemu-supervise sendsigs
cat >/etc/inittab <<'EOI'
id:2:initdefault:
l2:2:wait:/etc/init.d/rc 2
l0:0:wait:/etc/init.d/rc 0
h0:0:wait:/sbin/halt -d -f
EOI
exec init
EOT
$ENV{QEMU_SUPERVISE_INIT} = 'none';

sub order { return [map { s/^K\d\d//r } sort split ' ', ($h->run('ls', '/etc/rc0.d'))[1]] }

$h->wait_up($_) for $web, $db;
is_deeply(order(), ['qemu-supervise', 'sendsigs'], 'insserv puts it before sendsigs');
$h->does('/etc/init.d/qemu-supervise', 'stop', 'web');
Init::is_down($web);
$h->does('/etc/init.d/qemu-supervise', 'start', 'web');
like($h->does('/etc/init.d/qemu-supervise', 'status'), qr/^web +running/m, 'status');

# One that is not vmconf's.
my $other = { name => 'other', disk => make_disk(), console => "$work/other.console" };
my @qemu = guest_command('slow-stop', delay => 3, disk => $other->{disk}, console => $other->{console});
$h->does('setsid', '-f', $ENV{QEMU_SUPERVISE}, '--ready', 'listening', '--name', 'other', '--', @qemu);
$h->wait_up($other);

# ---- a stop that is cut short ----
$h->does('sh', '-c', 'setsid -f timeout -s KILL 1 /etc/init.d/qemu-supervise stop >/dev/null 2>&1');
wait_until('db going down', sub { slurp($db->{console}) =~ /guest: press/ });
wait_until('no init script', sub { ($h->run('pgrep', '-f', 'init.d/qemu-supervise'))[0] == 1 });
# In a session of its own, as init would: killall5 stops all others for a moment.
$h->does('setsid', '-f', 'sh', '-c', "/etc/init.d/sendsigs stop; : >$work/sent");
wait_until('sendsigs', sub { -e "$work/sent" });
wait_until('db being down', sub { !-e "$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/db" });
Init::is_down($_) for $web, $db;

# ---- the host goes down ----
$h->does('/etc/init.d/qemu-supervise', 'start');
$h->wait_up($_) for $web, $db;
$h->does('init', '0');
$h->off;
Init::is_down($_) for $web, $db;
ok(disk_is_clean($other->{disk}), 'other: file system clean');

done_testing;
