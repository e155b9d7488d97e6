#!/usr/bin/perl
# What systemd-analyze verify says of each unit that we install or show, with the systemd at hand: nothing.
use strict;
use warnings;
use File::Path qw(make_path);
use FindBin;
use lib $FindBin::Bin;
use T;

need(qw(systemd-analyze systemctl unshare make));
need_that('the test runs as root', sub { $> == 0 });
need_that('the programs are built', sub { -x "$top/qemu-supervise" && -x "$top/vmconf" });

delete local @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
my ($status, undef, $err) = run_command('make', '-C', $top, '-o', 'all', 'install', "DESTDIR=$work/installed");
is($status, 0, 'make install') or diag($err);
make_path("$work/home");
my $units = "$work/installed/usr/local/lib/systemd";

# Where our files are those of /usr/local: the programs that units name must be there.
sub is_fine {
	my ($what, @words) = @_;
	my ($status, $out, $err) = run_command('unshare', '--mount', 'sh', '-ec', 'mount --bind "$1" /usr/local; shift; exec "$@"', 'sh',
		"$work/installed/usr/local", 'env', "HOME=$work/home", "XDG_RUNTIME_DIR=$work/home", 'systemd-analyze', 'verify', '--man=no', @words);
	is("$status$out$err", '0', $what);
}

# Of a template, what it is for one VM. The path is that under /usr/local.
sub names { return map { s{\Q$work/installed\E}{}r =~ s/@\./\@web./r } glob "$units/$_[0]/*.service" }

is(scalar(my @system = names('system')), 4 + (-x "$top/vmconf-amqp" ? 1 : 0), 'units of the host');
is(scalar(my @user = names('user')), 3, 'units of a person');
is_fine($_, $_) for @system;
is_fine($_, '--user', $_) for @user;
is_fine('examples/web.service', "$top/examples/web.service");
done_testing;
