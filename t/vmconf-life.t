#!/usr/bin/perl
# The whole life of a VM with a real guest: create, start, list, console, qmp, stop, set, start, clone, delete.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use POSIX ();
use T;

need('qemu-system-x86_64', 'qemu-img', 'mke2fs', 'dumpe2fs');
need_that("perl has IO::Pty", sub { eval { require IO::Pty } });

my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";

# vmconf in the background, on a terminal of its own or with its output in a file.
sub on_terminal {
	my (@words) = @_;
	my $pty = IO::Pty->new;
	my $c = { pty => $pty, screen => '', before => modes($pty) };
	$c->{pid} = fork // die "fork: $!";
	if ($c->{pid} == 0) {
		$pty->make_slave_controlling_terminal;
		open($_, '+<&', $pty->slave) or POSIX::_exit(126) for \*STDIN, \*STDOUT, \*STDERR;
		exec($vmconf, @words) or POSIX::_exit(127);
	}
	$pty->blocking(0);
	return $c;
}

sub into_file {
	my ($file, @words) = @_;
	my $pid = fork // die "fork: $!";
	return $pid if $pid;
	open(STDIN, '<', '/dev/null');
	open(STDOUT, '>', $file);
	exec($vmconf, @words) or POSIX::_exit(127);
}

sub see {
	my ($c, $what) = @_;
	return wait_until(sub { "the screen $what: $c->{screen}" }, sub {
		sysread($c->{pty}, $c->{screen}, 65536, length $c->{screen});
		$c->{screen} =~ $what;
	});
}

sub modes {
	my ($pty) = @_;
	my $termios = POSIX::Termios->new;
	$termios->getattr(fileno($pty->slave)) or die "tcgetattr: $!";
	return join ' ', $termios->getiflag, $termios->getoflag, $termios->getlflag;
}

# Waits for its end and returns the status.
sub end {
	my ($c) = @_;
	wait_until('its end', sub {
		sysread($c->{pty}, $c->{screen}, 65536, length $c->{screen});
		waitpid($c->{pid}, POSIX::WNOHANG()) == $c->{pid};
	});
	return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

# The guest's file system, through its overlay.
sub is_clean {
	my ($name) = @_;
	run_command('qemu-img', 'convert', '-O', 'raw', "$state/$name/root.qcow2", "$work/$name.raw");
	ok(disk_is_clean("$work/$name.raw"), "$name: file system clean");
}

# ---- create ----
my $guest = guest_files();
mkdir $_ for $state, "$state/images", "$state/web1";
make_disk("$state/images/guest.raw");
system('cp', "$guest/vmlinuz", "$guest/initrd", "$state/web1/") == 0 or die "cp failed\n";
vmconf_does('create', 'web1', '--image', 'guest', '--memory', '128M', '--nic', 'none', '--set', 'accel=tcg', '--set',
	'kernel=vmlinuz', '--set', 'initrd=initrd', '--set', 'ready=listening', '--set',
	'append=console=ttyS0 quiet panic=-1 cryptomgr.notests noreplace-smp nokaslr no_timer_check tsc=reliable guest=normal');
is(vmconf_does('check'), '', 'check says nothing');
like(vmconf_does('command', 'web1'), qr/^qemu-system-x86_64 .*\Q$state\E\/web1\/vmlinuz/, 'command tells what QEMU will be told');

# ---- start, console ----
my $start = into_file("$work/start", 'start', 'web1');
wait_until('its console', sub { -e "$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/web1/console" });
my $console = on_terminal('console', 'web1');
ok(see($console, qr/console of web1; Ctrl-\] leaves it/), 'the console says how to leave it');
ok(see($console, qr/guest: listening/), 'and shows the guest');
isnt(modes($console->{pty}), $console->{before}, 'the terminal is raw');
waitpid($start, 0);
is($? >> 8, 0, 'start waits until the guest is ready');
like(slurp("$work/start"), qr/^web1: running \(pid \d+, \d+\S*\)$/, 'and says so');
like(vmconf_does('list'), qr/^web1 +running +\d+ +\dm\d\ds +128M +1 +-$/m, 'list');

# What waits for the next start, whichever file it is in. What is written in the second of the start does not count.
my $mac = definition('web1')->{nics}[0]{mac};
like(vmconf_does('status', 'web1'), qr/^cpus +1$/m, 'status has the CPUs');
like(vmconf_does('status', 'web1'), qr/^nic +\Q$mac\E, user$/m, 'and the MAC') if $mac;
ok(!state_of('web1')->{changed}, 'nothing was changed since the start');
for my $file ('defaults.json', 'web1.json') {
	my $path = "$ENV{QEMU_SUPERVISE_CONFIG_DIR}/$file";
	spew($path, '{}'), chmod(0644, $path) if !-e $path;
	my @times = (stat $path)[8, 9];
	utime(time + 10, time + 10, $path);
	ok(state_of('web1')->{changed}, "$file was");
	like(vmconf_does('list'), qr/^web1 +running .*  changed, which takes effect at its next start$/m, 'list says so');
	like(vmconf_does('status', 'web1'), qr/^changed +the definition, which takes effect at its next start$/m, 'status, too');
	utime(@times, $path);
	unlink($path) if $file eq 'defaults.json';
	ok(!state_of('web1')->{changed}, "$file was not");
}
vmconf_fails(1, qr/the console of web1 is in use by another vmconf console/, 'console', 'web1');
syswrite($console->{pty}, "hello");
ok(see($console, qr/hello/), 'what is typed reaches the guest, which echoes it');
syswrite($console->{pty}, "\x1d");
is(end($console), 0, 'Ctrl-] leaves the console');
is(modes($console->{pty}), $console->{before}, 'and the terminal is as it was');
is(state_of('web1')->{state}, 'running', 'and the VM goes on');
for my $signal (qw(TERM HUP INT)) {
	$console = on_terminal('console', 'web1');
	see($console, qr/leaves it/);
	wait_until('a raw terminal', sub { modes($console->{pty}) ne $console->{before} });
	kill($signal, $console->{pid});
	is(end($console), 128 + { HUP => 1, INT => 2, TERM => 15 }->{$signal}, "$signal ends the console");
	is(modes($console->{pty}), $console->{before}, "$signal: the terminal is as it was");
}
is(JSON::PP::decode_json(vmconf_does('qmp', 'web1', 'query-status'))->{status}, 'running', 'qmp');
is(vmconf_does('qmp', 'web1', 'human-monitor-command', '{"command-line": "info name"}'), qq("web1\\r\\n"\n), 'qmp with arguments');
vmconf_fails(1, qr/web1: nonsense: The command nonsense has not been found/, 'qmp', 'web1', 'nonsense');

# ---- stop ----
my $pipe = into_file("$work/console", 'console', 'web1');
my $status_of = sub { waitpid($_[0], 0); $? >> 8 };
wait_until('the console being connected', sub { grep { readlink($_) && readlink($_) =~ /socket/ } glob "/proc/$pipe/fd/*" });
like(vmconf_does('stop', 'web1'), qr/^web1: stopped: the guest powered itself off \(\d+\S*\)$/, 'stop');
is($status_of->($pipe), 0, 'a console without a terminal ends with the VM');
like(slurp("$work/console"), qr/guest: press\r?\n.*guest: down/s, 'and has what the guest said');
ok(!-e "$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/web1", 'its runtime directory is gone: it is really down');
vmconf_fails(1, qr/web1 is not running; "vmconf start web1" starts it/, 'console', 'web1');
vmconf_fails(1, qr/web1 is not running/, 'qmp', 'web1', 'query-status');
like(vmconf_does('log', 'web1'), qr/TERM from pid \d+ .*\n(.*\n)*.*ended: the guest powered itself off \(status 0\)/, 'log');
is_clean('web1');

# ---- set, start, clone, delete ----
vmconf_does('set', 'web1', 'memory=160M');
vmconf_does('start', 'web1');
is(JSON::PP::decode_json(vmconf_does('qmp', 'web1', 'query-memory-size-summary'))->{'base-memory'}, 160 << 20, 'set counts from the next start');
vmconf_fails(1, qr/web1 is running \(pid \d+\): it cannot be cloned now/, 'clone', 'web1', 'web2');
vmconf_fails(1, qr/web1 is running \(pid \d+\): it cannot be deleted now/, 'delete', 'web1');
vmconf_does('restart', 'web1');
is(state_of('web1')->{state}, 'running', 'restart');
vmconf_does('stop', 'web1');
vmconf_does('clone', 'web1', 'web2');
my ($status, $out, $err) = vmconf('start', '--all');
is($status, 0, 'both start') or diag($err);
vmconf_does('delete', '--kill', 'web1');
is(state_of('web2')->{state}, 'running', 'delete --kill ends no other one');
vmconf_does('stop', '--all');
is_clean('web2');
($status, $out, $err) = vmconf('delete', 'web2');
is($status, 0, 'delete');
is_deeply([glob("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/*"), glob("$state/*/*")], ["$state/images/guest.raw", "$state/web1/initrd", "$state/web1/vmlinuz"],
	'nothing is left but what vmconf has not made');
like($err, qr/^$/, 'the clone is gone without a rest');

done_testing;
