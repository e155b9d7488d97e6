#!/usr/bin/perl
# vmconf check: how a VM is run. What would cut a ladder short is said, with what is good.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use File::Path qw(make_path);
use Nspawn;
use T;

need('qemu-system-x86_64', 'unshare');
Nspawn::need_host();

# A guest that boots, the ladder, a flush: 10 + 50 + 5 + 30 = 95 s.
my @ladder = ('--set', 'boot-timeout=10s', '--set', 'on.TERM=powerdown 50s, quit 5s, kill');

# ---- runit and s6: what is in a service directory, as the adapters make it ----
$ENV{QEMU_SUPERVISE_SERVICE_DIR} = my $services = "$work/sv";
vmconf_does('create', $_, quick(@ladder)) for 'web', 'bad';
vmconf_does('set', 'bad', 'on.TERM=powerdown forever');

sub check_service {
	my ($suite, $change, $finding) = @_;
	system('rm', '-rf', $services);
	local $ENV{QEMU_SUPERVISE_INIT} = $suite;
	vmconf('enable', 'web', 'bad');
	is(vmconf_does('check'), '', "$suite: nothing to say");
	$change->("$services/vm-web");
	vmconf_fails(78, qr{\A$suite: web: \Q$services\E/vm-web/$finding\n\z}, 'check');
	vmconf_does('check', 'bad');
}

sub without { my ($file) = @_; return sub { unlink("$_[0]/$file") or die "$file: $!" } }
sub with { my ($file, $text) = @_; return sub { spew("$_[0]/$file", $text) } }

check_service('runit', without('finish'), qr/finish: a guest that powered itself off is started again; copy .*/);
check_service('runit', with('run', "#!/bin/sh\nqemu-supervise web\n"), qr/run: signals reach a shell .*; let its last line be: exec .*/);
check_service('runit', without('control/k'), qr/control\/k: sv force-stop kills .*/);
check_service('s6', with('timeout-kill', "90000\n"), qr/timeout-kill: 90000 ms after TERM the supervisor is killed.*; 0 is good/);
check_service('s6', with('down-signal', "QUIT\n"), qr/down-signal: QUIT does not ask .*/);
check_service('s6', without('finish'), qr/finish: a guest .*/);
{
	local $ENV{QEMU_SUPERVISE_INIT} = 's6';
	system('rm', '-rf', $services);
	vmconf('enable', 'web', 'bad');
	spew("$services/vm-$_/timeout-kill", "96000\n") for 'web', 'bad';
	vmconf_fails(78, qr/\As6: bad: [^\n]*\n\z/, 'check');
}

# A check on a host with that init system as process 1 and these files in /etc: (status, output, errors).
sub with_etc {
	my ($init, %files) = @_;
	my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";
	system('rm', '-rf', "$work/etc");
	make_path(map { "$work/etc/$_" } qw(runit init.d conf.d));
	spew("$work/etc/$_", $files{$_}) for keys %files;
	local $ENV{QEMU_SUPERVISE_INIT} = $init;
	spew("$work/$init", "#!/bin/sh\nmount --bind '$work/etc' /etc && '$vmconf' check web\n");
	chmod 0755, "$work/$init";
	return run_command('unshare', '--mount', '--pid', '--fork', '--mount-proc', "$work/$init");
}

# Stage 3 of runit, as the packages have it, waits for 7 s.
sub stage_3 {
	my ($sv) = @_;
	return with_etc('runit', passwd => "root:x:0:0:root:/root:/bin/sh\n",
		'runit/3' => "#!/bin/sh\n# sv -w500 force-stop\n$sv /etc/service/*\nsv exit /etc/service/*\n");
}

system('rm', '-rf', $services);
{ local $ENV{QEMU_SUPERVISE_INIT} = 'runit'; vmconf('enable', 'web') }
my ($status, $out, $err) = stage_3('sv force-stop');
is("$status $err", "78 runit: web: /etc/runit/3: sv force-stop waits 7 s for a VM that may take 95; sv -w 95 force-stop\n", 'stage 3 of runit');
is((stage_3('sv -w 60 force-stop'))[0], 78, 'less');
is((stage_3('sv -w 95 force-stop'))[0], 0, 'enough');
is((stage_3('export SVWAIT=95; sv force-stop'))[0], 0, 'or as SVWAIT');

# ---- OpenRC: what supervise-daemon waits, 5 s where nothing is said ----
my $script = slurp("$top/examples/openrc/qemu-supervise");
for ([$script => '', 0], [$script =~ s/^retry=.*//mr => '', 78], [$script => "retry=60\n", 78], [$script => "retry='TERM/90/KILL/5'\n", 78],
	[$script => "retry=95\n", 0]) {
	my ($text, $conf, $expected) = @$_;
	($status, $out, $err) = with_etc('openrc', 'init.d/vm.web' => $text, 'conf.d/vm.web' => $conf);
	is($status, $expected, "OpenRC: retry of $_->[1]" =~ tr/\n//dr) or diag($err);
	like($err, $expected ? qr{^openrc: web: /etc/conf.d/vm.web: the supervisor is killed \d+ s after TERM, .* take 95; retry=TERM/86400 is good\n\z} : qr/\A\z/,
		'what is said');
}

# ---- systemd: the real one is asked ----
my $h = Nspawn->new;
spew("$work/config/$_.json", qq({ "accel": "tcg", "memory": "64M", "args": ["-S"], "boot-timeout": "10s", "on": { "TERM": "powerdown 50s, quit 5s, kill" } }\n)) for qw(web good);
unlink("$work/config/bad.json");
my %settings = (	# lines of the unit, and what is said of them
	KillMode => ['KillMode=control-group', qr/KillMode=control-group: what ends the supervisor ends QEMU, too; KillMode=process is good/],
	KillSignal => ['KillSignal=SIGQUIT', qr/KillSignal=3: the guest is not asked to go down; KillSignal=SIGTERM is good/],
	SendSIGHUP => ['SendSIGHUP=yes', qr/SendSIGHUP=yes: HUP resets the guest; SendSIGHUP=no is good/],
	'Restart=no' => ['Restart=no', qr/Restart=no: a VM whose supervisor was killed stays without one; Restart=on-failure is good/],
	'Restart=always' => ['Restart=always', qr/Restart=always: a guest that powered itself off is started again; Restart=on-failure is good/],
	StartLimit => ["[Unit]\nStartLimitIntervalSec=10", qr/StartLimitIntervalSec=10s: .*; StartLimitIntervalSec=0 is good/],
	Stop => ["Type=simple\nTimeoutStopSec=1min 30s", qr/TimeoutStopSec=90: the supervisor may be killed .* it may take 95 s; TimeoutStopSec=infinity is good/],
	'Stop, notify' => ['TimeoutStopSec=94', qr/TimeoutStopSec=94: a daemon-reload may kill .* it may take 95 s; TimeoutStopSec=infinity is good/],
	'Start, notify' => ['TimeoutStartSec=19', qr/TimeoutStartSec=19: a daemon-reload may end .* it may take 20 s; TimeoutStartSec=infinity is good/],
	'long enough' => ["TimeoutStartSec=20\nTimeoutStopSec=95", undef],
	User => ["User=nobody\nEnvironment=QEMU_SUPERVISE_CONFIG_DIR=/etc/qemu-supervise QEMU_SUPERVISE_STATE_DIR=/var/lib/qemu-supervise",
		qr/User=nobody: .*; Environment=QEMU_SUPERVISE_RUNTIME_DIR=\.\.\. is good/],
	RuntimeDirectory => ['RuntimeDirectory=qemu-supervise/web', qr/RuntimeDirectory=: systemd removes .*; RuntimeDirectoryPreserve=yes is good/],
	fine => ["Type=simple\nTimeoutStartSec=1s\nTimeoutStopSec=95\nRuntimeDirectory=qemu-supervise/web\nRuntimeDirectoryPreserve=yes\nRestart=on-abnormal", undef],
);
$h->boot;
is($h->ok_does('vmconf', 'check'), '', 'systemd: nothing to say about our unit');
for my $name (sort keys %settings) {
	my ($lines, $finding) = @{ $settings{$name} };
	$h->drop_in('web', 'test.conf', "[Service]\n$lines\n");
	$h->ok_does('systemctl', 'daemon-reload');
	my ($checked, $said, $found) = $h->does('vmconf', 'check');
	is($checked, $finding ? 78 : 0, "$name: status");
	like($found, $finding ? qr/\Asystemd: web: $finding \(systemctl edit qemu-supervise\@web\.service\)\n\z/ : qr/\A\z/, "$name: said");
}

# What is said of KillMode is so.
$h->drop_in('web', 'test.conf', "[Service]\nKillMode=control-group\nTimeoutStopSec=1s\n");
$h->ok_does('systemctl', 'daemon-reload');
$h->ok_does('systemctl', 'start', 'qemu-supervise@web', 'qemu-supervise@good');
my %qemu = map { $_ => qemu_in("$work/state/$_/vm.lock") } qw(web good);
$h->ok_does('systemctl', 'kill', '-s', 'KILL', '--kill-whom=main', 'qemu-supervise@web', 'qemu-supervise@good');
for (qw(web good)) {
	$h->wait_unit($_, 'NRestarts', 1);
	$h->wait_unit($_, 'ActiveState', 'active');
}
my %now = map { $_ => qemu_in("$work/state/$_/vm.lock") } qw(web good);
is((grep { $_ } values %qemu, values %now), 4, 'a QEMU each, before and after');
isnt($now{web}, $qemu{web}, 'KillMode=control-group: QEMU went with its supervisor');
is($now{good}, $qemu{good}, 'KillMode=process: it goes on');
$h->poweroff;
done_testing;
