#!/usr/bin/perl
# A TPM and shares in a VM of somebody who is not root: virtiofsd in Rust can, that of QEMU 7.2 cannot, which is said. Root runs
# this as another user.
use strict;
use warnings;
use FindBin;
use JSON::PP;
use lib $FindBin::Bin;

BEGIN {
	if ($> == 0 && !$^C) {
		system("$FindBin::Bin/guest", $ENV{T_GUEST} || "$FindBin::Bin/../build/guest") == 0 or die "t/guest failed\n";
		delete @ENV{qw(HOME XDG_RUNTIME_DIR)};
		exec('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all', $^X, $0)
			or die "setpriv is not installed\n";
	}
}

use T;

need('qemu-system-x86_64', 'swtpm');
my ($virtiofsd) = grep { -x } '/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd';
need_that('virtiofsd is installed', sub { $virtiofsd });
my $rust = `$virtiofsd --help 2>&1` =~ /--shared-dir/;

sub guest {
	my ($append, %keys) = @_;
	my $console = "$work/guest-console.$append" =~ s/ /-/gr;
	my $definition = T::guest_definition('normal', disk => make_disk(), console => $console, append => $append);
	$definition->{initrd} =~ s/-agent$//;
	delete $definition->{agent};
	my $s = supervise(definition => { %$definition, %keys });
	$s->{console} = $console;
	return $s;
}

sub lives { return slurp("/proc/$_[0]/stat") =~ /^\d+ \(.*\) [^ZX]/s }

mkdir("$work/share");
mkdir("$work/read-only");
spew("$work/read-only/log", "from the host\n");
my @share = ({ path => "$work/share", tag => 'data' });

if (!$rust) {
	my $s = guest('share=data', shares => \@share);
	is($s->end, 78, 'QEMU\'s own virtiofsd: the VM is not started') or diag($s->log);
	my $why = qr/shares\[0\]: \Q$virtiofsd\E is QEMU's own, which only root can run; the package virtiofsd of Debian 13 has one for users/;
	like($s->log, $why, 'and why');
	vmconf_fails(78, $why, 'check', $s->{name});
}

my $s = guest('tpm=yes' . ($rust ? ' share=data' : ''), tpm => JSON::PP::true, $rust ? (shares => \@share) : ());
$s->wait_console(qr/guest: listening/);
like($s->console, qr/^guest: tpm [0-9a-f]{184}\r?$/m, 'a TPM');
my @helpers = @{ decode_json(slurp($s->dir . '/helpers.json'))->{helpers} };
is_deeply([map { $_->{name} } @helpers], ['tpm', $rust ? 'share data' : ()], 'the programs');
is((slurp("/proc/$_->{pid}/status") =~ /^NoNewPrivs:\s+(\d)/m)[0], 1, "$_->{name}: confined") for @helpers;
my $next = $s->taken_over;
if ($rust) {
	like($s->console, qr/guest: sharing/, 'the guest writes to the share');
	my $before = -s "$work/share/log";
	wait_until('more in the share', sub { -s "$work/share/log" > $before });
}
$next->signal('TERM');
$next->ends_with(0, qr/ended: the guest powered itself off/);
is_deeply([grep { lives($_->{pid}) } @helpers], [], 'they have ended with it');

if ($rust) {
	my ($last) = $s->console =~ /^guest: shared (\d+)/m;
	is(slurp("$work/share/log"), join('', map { "$_\n" } 0 .. ($last // -1)), 'the share is complete, up to the last line of the guest');
	is((stat("$work/share/log"))[4], $>, 'the file is ours');
	$s = guest('share=data', shares => [{ path => "$work/read-only", tag => 'data', 'read-only' => JSON::PP::true }]);
	$s->wait_console(qr/guest: listening/);
	like($s->console, qr/guest: share refuses/, 'the guest cannot write to one that is read-only');
	$s->signal('TERM');
	is($s->end, 0, 'off');
	is(slurp("$work/read-only/log"), "from the host\n", 'and has not');
}

done_testing;
