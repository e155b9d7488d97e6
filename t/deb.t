#!/usr/bin/perl
# Debian's packages: what they hold, and what becomes of a VM that runs while they are installed, upgraded, downgraded, removed and
# purged on a host with systemd.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Nspawn;
use T;

Nspawn::need_host();
need(qw(dpkg-buildpackage dh lintian faketime));

my ($version) = slurp("$top/Makefile") =~ /^VERSION = (.*)$/m;
my $next = "$version.1";

# Builds them in a directory of the test's. Returns their paths, less what is for debuggers.
sub build {
	my ($dir, $version, @env) = @_;
	my ($status, $out, $err) = run_command('env', 'DEB_BUILD_OPTIONS=nocheck', @env, "$top/packaging/deb", $version, "$work/$dir");
	die "in $dir nothing was built:\n$out$err" if $status != 0;
	return grep { !/-dbgsym_/ } glob "$work/$dir/*.deb";
}

sub name_of { return $_[0] =~ m{([^/_]*)_[^/]*$} ? $1 : '' }

# ---- what they are ----
my %deb = map { name_of($_) => $_ } build('srv/this', $version);
is_deeply([sort keys %deb], [qw(qemu-supervise qemu-supervise-amqp qemu-supervise-pacemaker)], 'the packages');
is((run_command('sh', '-c', 'lintian --allow-root --pedantic "$@" 2>&1', 'sh', glob "$work/srv/this/*.changes"))[1], '', 'lintian has nothing to say');
my %again = map { name_of($_) => $_ } build('another/directory/with-a-longer-name', $version, 'TZ=Asia/Tokyo', 'LC_ALL=C.UTF-8',
	'faketime', '+400 days');
for my $name (sort keys %deb) {
	is((run_command('cmp', $deb{$name}, $again{$name}))[0], 0, "$name: the same bytes in another directory and another year");
}

# The files of a package, less what Debian's tools add to each.
sub files_in {
	my ($deb) = @_;
	return sort map { s/^\.//r =~ s{(/(?:doc|man)/.*)\.gz$}{$1}r } grep { !m{/$|/changelog|/copyright$|lintian/overrides/} }
		map { (split)[5] } split /\n/, (run_command('dpkg-deb', '-c', $deb))[1];
}

sub installed {
	my ($parts) = @_;
	my $pause = (run_command('pkg-config', '--atleast-version=254', 'systemd'))[0] == 0 ? 'yes' : '';
	delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
	my ($status, $out) = run_command('make', '-C', $top, '--no-print-directory', 'installed', 'PREFIX=/usr', 'ZSHDIR=/usr/share/zsh/vendor-completions', "RESTART_PAUSE=$pause", "PART=$parts");
	return sort split /\n/, $out;
}

my %parts = ('qemu-supervise' => 'main host', 'qemu-supervise-amqp' => 'amqp', 'qemu-supervise-pacemaker' => 'pacemaker');
is_deeply([files_in($deb{$_})], [installed($parts{$_})], "$_ has what make install has of it") for sort keys %parts;

# ---- a host, and a VM ----
my ($new) = grep { name_of($_) eq 'qemu-supervise' } build('srv/next', $next, 'DEB_BUILD_OPTIONS=nocheck noopt');
my ($there, $newer) = map { s{^\Q$work\E}{}r } $deb{'qemu-supervise'}, $new;
my (undef, $depends) = run_command('dpkg-deb', '-f', $deb{'qemu-supervise'}, 'Depends');
my $h = Nspawn->with_packages("$top/build/deb-host", [$top], qw(qemu-system-x86 qemu-utils perl e2fsprogs), map { /([^\s(]+)/ ? $1 : () } split /,/, $depends);
$h->vm('web', 'normal');
$h->vm('mail', 'normal');
$h->boot;
like($h->ok_does('dpkg', '-i', $there), qr/Setting up qemu-supervise/, 'on a host without QEMU running nothing is said');
ok(-d "$work/state/images", 'there is a directory for images');
$h->ok_does('vmconf', 'create', 'down', '--disk', '16M');
my ($disk) = glob "$work/state/down/*.qcow2";
ok($disk, 'a VM that is down has a disk');
$h->ok_does('vmconf', 'enable', 'web');
$h->ok_does('vmconf', 'start', 'web', 'mail');
$h->ok_does('sh', '-c', 'qemu-supervise -n shop -- qemu-system-x86_64 -display none -m 64 -S 2>/srv/shop.log &');
wait_until('shop running', sub { slurp("$work/srv/shop.log") =~ /QEMU runs/ });
my $qemu = $h->qemu('web');
my $supervisor = $h->unit('web', 'MainPID');

sub dpkg { return $h->ok_does('sh', '-c', 'dpkg "$@" 2>&1', 'sh', @_) }

# That web runs as it did, under a supervisor with this program.
sub goes_on {
	my ($version, $when) = @_;
	is($h->qemu('web'), $qemu, "the same QEMU $when");
	is($h->unit('web', 'MainPID'), $supervisor, 'the same supervisor');
	is(scalar(() = $h->console('web') =~ /guest: up/g), 1, 'and no guest has booted again');
	is($h->ok_does('readlink', "/proc/$supervisor/exe"), "/usr/bin/qemu-supervise\n", "under the program that is there $when");
	is($h->ok_does('qemu-supervise', '--version'), "qemu-supervise $version\n", "which is $version");
	is($h->unit('web', 'ActiveState'), 'active', 'says systemd');
}

# ---- what autopkgtest would do ----
$h->ok_does('sh', '-c', 'cd "$1" && T_GUEST=/guest packaging/debian/tests/boot', 'sh', $top);

# ---- upgrade, downgrade ----
my $said = dpkg('-i', $newer);
like($said, qr/^web: supervisor $supervisor runs the new program$/m, 'an upgrade tells of the VM');
like($said, qr/^qemu-supervise: pid \d+ still runs the old program: qemu-supervise -n shop .*; kill -USR2 \d+/m, 'and of one that has no definition');
goes_on($next, 'after an upgrade');
like(dpkg('-i', $there), qr/^web: supervisor $supervisor runs the new program$/m, 'a downgrade');
goes_on($version, 'after a downgrade');

# ---- removal ----
$said = dpkg('-r', 'qemu-supervise');
like($said, qr/^qemu-supervise: still running: pid $supervisor: .*qemu-supervise web *$/m, 'a removal names VMs that run');
my ($shop) = $said =~ /^qemu-supervise: still running: pid (\d+): .*qemu-supervise -n shop /m;
ok($shop, 'this one, too') or diag($said);
is($h->unit('web', 'KillMode') . ', ' . $h->unit('web', 'TimeoutStopUSec'), 'process, infinity', 'systemd kills none of them');
is($h->qemu('web'), $qemu, 'they go on');
$h->ok_does('systemctl', 'stop', 'qemu-supervise@mail');
is($h->end_of('mail')->{status}, 0, 'one is stopped as before');
$h->is_clean('mail', 'without the package');
dpkg('-i', $newer);
goes_on($next, 'when the package is there again');
ok(($h->does('test', '-e', '/run/systemd/system/qemu-supervise@.service'))[0] != 0, 'with its own unit');
$h->ok_does('vmconf', 'stop', 'web');
$h->is_clean('web', 'at the end');

# ---- purge ----
dpkg('-P', 'qemu-supervise');
ok(-s $disk, 'a purge leaves disks');
ok(-e "$work/config/$_.json", "and the definition of $_") for qw(web down);
is_deeply([glob "$work/units/*.wants/*"], [], 'but no link that leads nowhere');
$h->ok_does('kill', '-TERM', $shop);
wait_until('the end of shop', sub { slurp("$work/srv/shop.log") =~ /: ended:/ });
$h->poweroff;
done_testing;
