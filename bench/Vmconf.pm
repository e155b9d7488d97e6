# make bench: vmconf beside bare qemu-img, and beside virsh where libvirt is installed.
package Vmconf;

use strict;
use warnings;
use Exporter qw(import);
use JSON::PP ();
use T;
use Table;

our @EXPORT_OK = qw(bench_vmconf);

my $vmconf = "$top/vmconf";
my ($definitions, $running) = (10000, 100);

# How long a command takes, in ms.
sub took {
	my (@command) = @_;
	my $began = now();
	my ($status, undef, $errors) = run_command(@command);
	die "@command: $errors\n" if $status != 0;
	return now() - $began;
}

sub directories {
	my ($name) = @_;
	my $base = "$work/$name";
	mkdir($_) for $base, map { "$base/$_" } qw(config state run);
	@ENV{ map { "QEMU_SUPERVISE_${_}_DIR" } qw(CONFIG STATE RUNTIME) } = map { "$base/$_" } qw(config state run);
	return $base;
}

sub define {
	my ($base, $name, $emulator) = @_;
	my $more = $emulator ? qq(, "emulator": "$emulator") : '';
	spew("$base/config/$name.json", qq({ "cpus": 2, "memory": "2G", "disks": [{ "path": "disk.qcow2", "format": "qcow2" }],)
		. qq( "nics": [{ "type": "user", "mac": "52:54:00:) . join(':', map { sprintf '%02x', rand 256 } 1 .. 3) . qq(" }]$more }\n));
	chmod(0644, "$base/config/$name.json");
}

# Supervisors and QEMUs that run, as far as a list can tell; a hundred real guests would not fit.
sub start_many {
	my ($base) = @_;
	my $emulator = spew("$work/qemu-system-x86_64",
		qq(#!/bin/sh\nwhile [ "\$1" != -readconfig ]; do shift; done\nexec $top/t/fake-qemu -readconfig "\$2"\n));
	chmod(0755, $emulator);
	my @vms;
	for my $n (1 .. $running) {
		progress('vmconf list: VM %d of %d', $n, $running);
		define($base, "running$n", $emulator);
		my $pid = fork // die "fork: $!";
		if ($pid == 0) {
			open(STDERR, '>', "$work/running$n");
			exec "$top/qemu-supervise", "running$n";
		}
		push @vms, $pid;
		wait_until("running$n", sub { slurp("$work/running$n") =~ /QEMU runs/ }) if $n % 10 == 0;
	}
	wait_until("running$_", sub { slurp("$work/running$_") =~ /QEMU runs/ }) for 1 .. $running;
	return @vms;
}

sub bench_list {
	my $base = directories('many');
	define($base, "vm$_") for 1 .. $definitions - $running;
	my @vms = start_many($base);
	my (@ours, @peers);
	for my $round (1 .. $rounds) {
		progress('vmconf list, %d of %d', $round, $rounds);
		push @ours, took($vmconf, 'list');
		push @peers, took('ls', '-l', "$base/config");
	}
	my $ours = median(@ours);
	row('list 10,000 VMs, 100 run, ms', $ours, median(@peers), 'ls -l', 'under 100 ms', $ours < 100);
	kill('TERM', @vms);
	waitpid($_, 0) for @vms;
}

sub bench_create {
	directories('create');
	my (@ours, @peers);
	for my $round (1 .. 2 * $rounds) {
		progress('vmconf create, %d of %d', $round, 2 * $rounds);
		push @peers, took('qemu-img', 'create', '-q', '-f', 'qcow2', "$work/bare$round.qcow2", '20G');
		push @ours, took($vmconf, 'create', "vm$round", '--disk', '20G');
	}
	my ($ours, $peer) = (median(@ours), median(@peers));
	row('create a VM, ms', $ours, $peer, 'qemu-img create', 'under 1.3 times', $ours < 1.3 * $peer);
}

# They listen, and somebody is there who obeys.
sub wait_listening {
	my ($base, @names) = @_;
	wait_until("@names", sub { !grep { slurp("$base/$_.console") !~ /guest: listening/ } @names });
}

# Guests that take 10 s to go down, each on its own disk.
sub start_guests {
	my ($base, @names) = @_;
	for my $name (@names) {
		make_disk("$base/$name.disk");
		my $guest = T::guest_definition('slow-stop', delay => 10, disk => "$base/$name.disk", console => "$base/$name.console");
		T::define($name, { %$guest, agent => JSON::PP::false, initrd => guest_files() . '/initrd' });
	}
	took($vmconf, 'start', '--all');
	wait_listening($base, @names);
}

sub bench_stop {
	my $base = directories('stop');
	local $ENV{QEMU_SUPERVISE_INIT} = "$top/init/none";
	my (@ours, @peers);
	for my $round (1 .. 3) {
		progress('vmconf stop --all, %d of 3', $round);
		start_guests($base, map { "vm$_" } 1 .. 10);
		push @ours, took($vmconf, 'stop', '--all');
		took($vmconf, 'start', 'vm1');
		wait_listening($base, 'vm1');
		push @peers, took($vmconf, 'stop', 'vm1');
	}
	my ($ours, $peer) = (median(@ours), median(@peers));
	row('stop ten VMs at once, ms', $ours, $peer, 'one of them, alone', 'under 1.2 times', $ours < 1.2 * $peer);
}

# Only where somebody has libvirt, and it answers.
sub bench_virsh {
	my @virsh = ('virsh', '-q', '-c', 'qemu:///system');
	return if (run_command(@virsh, 'list'))[0] != 0;
	directories('virsh');
	my %took;
	for my $round (1 .. 3) {	# a define takes seconds where libvirt cannot keep what it finds out about QEMU
		progress('virsh, %d of 3', $round);
		my $name = "qemu-supervise-bench-$$-$round";
		my $xml = spew("$work/domain.xml", "<domain type='qemu'><name>$name</name><memory>1048576</memory>"
			. "<os><type arch='x86_64'>hvm</type></os></domain>\n");
		push @{ $took{define} }, took(@virsh, 'define', $xml);
		push @{ $took{list} }, took(@virsh, 'list', '--all');
		run_command(@virsh, 'undefine', $name);
		push @{ $took{create} }, took($vmconf, 'create', "vm$round");
		push @{ $took{ours} }, took($vmconf, 'list');
	}
	my %ms = map { $_ => median(@{ $took{$_} }) } keys %took;
	row('list a few VMs, ms', $ms{ours}, $ms{list}, 'virsh list --all', '', 1);
	row('create without a disk, ms', $ms{create}, $ms{define}, 'virsh define', '', 1);
}

sub bench_vmconf {
	bench_list();
	bench_create();
	bench_stop();
	bench_virsh();
}

1;
