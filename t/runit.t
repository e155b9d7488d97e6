#!/usr/bin/perl
# runit: the real one boots a host, runs VMs, and shuts it down; init/runit and the service directories that it makes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T qw(:DEFAULT !vmconf !vmconf_does);
use Init;

my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";
my $h = boot('runit', "work=$work top=$top vmconf=$vmconf\n" . <<'EOT');
printf '#!/bin/sh\ninstall -m000 /dev/null /run/runit.stopit\ninstall -m000 /dev/null /run/runit.reboot\n' >/etc/runit/1
chmod 755 /etc/runit/1
ln -s default /etc/runit/runsvdir/current
: >/etc/runit/no.emulate.sysv
printf '#!/bin/sh\n' >/etc/runit/rc.shutdown
for v in CONFIG STATE RUNTIME; do
	echo "export QEMU_SUPERVISE_${v}_DIR=$work/$(echo $v | tr A-Z a-z | sed s/runtime/run/)"
done >>/etc/runit/rc.shutdown
cat "$top/examples/runit/rc.shutdown" >>/etc/runit/rc.shutdown
chmod 755 /etc/runit/rc.shutdown
ln -s "$vmconf" /usr/local/bin/vmconf
exec runit
EOT
my $runit = "$top/init/runit";
# 9: longer than the patience of runit's stage 3.
my ($web, $db) = (vm('web', 'normal'), vm('db', 'slow-stop', delay => 9));

sub says { return ($h->run('sv', 'status', "vm-$_[0]"))[1] }
sub is_off { my ($vm) = @_; return sub { says($vm->{name}) =~ /^down: [^;]*s(, normally up)?;/ } }

$h->wait_detected;
is(($h->run('env', 'QEMU_SUPERVISE_SCAN_DIR=/tmp', $runit, 'detect'))[0], 1, 'detect: no runsvdir looks there');

# ---- enable, disable ----
$h->vmconf_does('check');
$h->vmconf_does('enable', 'web');
ok(is_off($web)->(), 'enable does not start it');
like($h->vmconf_does('list'), qr/^web .* 0$/m, 'and list tells that the host starts it');
$h->does('sv', 'exit', 'vm-web');
$h->wait_up($web); # as at boot
is(($h->run($runit, 'is-enabled', 'web'))[0], 0, 'it is enabled');
$h->vmconf_does('disable', 'web');
is(($h->run($runit, 'is-enabled', 'web'))[0], 3, 'it is not enabled any more');
like(says('web'), qr/^run: .*normally down/, 'disable does not stop it');

# ---- what ends, and what comes back ----
$h->supervisor_is_killed($web);
$h->qemu_dies($web);
$h->restarts($web, sub { $h->does('sv', '-w', '240', 'restart', 'vm-web') });
$h->guest_switches_off($web, is_off($web));
$h->definition_is_wrong($web, sub { $h->does('sv', 'up', 'vm-web') }, is_off($web));
$h->fails_to_start($web);

# ---- start, status, log, stop ----
like($h->vmconf_does('start', 'web', 'db'), qr/^db: running/m, 'start waits for the guests');
like($h->does($runit, 'status', 'web'), qr/^run: \S*\/vm-web: \(pid \d+\)/, 'status');
like($h->vmconf_does('log', 'db'), qr/^\S+ qemu-supervise: db: the guest listens/m, 'log');
$h->does('sv', '-w', '240', 'stop', 'vm-web');
Init::is_down($web);
is(($h->run($runit, 'status', 'web'))[0], 3, 'status of a VM that is down');
$h->works_in_a_sandbox($web, '/etc/sv/vm-web/conf');

# ---- delete ----
$h->goes_with_its_vm('/etc/sv/vm-NAME/run');

# ---- the host goes down, as init 0 tells runit to do it ----
$h->does('sh', '-c', 'chmod 100 /run/runit.stopit; kill -CONT 1');
$h->off;
Init::is_down($db);

done_testing;
