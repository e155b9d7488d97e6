#!/usr/bin/perl
# make install puts everything where PREFIX and DESTDIR say, and make uninstall takes it all away again.
use strict;
use warnings;
use File::Find;
use FindBin;
use lib $FindBin::Bin;
use T;

need('make');
need_that('the programs are built', sub { -x "$top/qemu-supervise" && -x "$top/vmconf" });

sub files {
	my ($dir) = @_;
	my @files;
	find(sub { push @files, substr($File::Find::name, length $dir) if -f }, $dir);
	return sort @files;
}

# What this make has from the one that runs the tests is not for it.
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
my @anywhere = ('make', '-C', $top, '-o', 'all', '--no-print-directory', 'RESTART_PAUSE=');
my @make = (@anywhere, "DESTDIR=$work/root", 'PREFIX=/opt/qs');
my ($status, $said, $errors) = run_command(@make, 'install');
is($status, 0, 'make install') or diag($errors);
unlike($said, qr/Next/, 'nothing is to be done next where it is for another host');
is_deeply([sort split /\n/, $said], [sort split /\n/, (run_command(@make, 'installed'))[1]], 'make installed tells where files are');
my @amqp = -x "$top/vmconf-amqp" ? qw(bin/vmconf-amqp lib/systemd/system/vmconf-amqp.service) : ();	# where librabbitmq is
is_deeply([files("$work/root")], [sort map { "/opt/qs/$_" } @amqp, qw(
	bin/qemu-supervise
	bin/vmconf
	etc/needrestart/conf.d/qemu-supervise.conf
	lib/ocf/resource.d/qemu-supervise/qemu-supervise
	lib/systemd/system/qemu-supervise-boot.service
	lib/systemd/system/qemu-supervise-guests.service
	lib/systemd/system/qemu-supervise-limits.service
	lib/systemd/system/qemu-supervise@.service
	lib/systemd/user/qemu-supervise-guests.service
	lib/systemd/user/qemu-supervise-limits.service
	lib/systemd/user/qemu-supervise@.service
	lib/tmpfiles.d/qemu-supervise.conf
	lib/sysusers.d/qemu-supervise.conf
	libexec/qemu-supervise/examples/openrc/qemu-supervise
	libexec/qemu-supervise/examples/runit/control/k
	libexec/qemu-supervise/examples/runit/control/t
	libexec/qemu-supervise/examples/runit/finish
	libexec/qemu-supervise/examples/runit/log/run
	libexec/qemu-supervise/examples/runit/run
	libexec/qemu-supervise/examples/s6-rc/define
	libexec/qemu-supervise/examples/s6/finish
	libexec/qemu-supervise/examples/s6/log/run
	libexec/qemu-supervise/examples/s6/notification-fd
	libexec/qemu-supervise/examples/s6/run
	libexec/qemu-supervise/examples/s6/timeout-kill
	libexec/qemu-supervise/import/libvirt libexec/qemu-supervise/import/libvirtdevices.py libexec/qemu-supervise/import/libvirtxml.py
	libexec/qemu-supervise/init/attend
	libexec/qemu-supervise/init/none
	libexec/qemu-supervise/init/openrc
	libexec/qemu-supervise/init/runit
	libexec/qemu-supervise/init/s6
	libexec/qemu-supervise/init/services
	libexec/qemu-supervise/init/systemd
	libexec/qemu-supervise/keep-vms
	share/bash-completion/completions/qemu-supervise
	share/bash-completion/completions/vmconf
	share/doc/qemu-supervise/NEWS.md
	share/doc/qemu-supervise/README.md
	share/doc/qemu-supervise/first-vm.md
	share/doc/qemu-supervise/cluster.md
	share/doc/qemu-supervise/laptop.md
	share/doc/qemu-supervise/moving.md
	share/doc/qemu-supervise/systemd.md
	share/doc/qemu-supervise/ups.md
	share/doc/qemu-supervise/examples/web.service
	share/doc/qemu-supervise/examples/container/Containerfile
	share/doc/qemu-supervise/examples/container/compose.yaml
	share/doc/qemu-supervise/examples/container/pod.yaml
	share/doc/qemu-supervise/examples/container/statefulset.yaml
	share/doc/qemu-supervise/examples/container/vm
	share/doc/qemu-supervise/examples/daemontools/log/run
	share/doc/qemu-supervise/examples/daemontools/run
	share/doc/qemu-supervise/examples/monit/again
	share/doc/qemu-supervise/examples/monit/vm-web
	share/doc/qemu-supervise/examples/nomad/client.hcl
	share/doc/qemu-supervise/examples/nomad/vm.nomad.hcl
	share/doc/qemu-supervise/examples/prometheus/qemu-supervise-metrics.service
	share/doc/qemu-supervise/examples/prometheus/qemu-supervise-metrics.timer
	share/doc/qemu-supervise/examples/rpc/on-hosts
	share/doc/qemu-supervise/examples/runit/rc.shutdown
	share/doc/qemu-supervise/examples/sandbox.conf
	share/doc/qemu-supervise/examples/supervisord/vm-web.conf
	share/doc/qemu-supervise/examples/systemd/needs-db.conf
	share/doc/qemu-supervise/examples/systemd/other-user.conf
	share/doc/qemu-supervise/examples/systemd/placement.conf
	share/doc/qemu-supervise/examples/systemd/shares.conf
	share/doc/qemu-supervise/examples/systemd/slower-stop.conf
	share/doc/qemu-supervise/examples/systemd/user/sandbox.conf
	share/doc/qemu-supervise/examples/systemd/user@.service.d-vms.conf
	share/doc/qemu-supervise/examples/sysvinit/qemu-supervise
	share/doc/qemu-supervise/examples/ups/apcupsd.doshutdown
	share/doc/qemu-supervise/examples/ups/apcupsd.offbattery
	share/doc/qemu-supervise/examples/ups/apcupsd.onbattery
	share/doc/qemu-supervise/examples/ups/rehearse.conf
	share/doc/qemu-supervise/examples/ups/ups-vms
	share/doc/qemu-supervise/examples/ups/upsmon.conf
	share/doc/qemu-supervise/examples/ups/upssched.conf
	share/doc/qemu-supervise/examples/vm/aarch64.json
	share/doc/qemu-supervise/examples/vm/bridge.json
	share/doc/qemu-supervise/examples/vm/bsd.json
	share/doc/qemu-supervise/examples/vm/kernel.json
	share/doc/qemu-supervise/examples/vm/private-a.json
	share/doc/qemu-supervise/examples/vm/private-b.json
	share/doc/qemu-supervise/examples/vm/two-disks.json
	share/doc/qemu-supervise/examples/vm/uefi.json
	share/doc/qemu-supervise/examples/vm/vde.json
	share/doc/qemu-supervise/examples/vm/windows.json
	share/fish/vendor_completions.d/qemu-supervise.fish
	share/fish/vendor_completions.d/vmconf.fish
	share/doc/qemu-supervise/troubleshooting.md
	share/man/man5/vmconf.5
	share/man/man7/qemu-supervise-init.7
	share/man/man7/qemu-supervise-security.7
	share/man/man7/qemu-supervise.7
	share/man/man7/vmconf-rpc.7
	share/man/man8/qemu-supervise.8
	share/man/man8/vmconf-amqp.8
	share/man/man8/vmconf.8
	share/qemu-supervise/rpc.schema.json
	share/qemu-supervise/vm.schema.json
	share/zsh/site-functions/_vmconf
)], 'every file, and no other');
for my $program (qw(bin/qemu-supervise bin/vmconf libexec/qemu-supervise/init/none libexec/qemu-supervise/init/systemd)) {
	ok(-x "$work/root/opt/qs/$program", "$program can be executed");
}
is((run_command('sh', '-c', 'grep -rlE "^Exec[A-Za-z]*=(qemu-supervise|vmconf)" "$1"', 'sh', "$work/root/opt/qs/lib"))[1], '',
	'units name programs where systemd does not look by their paths');
like(slurp("$work/root/opt/qs/lib/systemd/system/qemu-supervise\@.service"), qr{^ExecStart=/opt/qs/bin/qemu-supervise %i$}m, 'so does this one');
my ($ran, $version) = run_command("$work/root/opt/qs/bin/vmconf", '--version');
{
	local $ENV{QEMU_SUPERVISE_INIT} = 'none';
	T::define('web', {});
	is((run_command("$work/root/opt/qs/bin/vmconf", 'log', 'web'))[0], 0, 'and finds its adapter, for whatever PREFIX it was built');
}
my $define = "$work/root/opt/qs/libexec/qemu-supervise/examples/s6-rc/define";
is((run_command($define, 'web', "$work/s6-rc"))[0], 0, 'a definition for s6-rc is made of the service for s6');
is_deeply([files("$work/s6-rc")], [map { "/vm-web/$_" } qw(finish notification-fd run timeout-kill type)], 'every file of a longrun');
is(slurp("$work/s6-rc/vm-web/type"), "longrun\n", 'which it says');
is((run_command($define, 'web', "$work/s6-rc"))[0], 1, 'one that is there is left alone');
like($version, qr/^vmconf \d/, 'what was installed runs');
my ($number) = slurp("$top/Makefile") =~ /^VERSION = (.*)$/m;
is($version, "vmconf $number\n", 'with the version of the Makefile');
for my $page (glob "$work/root/opt/qs/share/man/man*/*") {
	my $text = slurp($page);
	like($text, qr/^\.Os "qemu-supervise \Q$number\E"$/m, "$page has it, too");
	unlike($text, qr{/usr/local/share/doc}, 'and names documents where they are');
}
my %pages = map { $_ => slurp("$work/root/opt/qs/share/doc/qemu-supervise/$_.md") } qw(cluster first-vm laptop moving systemd ups);
for my $page (sort keys %pages) {
	my @examples = $pages{$page} =~ m{(?<![\w/])examples/[-\w@./]+\w}g;
	is_deeply([grep { !(my @there = glob "$work/root/opt/qs/share/doc/qemu-supervise/$_*") } @examples], [], "$page.md: its examples are beside it");
}
like($pages{ups}, qr{^    # cd /opt/qs/share/doc/qemu-supervise$}m, 'a page says where that is');
is((run_command('grep', '-rnE', '/usr/local/(share/|lib/systemd/|(bin|libexec)/qemu-supervise)', map { "$work/root/opt/qs/$_" } qw(share/man share/doc lib libexec)))[1],
	'', 'nothing names what is ours where it is not');
like(slurp("$work/root/opt/qs/share/doc/qemu-supervise/examples/web.service"), qr{^ExecStart=/opt/qs/bin/qemu-supervise }m, 'so the example of a unit starts');
spew("$work/root/opt/qs/bin/theirs", '');
is((run_command(@make, 'uninstall'))[0], 0, 'make uninstall');
is_deeply([files("$work/root")], ['/opt/qs/bin/theirs'], 'takes away what is ours');
ok(!-e "$work/root/opt/qs/$_", "and our directory $_") for qw(share/qemu-supervise share/doc/qemu-supervise libexec/qemu-supervise);

# ---- what 0.1.0 has left ----
mkdir "$work/root/opt/qs/sbin";
spew("$work/root/opt/qs/sbin/$_", 'old') for qw(qemu-supervise vmconf theirs);
run_command(@make, 'install');
is(readlink("$work/root/opt/qs/sbin/$_"), "/opt/qs/bin/$_", "sbin/$_ of an earlier version leads to the new one") for qw(qemu-supervise vmconf);
is((run_command(@make, 'install'))[0], 0, 'again');
run_command(@make, 'uninstall');
is_deeply([files("$work/root")], ['/opt/qs/bin/theirs', '/opt/qs/sbin/theirs'], 'and goes with it');
unlink("$work/root/opt/qs/sbin/theirs");
rmdir("$work/root/opt/qs/sbin");
symlink('bin', "$work/root/opt/qs/sbin") or die;
run_command(@make, 'install');
ok(-f "$work/root/opt/qs/bin/vmconf" && !-l "$work/root/opt/qs/bin/vmconf", 'where sbin is bin, a program does not lead to itself');
run_command(@make, 'uninstall');
unlink("$work/root/opt/qs/sbin");

my $pause = '/opt/qs/lib/systemd/system/qemu-supervise@.service.d/restart-pause.conf';
run_command(@make, 'install', 'RESTART_PAUSE=yes');
ok(-e "$work/root$pause", 'where systemd lets the pause between two starts grow, it does');
run_command(@make, 'uninstall', 'RESTART_PAUSE=yes');
is_deeply([files("$work/root")], ['/opt/qs/bin/theirs'], 'and that is ours, too');

# ---- of a host, and of one person ----
my @parts = map { [split /\n/, (run_command(@anywhere, 'installed', 'PREFIX=/usr', "PART=$_"))[1]] } qw(main host amqp pacemaker);
is(scalar(grep { @$_ == 0 } @parts), 0, 'no part is empty');
my %in;
$in{$_}++ for map { @$_ } @parts;
is_deeply([grep { $in{$_} > 1 } keys %in], [], 'and no file is in two of them');
is_deeply([sort keys %in], [sort split /\n/, (run_command(@anywhere, 'installed', 'PREFIX=/usr'))[1]], 'all parts are all');
is_deeply([grep { !m{^/(usr|etc/needrestart)/} } keys %in], [], 'PREFIX=/usr: in /usr, but for a configuration file');

is_deeply([sort split /\n/, (run_command('env', '-u', 'HOME', @anywhere, 'installed', 'PREFIX=/usr'))[1]], [sort keys %in], 'also by nobody at home');

mkdir($ENV{HOME} = "$work/home");
my @home = (@anywhere, 'PREFIX=~/.local');
($status, $said) = run_command(@home, 'install');
is($status, 0, "a person's own prefix");
like($said, qr{^Next: "make upgrade PREFIX=\Q$work\E/home/\.local" }m, 'who is told what is next');
my @theirs = files("$work/home/.local");
is_deeply([grep { m{/systemd/system/|needrestart|/ocf/|tmpfiles|sysusers} } @theirs], [], 'without what is for a host');
ok((grep { $_ eq '/share/systemd/user/qemu-supervise@.service' } @theirs), 'with the unit where systemd looks for it')
	or diag(join "\n", @theirs);
like(slurp("$work/home/.local/share/systemd/user/qemu-supervise\@.service"), qr{^ExecStart=\Q$work\E/home/\.local/bin/qemu-supervise %i$}m,
	'which names the program by its path');
is((run_command(@home, 'upgrade'))[0], 0, 'make upgrade');
is((run_command(@home, 'uninstall'))[0], 0, 'make uninstall');
is_deeply([files("$work/home/.local")], [], 'leaves nothing there');

done_testing;
