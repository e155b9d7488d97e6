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
	return sort map { s/^\.//r =~ s{(/man/.*)\.gz$}{$1}r } grep { !m{/$|/changelog|/copyright$|lintian/overrides/} }
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
my %next = map { name_of($_) => $_ } build('srv/next', $next, 'DEB_BUILD_OPTIONS=nocheck noopt');
my ($there, $newer, $amqp, $newer_amqp) = map { s{^\Q$work\E}{}r } map { ($deb{$_}, $next{$_}) } qw(qemu-supervise qemu-supervise-amqp);
my %depends = map { $_ => 1 } map { /([^\s(]+)/ ? $1 : () } map { split /,/, (run_command('dpkg-deb', '-f', $deb{$_}, 'Depends'))[1] } qw(qemu-supervise qemu-supervise-amqp);
delete $depends{'qemu-supervise'};
my $h = Nspawn->with_packages("$top/build/deb-host", [$top], qw(qemu-system-x86 qemu-utils perl e2fsprogs), sort keys %depends);
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

# ---- a service that is there before it is configured ----
my $config = '/etc/qemu-supervise-amqp.json';

sub bridge {
	my (undef, $value) = $h->does('systemctl', 'show', '--value', "--property=$_[0]", 'vmconf-amqp.service');
	chomp $value;
	return $value;
}

sub wait_bridge {
	my ($property, $wanted) = @_;
	my $value = '';
	wait_until(sub { "$property: $wanted, and not $value\n" . $h->journal('-u', 'vmconf-amqp') }, sub { ($value = bridge($property)) =~ $wanted });
}

dpkg('-i', $amqp);
is(bridge('UnitFileState') . ' ' . bridge('ActiveState'), 'disabled inactive', 'vmconf-amqp is neither enabled nor started');
$h->ok_does('sh', '-c', 'echo "{\"urll\": 1}" >"$1" && systemctl start vmconf-amqp', 'sh', $config);
wait_bridge('ActiveState', qr/^failed$/);
is(bridge('ExecMainStatus') . ' ' . bridge('NRestarts'), '78 0', 'a wrong configuration ends it, once');
like($h->journal('-u', 'vmconf-amqp'), qr/\Q$config\E: there is no urll; did you mean "url"/, 'with the reason');
$h->ok_does('sh', '-c', 'echo "{\"url\": \"amqp://host1@127.0.0.1:1/\"}" >"$1" && systemctl enable --now vmconf-amqp', 'sh', $config);
wait_bridge('StatusText', qr/^no connection to the broker/);
is(bridge('ActiveState'), 'active', 'nothing waits for a broker that is down');
my $before = bridge('MainPID');

# ---- upgrade, downgrade ----
my $said = dpkg('-i', $newer, $newer_amqp);
like($said, qr/^web: supervisor $supervisor runs the new program$/m, 'an upgrade tells of the VM');
like($said, qr/^qemu-supervise: pid \d+ still runs the old program: qemu-supervise -n shop .*; kill -USR2 \d+/m, 'and of one that has no definition');
goes_on($next, 'after an upgrade');
wait_bridge('MainPID', qr/^(?!(?:0|$before)$)/);
is($h->ok_does('readlink', '/proc/' . bridge('MainPID') . '/exe'), "/usr/bin/vmconf-amqp\n", 'vmconf-amqp is the new program, too');
like(dpkg('-i', $there, $amqp), qr/^web: supervisor $supervisor runs the new program$/m, 'a downgrade');
goes_on($version, 'after a downgrade');

# ---- removal ----
$said = dpkg('-r', 'qemu-supervise-amqp', 'qemu-supervise');
is(bridge('ActiveState'), 'inactive', 'vmconf-amqp has ended');
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
dpkg('-P', 'qemu-supervise-amqp', 'qemu-supervise');
ok(!-e "$work/state/.amqp", 'a purge forgets requests');
ok(-s $disk, "and leaves disks");
ok(-e "$work/config/$_.json", "and the definition of $_") for qw(web down);
is_deeply([glob "$work/units/*.wants/*"], [], 'but no link that leads nowhere');
$h->ok_does('kill', '-TERM', $shop);
wait_until('the end of shop', sub { slurp("$work/srv/shop.log") =~ /: ended:/ });
$h->poweroff;
done_testing;
