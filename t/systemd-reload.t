#!/usr/bin/perl
# VMs as units of a real systemd, third part: a daemon-reload in the middle of a long stop and of a long start, after which
# systemd counts the limits of the unit anew and has forgotten what it granted; and supervisors that hang.
# The times are longer than the 60 and 90 seconds that the unit said once.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Nspawn;
use T;
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

Nspawn::need_host();
my $h = Nspawn->new;
$h->vm('slow', 'slow-stop', delay => 75);
$h->vm('mute', 'normal', keys => { ready => 'agent', agent => JSON::PP::true, 'boot-timeout' => '100s' });
$h->vm('hangs', 'normal');
$h->drop_in('hangs', 'watchdog.conf', "[Service]\nWatchdogSec=2s\n");
$h->boot;

sub now { return clock_gettime(CLOCK_MONOTONIC) }

my %at = (mute => now());
$h->ok_does('systemctl', 'start', '--no-block', 'qemu-supervise@mute');
$h->ok_does('systemctl', 'start', 'qemu-supervise@slow', 'qemu-supervise@hangs');
$h->ok_does('systemctl', 'stop', '--no-block', 'qemu-supervise@slow');
wait_until('the press', sub { $h->console('slow') =~ /guest: press/ });
$at{slow} = now();
my %pid = map { $_ => $h->unit($_, 'MainPID') } qw(slow mute hangs);

# ---- meanwhile: the watchdog ----
my $qemu = $h->qemu('hangs');
$h->ok_does('kill', '-STOP', $pid{hangs});
$h->wait_unit('hangs', 'NRestarts', 1);
$h->wait_unit('hangs', 'ActiveState', 'active');
is($h->qemu('hangs'), $qemu, 'a supervisor that hangs is killed, and the next one takes its QEMU over');
$h->ok_does('systemctl', 'stop', 'qemu-supervise@hangs');
$h->is_clean('hangs', 'after a stop by the next one');

# ---- meanwhile: units that are shown, of VMs without a definition; each says that the VM outlives its supervisor ----
my %shown = (
	'README.md' => slurp("$top/README.md") =~ /^A complete systemd unit:\n\n(.*?)^\S/ms,
	'qemu-supervise(8)' => slurp("$top/man/qemu-supervise.8") =~ /^A unit for a command line.*?indent\n(.*?)^\.Ed/ms,
	'web.service' => slurp("$top/examples/web.service"),
);

sub shown {
	my ($property) = @_;
	my (undef, $value) = $h->does('systemctl', 'show', '--value', "--property=$property", 'web');
	return $value =~ s/\n//r;
}

for my $where (sort keys %shown) {
	make_disk("$work/srv/web.disk");
	unlink("$work/srv/web.console");
	my $unit = $shown{$where} =~ s/\\e$/\\/gmr =~ s/^ {4}//gmr;
	ok($unit =~ s{(^ExecStart=\S+ [^\n]*?-- ).*?[^\\]$}{$1qemu-system-x86_64 -machine q35 -accel tcg -m 128 -display none}ms, "$where: its command");
	my $guest = '-kernel /guest/vmlinux -initrd /guest/initrd -append "' . T::guest_append('normal')
		. '" -drive file=/srv/web.disk,format=raw,if=virtio -serial file:/srv/web.console';
	spew("$work/units/web.service", $unit =~ s/-display none/-display none $guest/r);
	$h->ok_does('systemctl', 'daemon-reload');
	$h->ok_does('systemctl', 'start', 'web');
	wait_until('the guest', sub { $h->console('web') =~ /guest: listening/ });
	my @qemu = ('grep', ' command *$', '/var/lib/qemu-supervise/web/vm.lock'); # its line; the other one is the supervisor's
	my $qemu = $h->ok_does(@qemu);
	$h->ok_does('systemctl', 'kill', '-s', 'KILL', '--kill-whom=main', 'web');
	wait_until('another supervisor', sub { shown('NRestarts') eq 1 && shown('ActiveState') eq 'active' });
	is($h->ok_does(@qemu), $qemu, "$where: the VM outlives its supervisor");
	is(shown('TimeoutStartUSec') . ' ' . shown('TimeoutStopUSec'), 'infinity infinity', "$where: nothing cuts its ladder");
	$h->ok_does('systemctl', 'stop', 'web');
	is(shown('Result'), 'success', "$where: a stop");
	$h->is_clean('web', 'after it');
	$h->does('systemctl', 'reset-failed', 'web');
}

# ---- the reload ----
wait_until('what would be more than 60 s of the stop', sub { now() > $at{slow} + 66 || $h->unit('slow', 'ActiveState') ne 'deactivating' });
$h->ok_does('systemctl', 'daemon-reload');
wait_until('its end', sub { $h->unit('slow', 'ActiveState') =~ /^(inactive|failed)$/ });
is($h->unit('slow', 'Result') . ', ' . $h->end_of('slow')->{status}, 'success, 0', 'a reload in the middle of a long stop');
$h->is_clean('slow', 'after it');

wait_until('what would be more than 90 s of the start', sub { now() > $at{mute} + 94 || $h->unit('mute', 'ActiveState') ne 'activating' });
$h->ok_does('systemctl', 'daemon-reload');
wait_until('the bound of the start', sub { $h->unit('mute', 'ActiveState') ne 'activating' });
is($h->unit('mute', 'ActiveState') . ' ' . $h->unit('mute', 'MainPID'), "active $pid{mute}", 'a reload in the middle of a long start');
like($h->lines_of('mute'), qr/the guest agent has not answered for 100s since its start; the VM counts as started/, 'whose agent never answers');
is($h->unit('mute', 'StatusText'), 'Started; the guest agent has not answered', 'which systemctl status shows');
$h->ok_does('systemctl', 'stop', 'qemu-supervise@mute');
$h->is_clean('mute', 'at its end');
$h->poweroff;
done_testing;
