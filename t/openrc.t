#!/usr/bin/perl
# OpenRC: the real one boots a host, runs VMs, and shuts it down; init/openrc and the init script that it makes links to.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T qw(:DEFAULT !vmconf !vmconf_does);
use Init;

# The runlevels are empty but for what is enabled.
my $h = boot('openrc', <<'EOT');
mkdir -p /etc/init.d /etc/conf.d
rm -f /etc/runlevels/*/*
exec openrc-init
EOT
my $openrc = "$top/init/openrc";
my ($web, $db) = (vm('web', 'normal'), vm('db', 'slow-stop', delay => 7));	# 7: longer than supervise-daemon's own patience

sub is_off { my ($vm) = @_; return sub { ($h->run('rc-service', "vm.$vm->{name}", 'status'))[0] == 3 } }

$h->wait_detected;
wait_until('the runlevel default', sub { ($h->run('rc-status', '--runlevel'))[1] =~ /default/ });
like(($h->run('sh', '-c', "mkdir -p /etc/init.d; cp $top/examples/openrc/qemu-supervise /etc/init.d; rc-service qemu-supervise start"))[2],
	qr/qemu-supervise is no VM: ln -s/, 'the script by itself starts nothing');

# ---- enable, disable ----
$h->vmconf_does('enable', 'web');
is(($h->run($openrc, 'status', 'web'))[0], 3, 'enable does not start it');
is(($h->run($openrc, 'is-enabled', 'web'))[0], 0, 'it is enabled');
like($h->vmconf_does('list'), qr/^web .* 0$/m, 'and list tells that the host starts it');
$h->does('openrc', 'default');
$h->wait_up($web); # as at boot
$h->vmconf_does('disable', 'web');
is(($h->run($openrc, 'is-enabled', 'web'))[0], 3, 'it is not enabled any more');
like($h->does($openrc, 'status', 'web'), qr/started/, 'disable does not stop it');

# ---- what ends, and what comes back ----
$h->supervisor_is_killed($web);
$h->attendant_is_killed($web);
$h->qemu_dies($web);
$h->restarts($web, sub { $h->does('rc-service', 'vm.web', 'restart') });
$h->guest_switches_off($web, is_off($web));
$h->definition_is_wrong($web, sub { $h->does('rc-service', 'vm.web', 'start') }, is_off($web));
$h->fails_to_start($web);

# ---- start, log, stop ----
like($h->vmconf_does('start', 'web', 'db'), qr/^db: running/m, 'start');
like($h->vmconf_does('log', 'db'), qr/^qemu-supervise: db: the guest listens/m, 'log');
$h->does('rc-service', 'vm.web', 'stop');
Init::is_down($web);
$h->works_in_a_sandbox($web, '/etc/conf.d/vm.web');

# ---- delete ----
$h->goes_with_its_vm('/etc/conf.d/vm.NAME');

# ---- the host goes down ----
$h->does('openrc-shutdown', '--poweroff', 'now');
$h->off;
Init::is_down($db);

done_testing;
