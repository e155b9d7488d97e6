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

# Another host: all that it has is there to be seen, or is not.
SKIP: {
	my $may = 'mount -t cgroup2 none /sys/fs/cgroup && unshare -U --map-user 1000 true';
	skip('no namespaces, or no control groups of version 2 there', 1) if (run_command('unshare', '-r', '-m', '-C', 'sh', '-c', $may))[0] != 0;
	my $emulator = 'qemu-system-' . (POSIX::uname())[4];
	mkdir "$work/bin";
	spew("$work/bin/$emulator", <<"END");
#!/bin/sh
[ "\$1" = --version ] && exec echo "QEMU emulator version 6.2.0"
PATH="$ENV{PATH}" exec $emulator "\$@"
END
	chmod(0755, "$work/bin/$emulator");
	spew("$work/passwd", slurp('/etc/passwd') . "qemu-supervise:x:990:990::/:/bin/false\n");
	spew("$work/group", '');
	my $host = <<'END';
cd "$1"; shift; set -e
mount --bind passwd /etc/passwd
for dir in /usr/lib/qemu /usr/libexec /usr/local/libexec /usr/share/qemu /usr/local/share/qemu /etc/qemu; do
	[ ! -d $dir ] || mount -t tmpfs none $dir
done
mount -t cgroup2 none /sys/fs/cgroup
mount --bind group /sys/fs/cgroup/cgroup.procs
mount -t tmpfs none /sys/class/net
mkdir -p /sys/class/net/br0/bridge
END
	my $on = sub { doctor(prefix => ['unshare', '-r', '-m', '-C', 'sh', '-c', "$host$_[0]\n" . 'exec "$@"', 'sh', $work, @_[1 .. $#_]]) };
	my $says = sub {
		my ($rows, $what, $verdict, $found, $advice) = @_;
		is_deeply([@{ $rows->{$what} }{qw(verdict found)}, $rows->{$what}{advice} // ''], [$verdict, $found, $advice // ''], "$what: $found");
	};
	my $seen = $on->("PATH=$work/bin:\$PATH");
	my $arch = $emulator =~ s/.*-//r;
	$says->($seen, 'caller', 'ok', 'root');
	$says->($seen, 'cgroup', 'ok', 'version 2, delegated');
	$says->($seen, 'qemu', 'lacks', "for $arch, version 6.2.0", 'QEMU 7.2 and later is what is tested');
	$says->($seen, 'uefi', 'lacks', "none for this host's machines", 'needed for "firmware": "uefi" (Debian: ovmf, qemu-efi-aarch64)');
	$says->($seen, 'user', 'ok', 'there is a user qemu-supervise for QEMU');
	my $line = 'a line "allow BRIDGE" in /etc/qemu/bridge.conf';
	my $none = 'there is no /etc/qemu/bridge.conf';
	$says->($seen, 'bridges', 'ok', "1; qemu-bridge-helper is not installed, $none", "$line, and qemu-bridge-helper");
	$says->($on->('rmdir /sys/class/net/br0/bridge'), 'bridges', 'lacks', "0; qemu-bridge-helper is not installed, $none",
		'needed for nics of "type": "bridge" only; "user" works without');

	# And somebody who is not root.
	$seen = $on->('mount -o remount,bind,ro /sys/fs/cgroup/cgroup.procs; unset XDG_RUNTIME_DIR QEMU_SUPERVISE_RUNTIME_DIR
set -- unshare -U --map-user 1000 "$@"');
	$says->($seen, 'caller', 'ok', 'not root: VMs of this user, not those of the host');
	$says->($seen, 'cgroup', 'ok', 'version 2, not delegated to this user');
	$says->($seen, 'directories', 'wrong', 'there is none for what runs',
		'set XDG_RUNTIME_DIR, as a login session does (pam_systemd), or QEMU_SUPERVISE_RUNTIME_DIR');
	$says->($seen, 'bridges', 'ok', "1; qemu-bridge-helper is not installed, $none", "$line, and qemu-bridge-helper setuid root");
}

done_testing;
