#!/usr/bin/perl
# What state a VM is in, told without asking QEMU; and leftovers that look like one.
use strict;
use warnings;
use Fcntl qw(F_UNLCK F_WRLCK O_RDWR O_CREAT);
use FindBin;
use IO::Handle;
use lib $FindBin::Bin;
use JSON::PP ();
use POSIX ();
use Socket;
use T;

need('qemu-system-x86_64');
need_that("perl has IO::Pty", sub { eval { require IO::Pty } });

my ($config, $state, $run) = map { $ENV{"QEMU_SUPERVISE_${_}_DIR"} } qw(CONFIG STATE RUNTIME);

sub create { vmconf_does('create', $_[0], quick(@_[1 .. $#_])) }

sub delete_all { unlink(glob("$config/*.json")) }

sub is_state {
	my ($name, $expected, $what) = @_;
	my $vm = state_of($name);
	is($vm->{state}, $expected, $what || "$name is $expected") or diag(explain($vm));
	return $vm;
}

sub pids { return @{ state_of($_[0]) }{qw(supervisor pid)} }

# ---- stopped, starting, running, paused ----
mkdir "$work/slow";
spew("$work/slow/qemu-system-x86_64", qq(#!/bin/sh\nwhile [ ! -e "$work/go" ]; do sleep 0.05; done\nexec qemu-system-x86_64 "\$@"\n));
chmod 0755, "$work/slow/qemu-system-x86_64";
create('web1', '--set', "emulator=$work/slow/qemu-system-x86_64");
my $vm = is_state('web1', 'stopped');
is_deeply([@$vm{qw(pid supervisor uptime reason)}], [undef, undef, undef, undef], 'stopped: no pids, no uptime');
is($vm->{memory}, 64, 'the memory of its definition, in MiB');
my $starting = fork // die "fork: $!";
exec($ENV{T_VMCONF} || "$top/vmconf", 'start', 'web1') if $starting == 0;
wait_until('starting', sub { state_of('web1')->{state} eq 'starting' });
spew("$work/go", '');
waitpid($starting, 0);
is($? >> 8, 0, 'vmconf start waits until it runs');
$vm = is_state('web1', 'running');
like(slurp("/proc/$vm->{pid}/comm"), qr/^qemu|^vm-web1/, 'its pid is QEMU\'s');
like(slurp("/proc/$vm->{supervisor}/comm"), qr/^qemu-supervise/, 'its supervisor is one');
is($vm->{ready}, JSON::PP::true(), 'ready');
cmp_ok($vm->{uptime}, '<', 100, 'uptime in seconds');
my ($status, $out, $err) = vmconf('set', 'web1', 'memory=128M');
like($err, qr/web1 is running: the change takes effect at its next start/, 'a change of a running VM says when it counts');
is(state_of('web1')->{memory}, 64, 'the memory it was started with');
vmconf_does('qmp', 'web1', 'cont');
wait_until('running', sub { state_of('web1')->{state} eq 'running' });
vmconf_does('qmp', 'web1', 'stop');
wait_until('paused', sub { state_of('web1')->{state} eq 'paused' });
like(vmconf_does('start', 'web1'), qr/^web1 is paused already \(pid \d+\)$/m, 'start of one that is there is a success with a hint');
my ($asked) = JSON::PP::decode_json(vmconf_does('status', 'web1', '--json'));
is($asked->{'run-state'}, 'paused', 'status asks QEMU');
is_deeply($asked->{addresses}, [], 'no agent, no addresses');
is((vmconf('status', 'web1'))[2], '', 'and has nothing to complain of');

# QEMU hangs: list does not ask it, status gives up.
kill('STOP', $vm->{pid});
is_state('web1', 'paused', 'list does not ask QEMU');
($status, $out, $err) = vmconf('status', 'web1');
is($status, 0, 'status of a QEMU that hangs');
like($out, qr/^state +paused$/m, 'status tells what is known');
like($err, qr/web1: QEMU was not asked: no greeting in time: QEMU hangs, or is stopped$/m, 'and that it hangs');
vmconf_fails(1, qr/^vmconf: web1: no greeting in time: QEMU hangs, or is stopped$/m, 'qmp', 'web1', 'query-status');
kill('CONT', $vm->{pid});

# Somebody else talks to it.
{
	my $other = qmp_connect("$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/web1/qmp");
	my $words = qr/no greeting in time: somebody else is connected to its socket "qmp", which serves one client at a time$/m;
	like((vmconf('status', 'web1'))[2], qr/web1: QEMU was not asked: $words/, 'status of one that talks to somebody else');
	vmconf_fails(1, qr/^vmconf: web1: $words/m, 'qmp', 'web1', 'query-status');
}
like(vmconf_does('qmp', 'web1', 'query-status'), qr/"status": "paused"/, 'and when that one has gone');

# So many wait for it that the socket takes no more.
{
	my @waiting;
	kill('STOP', $vm->{pid});
	while (@waiting < 100) {
		socket(my $one, AF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
		$one->blocking(0);
		last if !connect($one, pack_sockaddr_un("$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/web1/qmp"));
		push(@waiting, $one);
	}
	ok($!{EAGAIN}, 'its queue is full') or diag("$!");
	vmconf_fails(1, qr/^vmconf: web1: no greeting in time: /m, 'qmp', 'web1', 'query-status');
	my $asking = fork // die "fork: $!";
	if ($asking == 0) {
		open(STDOUT, '>', "$work/asking");
		exec($ENV{T_VMCONF} || "$top/vmconf", 'qmp', 'web1', 'query-status') or POSIX::_exit(127);
	}
	wait_until('it waits', sub { slurp("/proc/$asking/syscall") =~ /^(?:7|271|73) / });	# poll
	kill('CONT', $vm->{pid});
	@waiting = ();
	waitpid($asking, 0);
	like(slurp("$work/asking"), qr/"status": "paused"/, 'it waits for its turn');
}

# ---- stopping ----
vmconf_does('qmp', 'web1', 'cont');
my $stopping = fork // die "fork: $!";
if ($stopping == 0) {
	open(STDOUT, '>', '/dev/null');
	open(STDERR, '>', "$work/stopping");
	exec($ENV{T_VMCONF} || "$top/vmconf", 'stop', 'web1') or POSIX::_exit(127);
}
wait_until('stopping', sub { state_of('web1')->{state} eq 'stopping' });
like(vmconf_does('status', 'web1'), qr/^doing +powerdown$/m, 'status tells the rung');
vmconf_fails(1, qr/web1 is stopping; start it when it is down/, 'start', 'web1');
kill('KILL', $vm->{pid});
waitpid($stopping, 0);
is($? >> 8, 83, 'stop: the status says that it was not shut down');
like(slurp("$work/stopping"), qr/web1 is down, but was not shut down: QEMU died of SIGKILL/, 'and so does the line');

# ---- crashed ----
$vm = is_state('web1', 'crashed');
like($vm->{reason}, qr/QEMU died of SIGKILL/, 'the reason');
is($vm->{'last-status'}, 83, 'the status');
like(vmconf_does('list'), qr/^web1 +crashed .*QEMU died of SIGKILL$/m, 'in the table, too');
like(vmconf_does('status', 'web1'), qr/^last end +\d{4}-.*QEMU died of SIGKILL \(status 83\)$/m, 'status tells when');
vmconf_does('start', 'web1');
vmconf_does('stop', 'web1');
is_state('web1', 'stopped', 'one that powered off, or never ran, is stopped');

# ---- unmanaged ----
vmconf_does('start', 'web1');
my ($supervisor, $qemu) = pids('web1');
kill('KILL', $supervisor);
wait_until('unmanaged', sub { state_of('web1')->{state} eq 'unmanaged' });
is(state_of('web1')->{pid}, $qemu, 'unmanaged: its pid');
vmconf_fails(1, qr/web1 is unmanaged \(pid $qemu\): it cannot be $_->[0] now; stop it first/, @$_[1 .. $#$_])
	for ['deleted', 'delete', 'web1'], ['cloned', 'clone', 'web1', 'web2'], ['renamed', 'rename', 'web1', 'web2'];
like(vmconf_does('qmp', 'web1', 'query-status'), qr/"status": "prelaunch"/, 'qmp works all the same');
for my $words (['start', 'web1'], ['start', '--all']) {
	like(vmconf_does(@$words), qr/^web1: running \(pid $qemu, /m, "@$words: a supervisor takes it over");
	isnt(state_of('web1')->{supervisor}, $supervisor, 'another one');
	kill('KILL', $supervisor = state_of('web1')->{supervisor});
	wait_until('unmanaged', sub { state_of('web1')->{state} eq 'unmanaged' });
}
like(vmconf_does('stop', 'web1'), qr/^web1: stopped: no guest was running /, 'stop: one takes it over, and stops it');
is_state('web1', 'stopped', 'its end was seen');
ok(!kill(0, $qemu) || slurp("/proc/$qemu/stat") =~ /\) Z /, 'and QEMU is gone');
vmconf_does('start', 'web1');
($supervisor, $qemu) = pids('web1');
kill('KILL', $supervisor);
wait_until('unmanaged', sub { state_of('web1')->{state} eq 'unmanaged' });
{
	local $ENV{QEMU_SUPERVISE} = "$work/nowhere";
	vmconf_fails(127, qr/web1 runs without a supervisor, and the init adapter could not start one \(status 127\)/, $_, 'web1') for 'start', 'stop';
}
vmconf_does('stop', '--kill', 'web1');
ok(!kill(0, $qemu) || slurp("/proc/$qemu/stat") =~ /\) Z /, 'stop --kill kills it');
$vm = is_state('web1', 'cut-off', 'vmconf saw its end');
is($vm->{reason}, 'QEMU was killed by vmconf', 'and that is the reason');
vmconf_does('start', 'web1');
($supervisor, $qemu) = pids('web1');
kill('KILL', $supervisor, $qemu);
wait_until('the end of both', sub { state_of('web1')->{state} eq 'crashed' });
$vm = is_state('web1', 'crashed', 'nobody saw its end');
like($vm->{reason}, qr/nobody saw its end/, 'and that is the reason');
system('rm', '-rf', $run);
is_state('web1', 'crashed', 'without a runtime directory, too');
vmconf_does('start', 'web1');
($supervisor, $qemu) = pids('web1');
kill('KILL', $supervisor);
wait_until('unmanaged', sub { state_of('web1')->{state} eq 'unmanaged' });
system('rm', '-rf', $run);
is_state('web1', 'unmanaged', 'a logout that removes the runtime directory does not hide it');
kill('KILL', $qemu);
wait_until('its end', sub { state_of('web1')->{state} eq 'crashed' });
create('web2');
vmconf_does('start', 'web2');
kill('KILL', pids('web2'));
wait_until('its end', sub { state_of('web2')->{state} eq 'crashed' });
ok(-S "$run/web2/qmp", 'nobody has cleared up');
vmconf_does('delete', 'web2');
ok(!-e "$run/web2", 'delete does');

# ---- a definition that is broken meanwhile ----
my $good = slurp("$config/web1.json");
for my $verb ('start', 'stop') {
	vmconf_does('start', 'web1') if $verb eq 'start';
	kill('KILL', state_of('web1')->{supervisor});
	wait_until('unmanaged', sub { state_of('web1')->{state} eq 'unmanaged' });
	spew("$config/web1.json", '{"memory": "plenty"}');
	like(vmconf_does($verb, 'web1'), qr/^web1: (running|stopped: no guest was running) /, "$verb: a broken definition is no hindrance");
}
vmconf_fails(78, qr/web1.json: memory:/, 'start', 'web1');
spew("$config/web1.json", $good);

# ---- another user's ----
SKIP: {
	skip('we are not root', 8) if $> != 0;
	vmconf_does('start', 'web1');
	chmod 0755, $work, $config, $state, $run;
	my @other = ('setpriv', '--reuid=65534', '--clear-groups', $ENV{T_VMCONF} || "$top/vmconf");
	my ($listed, $list) = run_command(@other, 'list', '--json');
	is($listed, 0, 'list');
	my ($known) = grep { $_->{name} eq 'web1' } @{ JSON::PP::decode_json($list)->{vms} };
	is($known->{state}, 'unknown', 'a VM at whose files we may not look');
	like($known->{reason}, qr/we may not read its files/, 'why');
	for my $words (['stop', 'web1'], ['stop', '--all'], ['start', 'web1'], ['qmp', 'web1', 'query-status'], ['console', 'web1']) {
		my ($ended, undef, $told) = run_command(@other, @$words);
		ok($ended == 1 && $told =~ /web1: cannot determine whether it runs: we may not read its files in \Q$state\E/, "@$words") or diag($told);
	}
	vmconf_does('stop', 'web1');
}

# ---- some of them ----
create($_) for qw(web3 web4);
is(join(' ', vmconf_does('list', 'web4', 'web3', 'web4') =~ /^(web\d)/mg), 'web4 web3', 'list of those that are named');
is_deeply([map { $_->{name} } @{ JSON::PP::decode_json(vmconf_does('list', '--json', 'web3'))->{vms} }], ['web3'], 'as JSON');
vmconf_fails(1, qr/there is no VM web5/, 'list', 'web3', 'web5');
vmconf_does('delete', 'web3', 'web4');

# ---- leftovers ----
my $other = fork // die "fork: $!";
if ($other == 0) { exec('sleep', 1000000) or POSIX::_exit(127) }
create('cut');
mkdir $_ for $run, "$run/cut";
spew("$run/cut/lock", "$other\n");
spew("$run/cut/state.json", qq({"supervisor": $other, "pid": $other, "phase": "running", "started": 1, "ready": true}));
is_state('cut', 'stopped', 'a runtime directory left over from a power cut');
like(vmconf_does('stop', 'cut'), qr/^cut is not running$/m, 'stop of one that is down is a success with a hint');
spew("$state/cut/vm.lock", "$other 1 00000000-0000-0000-0000-000000000000\n");
is_state('cut', 'crashed', 'and a vm.lock');
vmconf_does('start', 'cut');
is_state('cut', 'running', 'it is no hindrance');
vmconf_does('stop', 'cut');
ok(kill(0, $other), 'the process that now has the pid lives');

# Somebody holds the lock, the pid in it is another's by now.
sysopen(my $fh, "$state/cut/vm.lock", O_RDWR | O_CREAT) or die "vm.lock: $!";
(my $boot = slurp('/proc/sys/kernel/random/boot_id')) =~ s/\n//;
syswrite($fh, "$other 1 $boot\n");
sub lock_bytes {
	my ($type, $count) = @_;
	my $flock = pack('s s x4 q q l x4', $type, 0, 0, $count, 0);
	fcntl($fh, 37, $flock) or die "F_OFD_SETLK: $!";
}
lock_bytes(F_WRLCK, 1);
is_state('cut', 'unmanaged', 'vm.lock is held');
vmconf_fails(1, qr/cut: cannot kill QEMU, pid $other/, 'stop', '--kill', 'cut');
ok(kill(0, $other), 'a process that started at another time is not killed');

# The same record, but of another host that shares the state directory.
sysseek($fh, 0, 0);
syswrite($fh, "$other 1 00000000-0000-0000-0000-000000000000\n");
$vm = is_state('cut', 'elsewhere', 'another host holds vm.lock');
is_deeply([@$vm{qw(pid supervisor ready)}], [undef, undef, JSON::PP::false()], 'its pids are not ours');
vmconf_fails(1, qr/^vmconf: cut runs on another host, which shares its state directory$/m, @$_)
	for ['start', 'cut'], ['stop', 'cut'], ['stop', '--kill', 'cut'], ['qmp', 'cut', 'query-status'], ['console', 'cut'];
vmconf_fails(1, qr/cut runs on another host: it cannot be deleted now; stop it there first/, 'delete', 'cut');
my ($alone, undef, $says) = run_command($ENV{T_SUPERVISE} || "$top/qemu-supervise", 'cut');
is($alone, 75, 'nor is it started by a supervisor');
like($says, qr{VM cut runs on another host, which holds \Q$state\E/cut/vm.lock; stop it there first}, 'which says so');
is((vmconf('stop', '--all'))[0], 0, 'stop --all leaves it to that host');

# A vmconf that clones or renames it holds all of it.
lock_bytes(F_WRLCK, 0);
is_state('cut', 'crashed', 'a vmconf that works on its files is no QEMU');
like(vmconf_does('stop', 'cut'), qr/^cut is not running$/, 'stop has nothing to do');
like((vmconf('start', '--within', '0', 'cut'))[2], qr/cut was not started: another vmconf still works on its files/, 'start has patience');
my $waits = fork // die "fork: $!";
if ($waits == 0) {
	open(STDERR, '>', "$work/waits");
	exec($ENV{T_VMCONF} || "$top/vmconf", 'start', 'cut') or POSIX::_exit(127);
}
wait_until('it waits', sub { slurp("$work/waits") =~ /cut: another vmconf works on its files; waiting for it\n/ });
lock_bytes(F_UNLCK, 0);
waitpid($waits, 0);
is($?, 0, 'and starts it then');
vmconf_does('stop', 'cut');
close($fh);
spew("$state/cut/vm.lock", "$other 1 00000000-0000-0000-0000-000000000000\n");
kill('KILL', $other);
waitpid($other, 0);

# ---- the table ----
vmconf_does('create', 'long-' . 'x' x 59, '--nic', 'none');
vmconf_does('set', 'cut', 'description=fine');
spew("$config/broken.json", '{"memroy": "1G"}');
my $list = vmconf_does('list');
like($list, qr/^broken .*broken definition: vmconf check broken$/m, 'a broken definition is listed as such');
is(state_of('broken')->{broken}, JSON::PP::true(), 'in JSON too');
is(state_of('broken')->{moved}, undef, 'whose disks nobody knows');
my $broken = JSON::PP::decode_json(vmconf_does('status', 'broken', '--json'));
is_deeply([@$broken{qw(disks moved)}], [undef, undef], 'nor does status');
like($list, qr/^long-x{59} /m, 'a name is whole where no person reads it');
unlike($list, qr/\e/, 'and has no colours');
my $json = JSON::PP::decode_json(vmconf_does('list', '--json'));
is($json->{version}, 1, 'the shape has a version');
is_deeply([sort keys %{ $json->{vms}[0] }], [qw(broken changed cpus enabled failing last-status last-words listening memory moved name order pid protect ready reason run-state rung state supervisor tags uptime)], 'the keys of list --json');

sub on_terminal {
	my ($env, @words) = @_;
	my $pty = IO::Pty->new;
	$pty->slave->set_winsize(24, 80);
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDOUT, '>&', $pty->slave) or POSIX::_exit(126);
		$ENV{$_} = $env->{$_} for keys %$env;
		exec($ENV{T_VMCONF} || "$top/vmconf", @words) or POSIX::_exit(127);
	}
	my $screen = '';
	$pty->blocking(0);
	wait_until('the list', sub { sysread($pty, $screen, 65536, length $screen); waitpid($pid, POSIX::WNOHANG()) == $pid });
	1 while sysread($pty, $screen, 65536, length $screen);
	return $screen =~ s/\r//gr;
}

delete $ENV{NO_COLOR};
my $screen = on_terminal({ TERM => 'xterm' }, 'list');
like($screen, qr/\e\[31mcrashed/, 'colours on a terminal');
my $plain = $screen =~ s/\e\[\d*m//gr;
is((grep { length > 80 } split /\n/, $plain), 0, '80 columns hold it') or diag($plain);
unlike(on_terminal({ TERM => 'xterm', NO_COLOR => 1 }, 'list'), qr/\e/, 'NO_COLOR');
unlike(on_terminal({ TERM => 'dumb' }, 'list'), qr/\e/, 'a dumb terminal');

# ---- consoles ----
{
	T::define('mute', { %{ T::fake_definition("$work/mute.qemu", fake_qemu()) }, console => 'none' });
	my $s = running(vm => 'mute');
	vmconf_fails(1, qr/^vmconf: mute has no console socket: its definition says "console" is something else, /m, 'console', 'mute');
	my $path = "$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/mute/console";
	spew($path, '');
	vmconf_fails(1, qr{^vmconf: cannot connect to \Q$path\E: Connection refused$}m, 'console', 'mute');
	unlink($path);
	$s->signal('QUIT');
	$s->end;
	spew("$state/mute/console.log", "guest\e[31m up\n");
	chmod(0600, "$state/mute/console.log");
	is(vmconf_does('console', '--log', 'mute'), "guest\e[31m up\n", 'its log as it is');
	like(on_terminal({ TERM => 'xterm' }, 'console', '--log', 'mute'), qr/\Aguest\?\[31m up\n\z/, 'and made safe for a terminal');

	# The fake greets there, too.
	T::define('talks', T::fake_definition("$work/talks.qemu", fake_qemu()));
	$s = running(vm => 'talks');
	pipe(my $reader, my $writer);
	close($reader);
	my $pty = IO::Pty->new;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>&', $writer);
		open(STDERR, '>&', $pty->slave);
		exec($ENV{T_VMCONF} || "$top/vmconf", 'console', 'talks') or POSIX::_exit(127);
	}
	wait_until('its end', sub { waitpid($pid, POSIX::WNOHANG()) == $pid });
	is($?, 0, 'a console whose output nobody reads ends');
	$pty->blocking(0);
	sysread($pty, my $words, 4096);
	like($words, qr/^vmconf: console of talks: nobody reads the output\r?$/m, 'and says so');
	$s->signal('QUIT');
	$s->end;
}

# What runs, what waits, and the port that leads there.
create($_, '--nic', 'user') for 'lit', 'waits';
vmconf_does('start', 'lit', 'waits');
vmconf_does('qmp', 'waits', $_) for 'cont', 'stop';
wait_until('paused', sub { state_of('waits')->{state} eq 'paused' });
$screen = on_terminal({ TERM => 'xterm' }, 'list');
like($screen, qr/^lit +\e\[32mrunning/m, 'green: it runs');
like($screen, qr/^waits +\e\[33mpaused/m, 'yellow: it is on its way, or waits');
my ($port) = definition('lit')->{forwards}[0] =~ /^(\d+)\+:22$/;
like(vmconf_does('list', '--addresses', 'lit'), qr/^lit .*  127\.0\.0\.1:$port\b/m,
	'one without an agent has the port that leads to its ssh server');
vmconf_does('stop', '--kill', 'lit', 'waits');
unlike(vmconf_does('list', '--addresses', 'lit'), qr/127/, 'and none while it is down');

# ---- many ----
delete_all();
for my $n (1 .. 1201) {
	spew("$config/vm$n.json", $n == 600 ? '{' : qq({ "memory": "${n}M" }));
	chmod(0600, "$config/vm$n.json");
}
my @many = @{ JSON::PP::decode_json(vmconf_does('list', '--json'))->{vms} };
is_deeply([map { $_->{name} } @many], [map { "vm$_" } 1 .. 1201], 'a list of many: all of them, in order');
is_deeply([map { $_->{memory} } @many], [map { $_ == 600 ? undef : $_ } 1 .. 1201], 'each with its memory');
is_deeply([map { $_->{name} } grep { $_->{broken} } @many], ['vm600'], 'and the broken one');

done_testing;
