#!/usr/bin/perl
# vmconf upgrade: supervisors execute the program that is installed now, and no VM notices.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use POSIX ();
use T;

need('qemu-img', 'qemu-system-x86_64');

# Programs where they can be replaced, as a package manager does: by renaming.
my ($qemu) = grep { -x } map { "$_/qemu-system-x86_64" } split /:/, $ENV{PATH};
symlink("/usr/$_", "$work/$_") or die for qw(lib share);	# where QEMU looks, beside its own directory
mkdir("$work/bin");
$ENV{QEMU_SUPERVISE} = "$work/bin/qemu-supervise";

sub replace {
	my ($from, $name) = @_;
	system('install', '-m', 755, $from, "$work/bin/new") == 0 or die;
	rename("$work/bin/new", "$work/bin/$name") or die;
}
sub replace_supervisor { replace($ENV{T_SUPERVISE} || "$top/qemu-supervise", 'qemu-supervise') }

replace_supervisor();
replace($qemu, 'qemu-system-x86_64');
for my $name (qw(one two)) {
	vmconf_does('create', $name, quick('--set', "emulator=$work/bin/qemu-system-x86_64"));
	vmconf_does('start', $name);
}
vmconf_does('create', 'down', quick());
my $before = { map { $_ => JSON::PP::decode_json(vmconf_does('status', $_, '--json')) } qw(one two) };
sub is_same {
	my ($name) = @_;
	my $now = JSON::PP::decode_json(vmconf_does('status', $name, '--json'));
	is("$now->{pid} $now->{supervisor} $now->{state}", "$before->{$name}{pid} $before->{$name}{supervisor} $before->{$name}{state}",
		"$name goes on, with the same supervisor");
	return $now;
}

is(vmconf_does('upgrade'), join('', map { "$_: supervisor $before->{$_}{supervisor} runs the program that is installed\n" } qw(one two)),
	'nothing to do');
is_deeply($before->{one}{outdated}, [], 'nothing is outdated');

# ---- a new program ----
replace_supervisor();
is_deeply(is_same('one')->{outdated}, ['supervisor'], 'status tells of the old one');
like(vmconf_does('status', 'one'), qr/^outdated +the supervisor: vmconf upgrade one$/m, 'and what to do');
sub doctor_counts { return ((vmconf('doctor'))[1] =~ /^\w+ +vms +(.*)$/m)[0] }
is(doctor_counts(), '3 defined, 0 wrong; 2 up, 2 with an old supervisor, 0 with an old QEMU', 'doctor counts them');
is(vmconf_does('upgrade', 'one'), "one: supervisor $before->{one}{supervisor} runs the new program\n", 'one of them');
is_deeply(is_same('one')->{outdated}, [], 'it runs the new one');
is_deeply(is_same('two')->{outdated}, ['supervisor'], 'the other does not');
like(vmconf_does('upgrade'), qr/^one: .* is installed\ntwo: .* the new program\n\z/, 'all of them');
is_same('two');

# ---- one that does not do ----
spew("$work/bin/new", "#!/bin/sh\nexit 1\n");
chmod(0755, "$work/bin/new");
rename("$work/bin/new", "$work/bin/qemu-supervise") or die;
SKIP: {
	skip('the wait for one that never comes is for make soak', 2) if !$ENV{T_SOAK};
	my ($status, undef, $err) = vmconf('upgrade', 'one');
	is($status, 1, 'a new program that does not start');
	like($err, qr/^vmconf: one: supervisor \d+ still runs the old program: its log \("vmconf log"\) says why$/m, 'is told of');
}

# One that does not say whether it will do, while the old one ends.
spew("$work/bin/new", "#!/bin/sh\necho \$\$ >$work/tried\nexec sleep infinity\n");
chmod(0755, "$work/bin/new");
rename("$work/bin/new", "$work/bin/qemu-supervise") or die;
my $upgrading = fork // die "fork: $!";
if ($upgrading == 0) {
	open(STDERR, '>', "$work/upgrading");
	exec($ENV{T_VMCONF} || "$top/vmconf", 'upgrade', 'two') or POSIX::_exit(127);
}
wait_until('a try', sub { slurp("$work/tried") =~ /\n/ });
kill('KILL', $before->{two}{supervisor});
waitpid($upgrading, 0);
my $upgraded = $?;
kill('KILL', slurp("$work/tried") =~ s{\n}{}r);
is($upgraded, 0, 'a supervisor that ends meanwhile is no failure');
is(slurp("$work/upgrading"), "vmconf: two: supervisor $before->{two}{supervisor} has ended\n", 'but told of');
replace_supervisor();
vmconf_does('start', 'two');
$before->{two} = JSON::PP::decode_json(vmconf_does('status', 'two', '--json'));
is($before->{two}{state}, 'running', 'another one takes it over');

unlink("$work/bin/qemu-supervise");
vmconf_fails(1, qr/^vmconf: one: supervisor \d+ still runs the old program: no other is installed in its place$/m, 'upgrade', 'one');
replace_supervisor();
vmconf_does('upgrade');
is_same($_) for qw(one two);

# ---- QEMU ----
replace($qemu, 'qemu-system-x86_64');
my ($status, $out, $err) = vmconf('upgrade', 'one');
is($status, 0, 'a new QEMU is no failure');
like($err, qr/^vmconf: one: its QEMU, pid $before->{one}{pid}, is older than the one installed, and stays until the VM is started again$/m, 'but told of');
is_deeply(is_same('one')->{outdated}, ['qemu'], 'in status, too');
is(doctor_counts(), '3 defined, 0 wrong; 2 up, 0 with an old supervisor, 2 with an old QEMU', 'doctor counts them, too');
like(vmconf_does('status', 'one'), qr/^outdated +QEMU, until the VM is started again$/m, 'in words');

vmconf_fails(1, qr/^vmconf: there is no VM nobody/m, 'upgrade', 'nobody');
vmconf_does('stop', '--all');
is(vmconf_does('upgrade'), '', 'VMs that are down have nothing to upgrade');
done_testing;
