#!/usr/bin/perl
# s6: the real one runs VMs on a host, and shuts it down; init/s6 and the service directories that it makes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T qw(:DEFAULT !vmconf !vmconf_does);
use Init;

# Process 1 is s6-svscan, as s6-linux-init has it; when it is told to end it becomes .s6-svscan/finish.
my $h = boot('s6', <<'EOT');
mkdir -p /etc/service/.s6-svscan
printf '#!/bin/sh\nexec true\n' >/etc/service/.s6-svscan/finish
chmod 755 /etc/service/.s6-svscan/finish
exec s6-svscan /etc/service
EOT
my $s6 = "$top/init/s6";
my ($web, $db) = (vm('web', 'normal'), vm('db', 'slow-stop', delay => 2));

sub says { return ($h->run('s6-svstat', "/etc/service/vm-$_[0]"))[1] }
sub is_off { my ($vm) = @_; return sub { says($vm->{name}) =~ /^down .* \d+ seconds/ && says($vm->{name}) !~ /want up/ } }

$h->wait_detected;
is(($h->run('env', 'QEMU_SUPERVISE_SCAN_DIR=/tmp', $s6, 'detect'))[0], 1, 'detect: no s6-svscan looks there');
like(($h->run('env', 'QEMU_SUPERVISE_SCAN_DIR=/tmp', $s6, 'enable', 'web'))[2], qr/cannot enable web: \/tmp is made anew at boot/,
	'a scan directory in memory keeps nothing');

# ---- enable, disable ----
$h->vmconf_does('enable', 'web');
ok(is_off($web)->(), 'enable does not start it');
like($h->vmconf_does('list'), qr/^web .* 0$/m, 'and list tells that the host starts it');
$h->does('s6-svc', '-x', '/etc/service/vm-web');
$h->wait_up($web); # as at boot
is(($h->run($s6, 'is-enabled', 'web'))[0], 0, 'it is enabled');
$h->vmconf_does('disable', 'web');
is(($h->run($s6, 'is-enabled', 'web'))[0], 3, 'it is not enabled any more');
like(says('web'), qr/^up .* normally down/, 'disable does not stop it');

# ---- what ends, and what comes back ----
$h->supervisor_is_killed($web);
$h->qemu_dies($web);
$h->restarts($web, sub { $h->does($s6, 'restart', 'web') });
$h->guest_switches_off($web, is_off($web));
$h->definition_is_wrong($web, sub { $h->does('s6-svc', '-u', '/etc/service/vm-web') }, is_off($web));
$h->fails_to_start($web);

# ---- start, ready, status, log, stop ----
$h->does('s6-svc', '-wU', '-u', '/etc/service/vm-web');
like($h->vmconf_does('log', 'web'), qr/the guest listens[^\n]*\n\z/, 's6-svc -wU waits for the guest');
like($h->does($s6, 'status', 'web'), qr/^web: up \(pid \d+\) .*ready/, 'status');
$h->does('s6-svc', '-wD', '-d', '/etc/service/vm-web');
Init::is_down($web);
is(($h->run($s6, 'status', 'web'))[0], 3, 'status of a VM that is down');
like($h->vmconf_does('start', 'web', 'db'), qr/^db: running/m, 'start');
$h->vmconf_does('stop', 'web');
Init::is_down($web);
$h->works_in_a_sandbox($web, '/etc/s6/sv/vm-web/conf');

# ---- delete ----
$h->goes_with_its_vm('/etc/s6/sv/vm-NAME/run');

# ---- the host goes down ----
$h->does('s6-svscanctl', '-t', '/etc/service');
$h->off;
Init::is_down($db);

done_testing;
