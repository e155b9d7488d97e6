#!/usr/bin/perl
# VMs as units of a real systemd that is process 1 of a host, whose own shutdown is among what happens to them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Nspawn;
use T;

Nspawn::need_host();

my $h = Nspawn->new;

# ---- VMs ----
$h->vm('web', 'normal', keys => { order => 2 });
$h->vm('db', 'normal', keys => { order => 1 });
$h->vm('mail', 'normal');
$h->vm('slow', 'slow-stop', delay => 4);
$h->vm('ignores', 'ignore', keys => { on => { TERM => 'powerdown 2s, quit 10s, kill' } });
$h->vm('reboots', 'selfreboot-once', args => ['-no-reboot']);
$h->vm('bad', 'normal', keys => { memroy => 1 });
$h->vm('nowhere', 'normal', keys => { emulator => '/srv/qemu-system-x86_64' });
$h->drop_in('web', 'needs-db.conf');
$h->drop_in('slow', 'slower-stop.conf');
$h->drop_in('slow', 'timeout.conf', "[Service]\nTimeoutStopSec=1s\n");
$h->boot;
is($h->ok_does('systemd-analyze', 'verify', '--man=no', map { "/usr/local/lib/systemd/$_" }
	'system/qemu-supervise@.service', 'system/qemu-supervise-guests.service'), '', 'systemd-analyze verify has nothing to say');
is(($h->does('/usr/local/libexec/qemu-supervise/init/systemd', 'detect'))[0], 0, 'the adapter finds its systemd');
my ($differs, undef, $why) = $h->does('env', 'QEMU_SUPERVISE_CONFIG_DIR=/elsewhere', '/usr/local/libexec/qemu-supervise/init/systemd', 'start', 'web');
is($differs, 1, 'not for other directories');
like($why, qr{^systemd: web: QEMU_SUPERVISE_CONFIG_DIR is /elsewhere here, but /etc/qemu-supervise for qemu-supervise\@web.service; set it.*\n\z}, 'and says so');

like($h->ok_does('vmconf', 'start', 'web'), qr/^web: running \(pid \d+/, 'vmconf start');
is($h->unit('db', 'ActiveState'), 'active', 'web has db started, which it needs');
$h->ok_does('systemctl', 'start', 'qemu-supervise@mail', 'qemu-supervise@slow', 'qemu-supervise@ignores');
for my $name (qw(web db mail slow ignores)) {
	like($h->console($name), qr/guest: up/, "$name: systemd knows when it is ready"); # and what comes next, it listens
}
is(join(' ', $h->ok_does('vmconf', 'list') =~ /^(\w+) +running /mg), 'db ignores mail slow web', 'vmconf list');
like($h->ok_does('/usr/local/libexec/qemu-supervise/init/systemd', 'status', 'web'), qr/^web: supervised by pid \d+, qemu-supervise\@web.service active$/, 'status');

# ---- enable ----
is($h->ok_does('vmconf', 'enable', 'web', 'mail'), "web: enabled\nmail: enabled\n", 'vmconf enable');
is($h->ok_does('vmconf', 'disable', 'mail'), "mail: disabled\n", 'vmconf disable');
is_deeply([map { (split m{/})[-1] } glob "$work/units/multi-user.target.wants/*"], ['qemu-supervise@web.service'], 'which systemd knows');
is($h->ok_does('vmconf', 'enable', 'web'), "web is enabled already\n", 'a hint');
my $list = $h->ok_does('vmconf', 'list');
like($list, qr/^web .* 2$/m, 'list tells that the host starts it');
like($list, qr/^mail .* -$/m, 'and that it does not start the other');

# ---- one is stopped, one loses its supervisor ----
$h->ok_does('systemctl', 'stop', 'qemu-supervise@mail');
is($h->unit('mail', 'ActiveState') . ', ' . $h->end_of('mail')->{status}, 'inactive, 0', 'systemctl stop');
$h->is_clean('mail', 'after systemctl stop');
my ($qemu, $supervisor) = ($h->qemu('web'), $h->unit('web', 'MainPID'));
$h->ok_does('systemctl', 'reload', 'qemu-supervise@web');
wait_until('the new program', sub { $h->lines_of('web') =~ /\[$supervisor\]: .*reexec: done/ });
is($h->unit('web', 'MainPID') . ' ' . $h->unit('web', 'ActiveState'), "$supervisor active", 'systemctl reload: the same process');
$h->ok_does('systemctl', 'kill', '-s', 'KILL', '--kill-whom=main', 'qemu-supervise@web');
$h->wait_unit('web', 'NRestarts', 1);
$h->wait_unit('web', 'ActiveState', 'active');
is($h->qemu('web'), $qemu, 'a supervisor is killed: its QEMU goes on');
isnt($h->unit('web', 'MainPID'), $supervisor, 'and has another one');
$h->ok_does('systemctl', 'kill', '-s', 'USR1', 'qemu-supervise@web');
wait_until('status', sub { $h->lines_of('web') =~ /USR1/ });
is($h->unit('web', 'ActiveState'), 'active', 'a signal to all of the control group does not reach QEMU');

# ---- slow ones, and such as do not listen ----
$h->ok_does('systemctl', 'stop', 'qemu-supervise@slow');
is($h->unit('slow', 'Result') . ', ' . $h->end_of('slow')->{status}, 'success, 0', 'longer than TimeoutStopSec: it has the time');
like($h->lines_of('slow'), qr/TERM from pid 1 \(systemd\): powerdown 1800s,/, 'the ladder of its drop-in');
$h->is_clean('slow', 'after longer than TimeoutStopSec');
like(($h->does('vmconf', 'stop', 'ignores'))[2], qr/ignores is down, but was not shut down/, 'one that ignores the button');
is($h->end_of('ignores')->{status} . ' ' . $h->unit('ignores', 'ActiveState'), '80 inactive', 'is told to quit, and not started again');

# ---- what was asked for leaves no unit that has failed ----
sub failed { return $h->ok_does('systemctl', 'list-units', '--failed', '--plain', '--no-legend', 'qemu-supervise@*') }

is(failed(), '', 'none after a stop that cut a guest off');
$h->vm('gone', 'normal');
$h->ok_does('systemctl', 'start', 'qemu-supervise@gone');
$h->ok_does('vmconf', 'stop', '--kill', 'gone');
is(failed(), '', 'nor after stop --kill');
$h->ok_does('systemctl', 'start', 'qemu-supervise@gone');
$h->ok_does('systemctl', 'kill', '-s', 'QUIT', '--kill-whom=main', 'qemu-supervise@gone');
$h->wait_unit('gone', 'ActiveState', 'failed');
$h->ok_does('vmconf', 'delete', 'gone');
is(failed(), '', 'nor of a VM that was deleted');

# ---- what is started again ----
for ([bad => 78], [nowhere => 127]) {
	my ($name, $expected) = @$_;
	$h->does('systemctl', 'start', "qemu-supervise\@$name");
	$h->wait_unit($name, 'ActiveState', 'failed');
	is($h->unit($name, 'ExecMainStatus') . ' ' . $h->unit($name, 'NRestarts'), "$expected 0", "status $expected: not tried again");
}
$h->does('systemctl', 'start', 'qemu-supervise@reboots');
$h->wait_unit('reboots', 'NRestarts', 1);
$h->wait_unit('reboots', 'ActiveState', 'active');
is($h->end_of('reboots')->{status}, 84, 'a reboot under -no-reboot: started again');
$h->ok_does('sh', '-c', 'read -r pid rest </var/lib/qemu-supervise/reboots/vm.lock; kill -SEGV $pid');
$h->wait_unit('reboots', 'NRestarts', 2);
$h->wait_unit('reboots', 'ActiveState', 'active');
is($h->end_of('reboots')->{status}, 83, 'QEMU crashed: started again');

# ---- what cannot start is tried again, which is said until somebody ends it ----
$h->vm('fails', 'normal', keys => { cpu => 'nonsense' });
(my $cannot, undef, $why) = $h->does('vmconf', 'start', 'fails');
is($cannot, 69, 'it cannot start');
like($why, qr/^vmconf: fails: the init system tries again and again; "vmconf stop fails" ends that\n\z/m, 'which is said');
$h->wait_unit('fails', 'NRestarts', '[2-9]');
my ($version) = $h->ok_does('systemctl', '--version') =~ /^systemd (\d+)/;
my $pause = $h->unit('fails', 'RestartUSecNext');	# unknown to earlier ones
like($pause, $version < 254 ? qr/^$/ : qr/^([3-9]|[1-3]\d|2\.\d+)(\.\d+)?s/, "systemd $version: the pause between two starts grows where it can");
sub noted { return (($h->does("vmconf", "list"))[1] =~ /^fails (.*)$/m)[0] }
wait_until('list to say so', sub { noted() =~ /\S; the init system tries again and again$/ });
$h->ok_does('vmconf', 'stop', 'fails');
unlike(noted(), qr/tries again/, 'a stop ends that');
is($h->unit('fails', 'ActiveState'), 'inactive', 'in fact');
is(failed() =~ tr/ //sr, join('', map { "qemu-supervise\@$_.service loaded failed failed VM $_\n" } qw(bad nowhere)), 'and leaves no unit that has failed');

# ---- the host goes down ----
$h->ok_does('systemctl', 'start', 'qemu-supervise@slow', 'qemu-supervise@mail', 'qemu-supervise@ignores');
my $took = $h->poweroff;
diag(sprintf('poweroff: %.1f s', $took));
cmp_ok($took, '<', 60, 'poweroff waits for nobody');
like($h->journal('-u', 'qemu-supervise-guests'), qr/ web: stopped.* db: stopped.* mail: stopped/s, 'in descending order');
$h->is_clean($_, 'after poweroff') for qw(web db mail slow reboots);
is($h->end_of($_)->{status}, 0, "$_: status 0") for qw(web db mail slow reboots);
is($h->end_of('ignores')->{status}, 80, 'ignores: told to quit');

done_testing;
