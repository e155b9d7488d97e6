#!/usr/bin/perl
# Networks of VMs that need no root and no interface of the host, as in examples/vm: what guests there reach, and what they do not.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-system-x86_64', 'socat', 'vde_switch', 'ip');

my $guest = T::ssh_guest_files();
my $interfaces = interfaces();
mkdir $ENV{QEMU_SUPERVISE_STATE_DIR};

sub interfaces { return join ' ', (run_command('ip', '-o', 'link'))[1] =~ /^\d+: ([^:@]+)/mg }

# The nics of an example, which must not depend on the host that it is for.
sub nics_of {
	my ($example) = @_;
	return JSON::PP::decode_json(slurp("$top/examples/vm/$example.json"))->{nics};
}

# Starts a VM with these nics, whose guest has 10.77.0.$number and pings others.
sub start_guest {
	my ($name, $nics, $number, @others) = @_;
	my $pings = join ',', map { "10.77.0.$_" } @others;
	my $console = "$work/console.$name";
	mkdir "$ENV{QEMU_SUPERVISE_STATE_DIR}/$name";
	unlink $console;
	T::define($name, { accel => 'tcg', memory => '128M', nics => $nics, kernel => "$guest/vmlinux", initrd => "$guest/initrd-ssh",
		append => T::ssh_guest_append('none', "address=10.77.0.$number/24", "pings=$pings"), console => 'none', args => ['-serial', "file:$console"] });
	my $s = running(vm => $name);
	$s->{console} = $console;
	return $s;
}

# No answer, three times: it was up before, and pinged.
sub deaf {
	my ($s, $number) = @_;
	my $asked = () = $s->console =~ /no answer from 10\.77\.0\.$number\s/g;
	$s->wait_console(qr/(?:no answer from 10\.77\.0\.$number\s.*?){${\($asked + 3)}}/s);
	unlike($s->console, qr/reaches 10\.77\.0\.$number\s/, "$s->{name} does not reach 10.77.0.$number");
}

sub reaches {
	my ($s, $number) = @_;
	$s->wait_console(qr/reaches 10\.77\.0\.$number\s/);
	pass("$s->{name} reaches 10.77.0.$number");
}

sub off {
	for my $s (@_) {
		$s->signal('TERM');
		$s->ends_with(0, qr/the guest powered itself off/, $s->{name});
	}
}

# A switch without root: its pid.
sub switch {
	my ($dir) = @_;
	system('vde_switch', '-sock', $dir, '-daemon', '-pidfile', "$dir.pid") == 0 or die "vde_switch failed\n";
	return wait_until('the switch', sub { -S "$dir/ctl" && slurp("$dir.pid") =~ /^(\d+)/ && $1 });
}

subtest 'vde' => sub {
	my @switches = map { switch("$work/$_") } 'lab', 'other';
	my $nics = nics_of('vde');
	is($nics->[0]{sock}, '/run/vde/lab', 'the example');
	my %on = map { $_ => [{ type => 'vde', sock => "$work/$_" }] } 'lab', 'other';
	my @vms = (start_guest('one', [{ %{ $nics->[0] }, sock => "$work/lab" }], 1, 2, 3), start_guest('two', $on{lab}, 2, 1, 3), start_guest('three', $on{other}, 3, 1));
	$_->wait_console(qr/guest: network/) for @vms;
	reaches($vms[0], 2);
	reaches($vms[1], 1);
	deaf(@$_) for [$vms[0], 3], [$vms[2], 1];
	is(interfaces(), $interfaces, 'the host has no part in it');
	off(@vms);
	kill('TERM', @switches);
	waitpid($_, 0) for @switches;
};

subtest 'stream' => sub {
	my @vms = (start_guest('private-a', nics_of('private-a'), 1, 2, 3), start_guest('private-b', nics_of('private-b'), 2, 1));
	reaches($vms[0], 2);
	reaches($vms[1], 1);
	deaf($vms[0], 3);
	is(interfaces(), $interfaces, 'the host has no part in it');
	off($vms[1]);
	my $again = start_guest('private-b', nics_of('private-b'), 3, 1);
	reaches($again, 1);
	off($again, $vms[0]);
};

done_testing;
