#!/usr/bin/perl
# Real guests on other machines than a PC's: known to be deaf while they boot, pressed when they listen, and off.
# Machines without a power button. What must not be read is not.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need(map { "qemu-system-$_" } qw(x86_64 aarch64 ppc64 s390x riscv64));

my $firmware = (grep { -e } '/usr/share/AAVMF/AAVMF_CODE.fd', '/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd')[0];
need_that('there is UEFI firmware for arm64 (t/setup check installs it)', sub { $firmware });

my $deaf = qr/does not listen to its power button yet; waiting for it/;
my $acpi = qr/pressed; the guest's ACPI is up, whether its driver listens cannot be known\n/;
my $heard = qr/power button pressed\n/;
my $kept = qr/pressed; the machine keeps it until the guest listens\n/;

# What the log says before the press (undef: it comes when init listens), and of it.
my %guests = (
	'arm64 with a device tree' => [$deaf, $heard, arch => 'arm64'],
	'arm64 with UEFI and a GICv3' => [
		$deaf, $acpi, arch => 'arm64', machine => 'virt,gic-version=3',
		args => ['-smp', 2, '-drive', "if=pflash,format=raw,readonly=on,file=$firmware"]
	],
	'arm64 with UEFI, a GICv2 and two CPUs' => [
		'', qr/pressed; whether the guest listens cannot be known\n/, arch => 'arm64', machine => 'virt,gic-version=2',
		args => ['-smp', 2, '-drive', "if=pflash,format=raw,readonly=on,file=$firmware"]
	],
	# Under TCG it has no clock that the kernel could calibrate its own with.
	'microvm' => [$deaf, $acpi, machine => 'microvm,acpi=on', args => ['-cpu', 'max'], append => 'tsc_early_khz=2000000'],
	'pseries with XIVE' => [undef, $heard, arch => 'ppc64el', machine => 'pseries,x-vof=on,ic-mode=xive'],
	'pseries with XICS' => [$deaf, $heard, arch => 'ppc64el', machine => 'pseries,x-vof=on,ic-mode=xics'],
	's390x' => [undef, $kept, arch => 's390x'],
);
my @once = qw(pseries s390x);

# Two at a time, and each is off before its boot-timeout could be over.
my @names = sort keys %guests;
my %running;
while (@names || %running) {
	while (@names && keys %running < 2) {
		my $name = shift @names;
		my ($before, $press, %o) = @{ $guests{$name} };
		guest_files($o{arch});
		my $s = supervise(guest => 'normal', disk => undef, options => ['--boot-timeout', '1h'], %o);
		$s->wait_log(qr/QEMU runs/);
		$s->wait_console(qr/guest: listening/) if !defined $before;
		$s->signal('TERM');
		$running{$name} = $s;
	}
	my $name = wait_until('the end of a guest', sub { (grep { $running{$_}->ended } keys %running)[0] });
	my $s = delete $running{$name};
	my ($before, $press) = @{ $guests{$name} };
	subtest $name => sub {
		$s->ends_with(0, qr/powered itself off/, $name);
		like($s->log, $before, 'deaf before') if $before;
		like($s->log, $press, 'pressed');
		# Here the kernel itself answers one that comes before there is an init.
		my $heard_by = $name =~ /XICS/ ? qr/Power off requested/ : qr/guest: listening.*guest: press\r?\n.*guest: down/s;
		like($s->console, $heard_by, 'it heard the press');
		unlike($s->log, qr/pressed again/, 'once') if grep { $name =~ /^$_/ } @once;
	};
}

# Whatever runs in them, nothing could hear the button.
my @bare = ('-accel', 'tcg', '-m', 64, '-nodefaults', '-no-user-config', '-display', 'none');
my %without = (
	'riscv64 virt' => ['qemu-system-riscv64', '-machine', 'virt', '-bios', 'none', @bare],
	'microvm without ACPI' => ['qemu-system-x86_64', '-machine', 'microvm,acpi=off', @bare],
	'pc without ACPI' => ['qemu-system-x86_64', '-machine', 'pc,acpi=off', @bare],
	'pc without ACPI, 32 bit' => ['qemu-system-i386', '-machine', 'pc,acpi=off', @bare],
);
subtest 'machines without a power button' => sub {
	for my $name (sort keys %without) {
		my $s = running(command => $without{$name}, options => ['--ready', 'listening', '-o', 'TERM=powerdown forever, quit 1h, kill']);
		$s->wait_log(qr/this machine has no power button; ready, as it is started/);
		$s->signal('USR1');
		$s->wait_log(qr/power button: there is none/);
		$s->signal('TERM');
		$s->ends_with(80, qr/not shut down: quit/, $name);
		like($s->log, qr/powerdown: this machine has no power button\n/, "$name: said");
		unlike($s->log, qr/pressed/, "$name: not pressed");
	}
};

# ---- the fake ----

my $region = '    %016x-%016x (prio 0, i/o): %s owner:{dev path=/machine/unattached/device[1]}';

sub mtree {
	my (%at) = @_;
	return join("\r\n", 'address-space: memory', (map { sprintf($region, $at{$_}, $at{$_} + 0xfff, $_) } sort keys %at), '');
}

# HMP lines, other than that which finds the machine.
sub lines {
	my ($s) = @_;
	return grep { /^(?!info mtree)./ } map { $_->{arguments}{'command-line'} // '' } $s->sent;
}

sub presses { return scalar $_[0]->sent(qr/^system_powerdown$/) }

sub machine {
	my ($target, $regions, @more) = @_;
	my $options = ref $more[-1] ? pop @more : [];
	return running(fake => ["target=$target", 'mtree=' . mtree(%$regions), @more], options => $options);
}

my %ged = ('acpi-ged' => 0x09080000);
my %gicv3 = (%ged, gicv3_dist => 0x08000000);
my %microvm = ('acpi-ged' => 0xfea00000, ioapic => 0xfec00000, fwcfg => 0x510);
my %pl061 = (pl061 => 0x09030000);

subtest 'what is never read' => sub {
	my %machines = (
		'a GICv2' => ['aarch64', { %ged, gic_dist => 0x08000000 }],
		'the selector of acpi-ged' => ['loongarch64', { 'acpi-ged' => 0x100e0000 }],
		'a GICv3 in the kernel' => ['aarch64', \%gicv3, 'type=kvm-arm-gicv3'],
		'a GICv3 elsewhere' => ['aarch64', { 'acpi-ged' => 0x09080000, gicv3_dist => 0x40060000 }],
		'a PL061 elsewhere' => ['arm', { pl061 => 0x101e4000 }],
		'an IOAPIC in the kernel' => ['x86_64', { 'acpi-ged' => 0xfea00000, 'kvm-ioapic' => 0xfec00000, fwcfg => 0x510 }],
	);
	for my $name (sort keys %machines) {
		my $s = machine(@{ $machines{$name} });
		$s->signal('TERM');
		$s->ends_with(0, qr/powered itself off/, $name);
		like($s->log, qr/pressed; whether the guest listens cannot be known/, "$name: not known");
		is_deeply([lines($s)], [], "$name: not read");
	}
};

my $no_pin = "  pin 9  0x0000000000010000 dest=0 vec=0   active-hi edge  masked fixed  physical\r\n";
my $pin = "  pin 9  0x0000000000000020 dest=0 vec=32  active-hi edge         fixed  physical\r\n";
my %reads = (	# line, deaf, what it says then, and the words
	GPIO => ['aarch64', \%pl061, 'xp /1wx 0x09030410', '0000000009030410: 0x00000000', '0000000009030410: 0x00000008', $heard],
	'32 bit' => ['arm', \%pl061, 'xp /1wx 0x09030410', '0000000009030410: 0x00000007', '0000000009030410: 0x00000008', $heard],
	GICv3 => ['aarch64', \%gicv3, 'xp /1wx 0x08000104', '0000000008000104: 0x00000002', '0000000008000104: 0x00000202', $acpi],
	IOAPIC => ['x86_64', \%microvm, 'info pic', $no_pin . $no_pin, $no_pin . $pin, $acpi],
	'IOAPICs the other way round' => ['x86_64', \%microvm, 'info pic', $no_pin . $no_pin, $pin . $no_pin, $acpi],
	XICS => ['ppc64', { 'tce-root-80000000' => 0 }, 'info pic', "  1000 MSI ff 00\r\nirqchip: emulated\r\n",
		"  1000 MSI 05 00\r\nirqchip: emulated\r\n", $heard],
	XIVE => ['ppc64', { 'tce-root-80000000' => 0 }, 'info pic', "  00001000 MSI -Q  M 00000000\r\nirqchip: emulated\r\n",
		"  00001000 MSI --    00000011   0/6\r\nirqchip: emulated\r\n", $heard],
);

subtest 'each row of the table' => sub {
	for my $name (sort keys %reads) {
		my ($target, $regions, $line, $no, $yes, $press) = @{ $reads{$name} };
		my $s = machine($target, $regions, "shows=$no");
		$s->signal('TERM');
		$s->wait_log($deaf);
		wait_until('looks', sub { lines($s) > 2 });
		is(presses($s), 0, "$name: deaf");
		$s->fake(set => { shows => $yes });
		$s->ends_with(0, qr/powered itself off/, $name);
		like($s->log, $press, "$name: pressed");
		is_deeply([grep { $_ ne $line } lines($s)], [], "$name: nothing else is read");
	}
};

subtest 'what cannot be read is not deaf' => sub {
	for my $name (sort keys %reads) {
		my ($target, $regions, $line, $no) = @{ $reads{$name} };
		for my $answer ("unknown command: '$line'", $line =~ /^xp/ ? 'Cannot access memory' : "irqchip: in-kernel\r\n  1000 MSI ff 00") {
			my $s = machine($target, $regions, "shows=$answer");
			$s->signal('TERM');
			$s->ends_with(0, qr/powered itself off/, "$name: $answer");
			unlike($s->log, $deaf, "$name: not known");
		}
		my $s = machine($target, $regions, "shows=$no");
		$s->signal('TERM');
		$s->wait_log($deaf);
		$s->fake(set => { 'no-hmp' => 1 });
		$s->ends_with(0, qr/powered itself off/, "$name: HMP is gone");
		like($s->log, qr/pressed; (?:whether the guest listens cannot be known|the machine keeps it)/, "$name: not known any more");
	}
	for my $target (qw(aarch64 x86_64 riscv64 ppc64)) {
		my $s = running(fake => ["target=$target", 'no-hmp']);
		$s->signal('TERM');
		$s->ends_with(0, qr/powered itself off/, "$target without HMP");
		like($s->log, qr/pressed; whether the guest listens cannot be known/, "$target: pressed all the same");
	}
};

subtest 'again' => sub {
	my $s = machine('aarch64', \%gicv3, 'presses=3', 'shows=0000000008000104: 0x00000202', ['--press-interval', '1h']);
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'ACPI is up');
	is(presses($s), 3, 'pressed as a guest that boots, not after an hour');

	for my $target (qw(s390x ppc64)) {
		$s = machine($target, { 'tce-root-80000000' => 0 }, 'presses=2', 'shows=irqchip: in-kernel', ['--press-interval', '1ms']);
		$s->signal('TERM');
		$s->wait_log($kept);
		my $looks = $s->sent(qr/^query-status$/);
		for my $more (1 .. 3) {
			$s->fake(event => 'RESUME');
			wait_until('a look', sub { $s->sent(qr/^query-status$/) >= $looks + $more });
		}
		is(presses($s), 1, "$target: once");
		$s->signal('QUIT');
		$s->ends_with(80, qr/quit/, $target);
	}
};

done_testing;
