#!/usr/bin/perl
# A VM with a TPM and shares as a unit: the unit has no namespaces and no mounts for anybody, and its programs do without.
use strict;
use warnings;
use FindBin;
use JSON::PP;
use lib $FindBin::Bin;
use Nspawn;
use T;

Nspawn::need_host();
need('swtpm');
my ($virtiofsd) = grep { -x } '/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd';
need_that('virtiofsd is installed', sub { $virtiofsd });

my $h = Nspawn->new;

# SeaBIOS has no ACPI tables for the unpacked kernel (vmlinux, by PVH) if there is a TPM.
sub vm {
	my ($name, $append, %keys) = @_;
	$h->vm($name, 'normal', append => $append, keys => { kernel => '/guest/vmlinuz', %keys });
}

sub share { return { path => "/srv/$_[0]", tag => 'data', @_[1 .. $#_] } }

mkdir("$work/srv/$_") for qw(data read-only);
spew("$work/srv/read-only/log", "from the host\n");
vm('web', 'tpm=yes share=data', tpm => JSON::PP::true, shares => [share('data')]);
vm('reads', 'share=data', shares => [share('read-only', 'read-only' => JSON::PP::true)]);
$h->boot;

$h->ok_does('systemctl', 'start', 'qemu-supervise@web', 'qemu-supervise@reads');
like($h->console('web'), qr/guest: tpm [0-9a-f]{184}/, 'the guest has asked its TPM for a key');
like($h->console('web'), qr/guest: sharing/, 'and writes to the share');
like($h->console('reads'), qr/guest: share refuses/, 'not to one that is read-only');

my @helpers = @{ decode_json($h->ok_does('cat', '/run/qemu-supervise/web/helpers.json'))->{helpers} };
is_deeply([map { $_->{name} } @helpers], ['tpm', 'share data'], 'both programs run');
for my $helper (@helpers) {
	my ($uid) = $h->ok_does('cat', "/proc/$helper->{pid}/status") =~ /^NoNewPrivs:\s+(\d)/m;
	is($uid, 1, "$helper->{name}: confined");
}

$h->ok_does('systemctl', 'kill', '-s', 'KILL', '--kill-whom=main', 'qemu-supervise@web');
$h->wait_unit('web', 'NRestarts', 1);
$h->wait_unit('web', 'ActiveState', 'active');
my $before = -s "$work/srv/data/log";
wait_until('more in the share', sub { -s "$work/srv/data/log" > $before });
$h->ok_does('vmconf', 'stop', 'web', 'reads');
is($h->end_of('web')->{status} . ' ' . $h->end_of('reads')->{status}, '0 0', 'both were shut down');
my ($last) = $h->console('web') =~ /^guest: shared (\d+)/m;
is(slurp("$work/srv/data/log"), join('', map { "$_\n" } 0 .. ($last // -1)), 'the share is complete, up to the last line of the guest');
is(slurp("$work/srv/read-only/log"), "from the host\n", 'the other one is as it was');
is(($h->does('pgrep', '-f', 'swtpm|virtiofsd'))[1], '', 'no program is left');
unlike($h->journal('-u', 'qemu-supervise@web', '-u', 'qemu-supervise@reads'), qr/HELPER_DIED|the VM goes on without it/, 'none has died');
$h->is_clean($_, 'after the stop') for qw(web reads);
$h->poweroff;

done_testing;
