#!/usr/bin/perl
# vmconf doctor: what a host has and lacks, each with what to do, and nothing private in it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use POSIX ();
use Sys::Hostname qw(hostname);
use T;

need('qemu-system-x86_64', 'qemu-img', 'unshare');

# The rows as JSON, by name. prefix: what runs it in another host.
sub doctor {
	my (%o) = @_;
	my ($status, $out, $err) = run_command(@{ $o{prefix} || [] }, "$top/vmconf", 'doctor', '--json');
	is($err, '', 'nothing on standard error');
	my $rows = JSON::PP::decode_json($out)->{rows};
	is($status, (grep { $_->{verdict} eq 'wrong' } @$rows) ? 78 : 0, 'the status tells whether anything is wrong');
	return { map { $_->{what} => $_ } @$rows };
}

my $rows = doctor();
my ($status, $text) = vmconf('doctor');
my ($section) = slurp("$top/man/vmconf.8") =~ /^\.Sh DOCTOR\n(.*?)^\.Sh /ms;
my @in_page = map { split / , / } $section =~ /^\.It ([-a-z, ]+)$/mg;
is_deeply([$text =~ /^(?:ok|lacks|wrong) +(\S+) /mg], \@in_page, 'the rows are those of the page, in its order');
is_deeply([sort keys %$rows], [sort @in_page], 'those of --json, too');
for my $what (@in_page) {
	my ($row, $found) = ($rows->{$what}, quotemeta $rows->{$what}{found});
	my $advice = $row->{advice} ? '\n +-> ' . quotemeta($row->{advice}) : '(?!\n +->)';
	like($text, qr/^$row->{verdict} +\Q$what\E +$found$advice$/m, "$what: the same in both");
	ok($row->{verdict} eq 'ok' || $row->{advice}, "$what: what to do about what is not well");
	ok($row->{found} =~ /\S/, "$what: something was found");
}
like($rows->{qemu}{found}, qr/^for x86_64, version \d+\.\d+/, 'the version of QEMU') if (POSIX::uname())[4] eq 'x86_64';
my ($version) = vmconf_does('--version') =~ /^vmconf (\S+)$/;
is($rows->{version}{found}, $version, 'our own');

# ---- private things ----
$ENV{HOME} = "$work/home-of-somebody";
vmconf_does('create', 'secretvm', quick('--set', 'description=private'));
vmconf_does('start', 'secretvm');
$rows = doctor();
like($rows->{vms}{found}, qr/^1 defined, 0 wrong; 1 up, /, 'a VM is counted');
(undef, $text) = vmconf('doctor');
for my $private ('secretvm', 'private', $work, hostname(), $ENV{HOME}, grep { length && $_ ne 'root' } (getpwuid($>))[0]) {
	unlike($text, qr/(?<![-\w])\Q$private\E(?![-\w])/, 'nothing private: ' . length $private);
}
vmconf_does('delete', 'secretvm', '--kill');
T::define('bad', { memroy => 1 });
$rows = doctor();
is("$rows->{vms}{verdict}: $rows->{vms}{advice}", 'wrong: vmconf check', 'a definition that is wrong');
unlink("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/bad.json");

# ---- what is missing ----
{
	local $ENV{PATH} = "$work/empty";
	$rows = doctor();
	is($rows->{$_}{verdict}, 'wrong', "no $_") for qw(qemu qemu-img sandbox);
	is($rows->{$_}{verdict}, 'lacks', "no $_") for qw(ssh swtpm);
}
{
	delete local @ENV{qw(QEMU_SUPERVISE_RUNTIME_DIR XDG_RUNTIME_DIR)};
	$rows = doctor();
	is($rows->{directories}{verdict}, $> == 0 ? 'ok' : 'wrong', 'only root has a runtime directory of its own');
}
chmod(0777, $ENV{QEMU_SUPERVISE_CONFIG_DIR});
is(doctor()->{directories}{found}, 'others may write to them', 'a directory of definitions that anybody may write to');
chmod(0755, $ENV{QEMU_SUPERVISE_CONFIG_DIR});

# Another host: with another /dev/kvm.
SKIP: {
	skip('no mount namespace, or no /dev/kvm', 1) if !-e '/dev/kvm' || (run_command('unshare', '-r', '-m', 'true'))[0] != 0;
	my $seen = doctor(prefix => ['unshare', '-r', '-m', 'sh', '-c', 'mount --bind /dev/null /dev/kvm && exec "$@"', 'sh'])->{kvm};
	is($seen->{verdict}, 'wrong', 'a /dev/kvm that is none');
	like($seen->{found}, qr/^\/dev\/kvm opens, and runs no guest$/, 'is told');
	like($seen->{advice}, qr/"accel": "tcg"/, 'with the cure');
	$seen = doctor(prefix => ['unshare', '-r', '-m', 'sh', '-c', 'mount -t tmpfs none /dev && exec "$@"', 'sh'])->{kvm};
	is($seen->{verdict}, 'lacks', 'no /dev/kvm');
	like($seen->{found}, qr/^there is none/, 'is something else');
}

done_testing;
