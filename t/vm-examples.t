#!/usr/bin/perl
# The examples of definitions, in examples/vm and in vmconf(5), and the commands of doc/first-vm.md and doc/moving.md that make one: the
# parser and the schema take them, and QEMU starts what they make (with small disks, a nic that needs no bridge, a display that needs no
# screen).
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;
use JSON::PP;

need('qemu-system-x86_64', 'qemu-system-aarch64', 'qemu-img', 'python3');
need_that('python3 has jsonschema (t/setup check installs it)', sub { (run_command('python3', '-c', 'import jsonschema'))[0] == 0 });
need_that('there is UEFI firmware (t/setup check installs it)', sub {
	my $all = join '', map { slurp($_) } glob '/usr/share/qemu/firmware/*.json';
	return $all =~ /"x86_64"/ && $all =~ /"aarch64"/;
});

my $program = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
local $ENV{QEMU_SUPERVISE_CONFIG_DIR} = "$work/config";
local $ENV{QEMU_SUPERVISE_STATE_DIR} = "$work/state";
mkdir "$work/$_" for 'config', 'state';

my %examples = map { m{([^/]+)\.json$} ? ($1 => slurp($_)) : () } glob "$top/examples/vm/*.json";
my $count = 0;
my $page = slurp("$top/man/vmconf.5") =~ s/.*^\.Sh EXAMPLES$//msr;
$examples{ 'page-' . ++$count } = $1 while $page =~ /^(\{\n.*?^\}\n)/msg;
is_deeply([sort grep { !/^page/ } keys %examples], [qw(aarch64 bridge bsd kernel private-a private-b two-disks uefi vde windows)], 'all are there');
is($count, 3, 'and those of the page');

my $validate = 'import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
for path in sys.argv[2:]: jsonschema.Draft202012Validator(schema).validate(json.load(open(path)))';
for my $name (sort keys %examples) {
	spew("$work/config/$name.json", $examples{$name});
	my ($status, undef, $err) = run_command($program, '--print', $name);
	is("$status$err", '0', "$name: the parser takes it");
}
my ($status, undef, $err) = run_command('python3', '-c', $validate, "$top/vm.schema.json", glob "$work/config/*.json");
is($status, 0, 'the schema takes them all') or diag($err);

sub made_small {
	my ($name) = @_;
	my $vm = decode_json($examples{$name});
	my $home = "$work/state/$name";
	mkdir $home;
	for my $disk (@{ $vm->{disks} }) {
		$disk = { format => 'null-co', size => 1 << 20 } if ($disk->{path} || '/') =~ m{^/};
		run_command('qemu-img', 'create', '-q', '-f', $disk->{format}, "$home/$disk->{path}", '16M') if $disk->{path};
	}
	spew($vm->{cdrom} = "$home/install.iso", "\0" x 4096) if $vm->{cdrom};
	@$vm{'kernel', 'initrd'} = map { guest_files() . "/$_" } 'vmlinuz', 'initrd' if $vm->{kernel};
	for my $nic (@{ $vm->{nics} }) {
		$nic = { type => 'user' } if $nic->{type} ne 'user';	# t/private-network.t has those of private networks
		$nic->{hostfwd} =~ s/:2222-/:0-/ if $nic->{hostfwd};	# the port may be somebody else's
	}
	$vm->{display} = 'none' if ($vm->{display} || '') eq 'gtk';
	return encode_json({ %$vm, accel => 'tcg', memory => '128M', ready => 'started' });
}

for my $name (sort keys %examples) {
	spew("$work/config/$name.json", made_small($name));
	my $s = running(vm => $name);
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, $name);
}

# The commands of a page that make a VM without an image, or change one.
sub of_page {
	my ($page) = @_;
	return grep { !/--image/ } slurp("$top/doc/$page.md") =~ /^    \$ (vmconf (?:create|set) (?:.*\\\n)*.*)$/mg;
}

spew("$work/windows.iso", "\0" x 4096);
mkdir("$work/ubuntu");
run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$work/ubuntu/disk.qcow2", '16M');
vmconf_does('create', 'lab', quick());
my @commands = map { of_page($_) } 'first-vm', 'moving';
cmp_ok(scalar(@commands), '>=', 4, 'commands of pages');
for my $command (@commands) {
	my $typed = $command =~ s{/srv/iso/|/home/ann/}{$work/}gr =~ s/--forward 8080:/--forward 18080+:/r;
	my ($status, $out, $err) = run_command('bash', '-c', "PATH=$top:\$PATH; $typed");
	is($status, 0, $command =~ s/ *\\\n.*//sr) or diag($out, $err);
	my ($name) = $command =~ /^vmconf create (\w+)/ or next;
	if ($name eq 'win') {
		my ($made, $example) = (definition('win'), decode_json($examples{windows}));
		is_deeply($made->{$_}, $example->{$_}, "$_ as in the example") for qw(cpus memory firmware args);
	}
	vmconf_does('set', $name, 'accel=tcg', 'memory=128M', 'display=none', 'ready=started');
	my $s = running(vm => $name);
	$s->signal('QUIT');
	$s->ends_with(80, qr/quit/, $name);
}
my ($win, $windows) = (definition('win'), decode_json($examples{windows}));
is_deeply($win->{$_}, $windows->{$_}, "at last, $_ as in the example") for 'press-interval', 'on';

done_testing;
