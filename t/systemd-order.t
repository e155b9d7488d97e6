#!/usr/bin/perl
# VMs as units of a real systemd, fourth part: qemu-supervise-boot.service starts all VMs when the host boots, in their
# order, and as its options say.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Nspawn;
use T;

Nspawn::need_host();
my $h = Nspawn->new;
my %order = (web => 3, db => -2, dns => -2);
$h->vm($_, 'normal', keys => { order => $order{$_} }) for keys %order;
system('mkdir', '-p', "$work/units/multi-user.target.wants") == 0 or die "mkdir failed\n";
system('mkdir', '-p', "$work/units/qemu-supervise-boot.service.d") == 0 or die "mkdir failed\n";
spew("$work/units/qemu-supervise-boot.service.d/spread.conf", qq([Service]\nEnvironment="START_OPTIONS=--parallel 1 --delay 10ms"\n));
my $unit = '/usr/local/lib/systemd/system/qemu-supervise-boot.service';
symlink($unit, "$work/units/multi-user.target.wants/qemu-supervise-boot.service") or die "symlink: $!";
$h->boot;
is($h->ok_does('systemd-analyze', 'verify', '--man=no', $unit), '', 'systemd-analyze verify has nothing to say');
is($h->ok_does('systemctl', 'is-active', 'qemu-supervise-boot'), "active\n", 'the host is up when they are ready');
like($h->journal, qr/ db: QEMU runs.* db: the guest listens.* dns: QEMU runs.* dns: the guest listens.* web: QEMU runs.* web: the guest listens/s,
	'lowest order first, one at a time, and ready before the next one begins');
is(join(' ', map { $h->unit($_, 'ActiveState') } sort keys %order), 'active active active', 'each has its unit');
$h->poweroff;
like($h->journal('-u', 'qemu-supervise-guests'), qr/ web: stopped.*(?: d(?:b|ns): stopped.*){2}/s, 'and they go down in the opposite order');
$h->is_clean($_, 'after poweroff') for sort keys %order;
done_testing;
