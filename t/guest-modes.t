#!/usr/bin/perl
# Every way in which a guest may behave when it is asked to shut down, and when it is not.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs');

my $listens = qr/guest: listening/;
my $impatient = 'TERM=powerdown 3s, agent-shutdown 30s, quit 10s, kill';
my @pvpanic = (args => ['-device', 'pvpanic-pci']);
my $off = qr{the guest powered itself off \(status 0\); TERM: powerdown [\d.]+s$};
my $reset = qr/the guest reset itself .* \(status 85\); TERM: powerdown/;
my $quit = qr/the guest was not shut down: quit \(status 80\); TERM: powerdown \S+, agent-shutdown 0\.0s, quit/;

# Each row: guest's mode and options, when TERM is sent (undef: not at all), what the log says before the guest's gate
# is opened, how it must end, what the
# log must say, what it must not say, whether the disk is clean then (undef: nobody can tell). pc: on that machine
# too, whose registers are elsewhere.
my @rows = (
	{ pc => 1, mode => 'normal', term => $listens, status => 0, last => $off, not => qr/waiting/, clean => 1 },
	{ mode => 'slow-boot', term => qr/guest: up/, gate => qr/waiting for it/, status => 0, last => $off, clean => 1,
	  log => qr/does not listen .* waiting for it, \S+ at most\n.*button pressed\n/ },
	{ pc => 1, mode => 'late', term => qr/guest: up/, gate => qr/waiting for it/, status => 0, last => $off, clean => 1,
	  log => qr/does not listen .* waiting for it, \S+ at most\n.*button pressed\n/ },
	{ mode => 'gap', options => ['--press-interval', '500ms'], term => qr/guest: up/, gate => qr/button pressed/,
	  status => 0, last => $off, log => qr/button pressed\n.*button pressed again/s, clean => 1 },
	{ mode => 'deaf', options => ['--boot-timeout', '1s'], term => qr/guest: up/, status => 80,
	  last => $quit, log => qr/deaf: the guest does not listen/, not => qr/button pressed/ },
	{ pc => 1, mode => 'ignore', options => ['--on', $impatient], term => $listens, status => 80, last => $quit,
	  log => qr/button pressed\n.*powerdown 3s is over.*no guest agent/s, clean => 0 },
	{ mode => 'two-presses', options => ['--press-interval', '1s'], term => $listens, status => 0,
	  last => $off, log => qr/button pressed\n.*button pressed again/s, clean => 1 },
	{ mode => 'two-presses', what => 'one press of two', options => ['--press-interval', '0', '--on', $impatient],
	  term => $listens, status => 80, last => $quit, not => qr/again/, clean => 0 },
	{ mode => 'slow-stop', delay => 2, options => ['--press-interval', '500ms'], term => $listens,
	  status => 0, last => $off, log => qr/pressed again/, clean => 1 },
	{ pc => 1, mode => 'reboot', term => $listens, status => 85, last => $reset, clean => 1 },
	{ mode => 'panic-on-press', term => $listens, status => 85, last => $reset, clean => 0 },
	{ mode => 'panic-on-press', what => 'panic-on-press told', @pvpanic, term => $listens, status => 82,
	  last => qr/the guest panicked \(status 82\); TERM: powerdown/, log => qr/has panicked/, clean => 0 },
	{ mode => 'poweroff', status => 0, last => qr/the guest powered itself off \(status 0\)$/, clean => 1 },
	{ mode => 'selfreboot', args => ['-no-reboot'], status => 84, clean => 1,
	  last => qr/the guest asked for a reboot and QEMU ended instead \(status 84\)$/ },
	{ mode => 'selfreboot-once', term => qr/$listens.*$listens/s, status => 0, last => $off, clean => 1 },
	{ pc => 1, mode => 'panic', @pvpanic, status => 82, last => qr/the guest panicked \(status 82\)$/, clean => 0 },
	{ mode => 'panic', what => 'panic not told', args => ['-no-reboot'], status => 84,
	  last => qr/asked for a reboot and QEMU ended instead \(status 84\)$/, clean => 0 },
	{ mode => 'panic', what => 'panic that hangs', panic => 0, options => ['--on', $impatient],
	  term => qr/Kernel panic.*end Kernel panic/s, status => 80, last => $quit,
	  log => qr/it is not serving interrupts/, clean => 0 },
);

sub start {
	my ($machine, $row) = @_;
	my %s = (%$row, machine => $machine, what => "$machine, " . ($row->{what} || $row->{mode}));
	$s{vm} = supervise(guest => $s{mode}, %s);
	return \%s;
}

sub stop {
	my ($s) = @_;
	return unless $s->{term};
	$s->{vm}->wait_console($s->{term});
	$s->{vm}->signal('TERM');
	return unless $s->{gate};
	$s->{vm}->wait_log($s->{gate});
	$s->{vm}->open_gate;
}

sub check {
	my ($s) = @_;
	my $what = $s->{what};
	$s->{vm}->ends_with($s->{status}, $s->{last}, $what);
	like($s->{vm}->log, $s->{log}, "$what: the log tells why") if $s->{log};
	unlike($s->{vm}->log, $s->{not}, "$what: the log does not tell what was not") if $s->{not};
	is(disk_is_clean($s->{vm}{disk}) ? 1 : 0, $s->{clean}, "$what: file system " . ($s->{clean} ? 'clean' : 'cut off'))
		if defined $s->{clean};
}

my @todo = ((map { ['q35', $_] } @rows), map { ['pc', $_] } grep { $_->{pc} } @rows);
while (my @batch = splice(@todo, 0, 8)) {
	my @vms = map { start(@$_) } @batch;
	stop($_) for @vms;
	check($_) for @vms;
}

done_testing;
