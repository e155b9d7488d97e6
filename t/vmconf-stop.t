#!/usr/bin/perl
# vmconf start, stop and restart: many at once, their order, deadlines, and what goes wrong.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-system-x86_64');
need_that("perl has IO::Pty", sub { eval { require IO::Pty } });

my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";

# An adapter that writes down what it is asked for, but for lists, and then does what the script says.
sub adapter {
	my ($script) = @_;
	spew("$work/adapter", qq(#!/bin/sh\n[ "\$1" = list-enabled ] || echo "\$1 \$2" >>"$work/asked"\n$script\n));
	chmod 0755, "$work/adapter";
	unlink "$work/asked";
	$ENV{QEMU_SUPERVISE_INIT} = "$work/adapter";
}

sub asked { return join ', ', split /\n/, slurp("$work/asked") }

sub states { return join ' ', map { state_of($_)->{state} } @_ }

# ---- order ----
my @all = qw(db web1 web2 proxy);

vmconf_does('create', 'db', quick('--set', 'order=1'));
vmconf_does('create', $_, quick('--set', 'order=2')) for 'web1', 'web2';
vmconf_does('create', 'proxy', quick('--set', 'order=3'));
adapter(qq(exec "$top/init/none" "\$@"));
my $out = vmconf_does('start', '--all');
like($out, qr/^db: running .*\n(web[12]: running .*\n){2}proxy: running .*\n\z/, 'start --all: ascending order');
is(states(@all), 'running running running running', 'all of them run');
like(asked(), qr/^start db, start web([12]), start web(?!\1)[12], start proxy$/, 'through the adapter');
like(vmconf_does('start', 'db', 'web1', 'db'), qr/^db is running already \(pid \d+\)\nweb1 is running already/, 'start again: hints');
adapter(qq(exec "$top/init/none" "\$@"));
$out = vmconf_does('stop', '--all', '--parallel', 1);
like($out, qr/^proxy: stopped: .*\nweb2: .*\nweb1: .*\ndb: stopped: .*\n\z/, 'stop --all: descending order, one after the other');
is(asked(), 'stop proxy, stop web2, stop web1, stop db', 'through the adapter');
is(states(@all), 'stopped stopped stopped stopped', 'all of them are down');
is(vmconf_does('stop', '--all'), '', 'nothing to stop');
like(vmconf_does('restart', 'db'), qr/^db is not running\ndb: running/, 'restart starts one that is down');
like(vmconf_does('restart', 'db'), qr/^db: stopped: .*\ndb: running/, 'and stops one that runs before');
my @pids = map {
	my $pid = fork // die "fork: $!";
	if ($pid == 0) { open(STDOUT, '>', '/dev/null'); exec($vmconf, 'stop', 'db') or POSIX::_exit(127) }
	$pid;
} 1, 2;
is_deeply([map { waitpid($_, 0); $? } @pids], [0, 0], 'two that stop the same one');

# ---- deadlines: firmware without a guest hears no press ----
vmconf_does('set', $_, 'args=[]') for 'web1', 'web2';
vmconf_does('start', 'web1', 'web2');
adapter('exit 0');
vmconf_fails(80, qr/web([12]) is down, but was not shut down: .*quit.*\n.*web(?!\1)[12] is down, but was not shut down/s,
	'stop', '--all', '--within', '3s');
is(join(', ', sort split /, /, asked()), 'stop web1, stop web1, stop web2, stop web2',
	'each was asked through the adapter, too, and once more when it had been cut off');
is(states('web1', 'web2'), 'cut-off cut-off', 'and that is what list says');

# ---- a deadline and an order ----
sub log_of { return slurp("$ENV{QEMU_SUPERVISE_STATE_DIR}/$_[0]/log") }

vmconf_does('set', 'web2', 'args=["-S"]');
adapter(qq(exec "$top/init/none" "\$@"));
vmconf_does('start', '--all');
adapter(qq(exec "$top/init/none" "\$@"));
kill('STOP', state_of('web1')->{pid});
unlink(glob("$ENV{QEMU_SUPERVISE_STATE_DIR}/*/history.jsonl"));	# as nothing is known of any, the shares are equal
vmconf_fails(81, qr/web1 is down, but was not shut down/, 'stop', '--all', '--within', '20s', '--parallel', 1);
is(asked() =~ s/(stop web.), (stop web.)/join ', ', sort $1, $2/er, 'stop proxy, stop web1, stop web2, stop db, stop web1',
	'in its order, all of one at once, and once more the one that was cut off');
like(log_of('proxy'), qr/deadline from .*all over in (?:20|19)s/, 'each supervisor was told what is left');
like(log_of('db'), qr/deadline from .*all over in (?:10|9)s\n/, 'the last one, too, for which half was kept');
like(log_of('db'), qr/no guest is running.*\z/s, 'and its guest was asked');
is(states('db'), 'stopped', 'and it is not cut off');

vmconf_does('start', '--all', '--from-order', 3);
is(states(@all), 'stopped cut-off stopped running', 'start --all --from-order 3');
vmconf_does('start', 'db');
vmconf_does('stop', '--all', '--from-order', 2);
is(states(@all), 'running cut-off stopped stopped', 'stop --all --from-order 2');
vmconf_fails(64, qr/--from-order goes with --all/, 'stop', 'db', '--from-order', 2);
vmconf_fails(64, qr/--$_ is for start$/m, 'stop', 'db', $_ eq 'delay' ? '--delay=1s' : '--no-wait') for 'delay', 'no-wait';
vmconf_does('stop', '--all');

adapter(qq(exec "$top/init/none" "\$@"));
vmconf_does('start', 'web1');
my $qemu = state_of('web1')->{pid};
like(vmconf_does('stop', '--kill', 'web1'), qr/^web1: stopped: /, '--kill was wanted: a success');
ok(!-e "/proc/$qemu" || slurp("/proc/$qemu/stat") =~ /\) Z /, 'and QEMU is gone');
adapter('[ "$1" = start ] && exec "' . $top . '/init/none" "$@"; [ -e "' . $work . '/second" ] && exec "' . $top
	. '/init/none" "$@"; : >"' . $work . '/second"');
vmconf_does('start', 'db');
vmconf_does('stop', 'db');
is(asked(), 'start db, stop db, stop db', 'an adapter that did not find the supervisor is asked again');
adapter(qq("$top/init/none" "\$@"\n[ "\$1" = stop ] || { echo "\$\$" >"$work/hung"; exec tail -f /dev/null; }));
like(vmconf_does('start', 'db'), qr/^db: running/, 'an adapter that does not end is not waited for without end');
ok(!-e '/proc/' . slurp("$work/hung") =~ s/\n//r, 'but killed');
vmconf_does('stop', 'db');

# ---- it ends while nobody looks ----
# vmconf in the background: (pid, file with what it says).
sub in_background {
	my (@words) = @_;
	my $said = "$work/said." . join '-', @words;
	my $pid = fork // die "fork: $!";
	return ($pid, $said) if $pid;
	open(STDOUT, '>', $said);
	open(STDERR, '>&', \*STDOUT);
	exec($vmconf, @words) or POSIX::_exit(127);
}

adapter(qq(exec "$top/init/none" "\$@"));
vmconf_does('set', 'db', 'on.TERM=powerdown forever', 'args=[]');
vmconf_does('start', 'db');
my ($stop, $said) = in_background('stop', 'db');
wait_until('the ladder', sub { state_of('db')->{state} eq 'stopping' });
my $both = state_of('db');
kill('KILL', $both->{supervisor}, $both->{pid});
waitpid($stop, 0);
is($? >> 8, 83, 'killed together with its supervisor: not 0');
like(slurp($said), qr/^vmconf: db is down(, but was not shut down)?: (nobody saw its end|QEMU ended without a SHUTDOWN event)/, 'and why');

# The supervisor that is to take it over comes late.
spew("$work/late", qq(#!/bin/sh\nwhile [ "\$1" != --signal -a ! -e "$work/go" ]; do sleep 0.05; done\nexec "$top/qemu-supervise" "\$@"\n));
chmod 0755, "$work/late";
vmconf_does('start', 'db');
$both = state_of('db');
kill('KILL', $both->{supervisor});
wait_until('unmanaged', sub { state_of('db')->{state} eq 'unmanaged' });
adapter(qq(exec "$top/init/none" "\$@"));
{
	local $ENV{QEMU_SUPERVISE} = "$work/late";
	($stop, $said) = in_background('stop', 'db');
}
wait_until('it is asked for', sub { asked() eq 'start db' });
kill('KILL', $both->{pid});
waitpid($stop, 0);
is($? >> 8, 83, 'QEMU ends before it is taken over: not 0');
is(asked(), 'start db, stop db', 'who was to take it over is called off');
spew("$work/go", '');
wait_until('the late one', sub { log_of('db') =~ /there is no QEMU to take over, and none is to be started: the VM is being stopped\n\z/ });
ok(wait_until('its end', sub { states('db') eq 'crashed' }), 'and has not started it');

# ---- an order that has had its part of a deadline holds nobody up; nor does what quit does not need ----
adapter(qq(exec "$top/init/none" "\$@"));
vmconf_does('set', 'proxy', 'args=[]');
vmconf_does('set', 'db', 'args=["-S"]', 'on=');
vmconf_does('start', 'proxy', 'web2', 'db');
($stop, $said) = in_background('stop', '--all', '--within', '30s');
wait_until('the end of the last order', sub { slurp($said) =~ /^db: stopped/m });
is(states('proxy', 'web2'), 'stopping stopped', 'the first order goes on beside the last one');
my ($left) = log_of('db') =~ /.*all over in (\d+)s/s;
cmp_ok($left, '>', 12, 'whose turn came when the one before was down: of 30 s the first has used 10');
cmp_ok(last_end('db')->{'flush-ms'}, '>=', 0, 'how long QEMU took to end is kept');
kill('QUIT', state_of('proxy')->{supervisor});
waitpid($stop, 0);

spew("$ENV{QEMU_SUPERVISE_STATE_DIR}/proxy/last-end.json", '{"version": 1, "status": 0, "words": "", "ended": 1, "flush-ms": 40}');
vmconf_does('start', 'proxy');
($stop, $said) = in_background('stop', 'proxy', '--within', '60s');
my $ladder;
wait_until('the deadline', sub { $ladder = JSON::PP::decode_json(slurp("$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/proxy/state.json") || "{}")->{ladder}; $ladder && $ladder->{reserve} });
is($ladder->{reserve}, 1080, 'for quit and kill that much is kept, and some more');
kill('QUIT', state_of('proxy')->{supervisor});
waitpid($stop, 0);

# ---- starts that keep their distance ----
adapter(qq(exec "$top/init/none" "\$@"));
vmconf_does('stop', '--all', '--kill');
adapter(qq(exec "$top/init/none" "\$@"));
my ($start, $started) = in_background('start', 'web1', 'web2', '--delay', 'forever');
wait_until('the first one', sub { slurp($started) =~ /^web1: running/ });
is(asked(), 'start web1', '--delay: the next one has to wait');
kill('TERM', $start);
waitpid($start, 0);
vmconf_does('stop', '--kill', 'web1');
adapter(qq(exec "$top/init/none" "\$@"));
is(join(' ', sort map { /^(\w+: running)/ } split(/\n/, vmconf_does('start', 'web1', 'web2', '--delay', '50ms'))),
	'web1: running web2: running', 'and comes when its time has come');
vmconf_does('stop', '--kill', 'web1', 'web2');

# ---- what an init system starts again and again ----
adapter(qq(exec "$top/init/none" "\$@"));
vmconf_does('set', 'db', 'args=["-device", "nonsense"]');
vmconf_fails(69, qr/cannot start db/, 'start', 'db');
like(vmconf_does('stop', 'db'), qr/^db is not running$/, 'between two starts it is down');
is(vmconf_does('stop', '--all'), '', 'which --all need not say');
is(asked(), 'start db, comes-back db, stop db, stop db', 'but the init system is told');
vmconf_does('set', 'db', 'args=["-S"]');
vmconf_does('start', 'db');
vmconf_does('stop', 'db');

# A start that fails while a stop waits for it: the init system may be about to try again.
spew("$work/emulator", qq{#!/bin/sh\ncase "\$*" in *-readconfig*) while [ ! -e "$work/fail" ]; do sleep 0.02; done ;; esac\nexit 1\n});
chmod 0755, "$work/emulator";
vmconf_does('set', 'db', "emulator=$work/emulator", 'machine=q35');
adapter(qq([ "\$1" = stop ] && { >"$work/fail"; exit 0; }\nexec "$top/init/none" "\$@"));
my ($failing) = in_background('start', 'db');
wait_until('a supervisor', sub { state_of('db')->{state} eq 'starting' });
like(vmconf_does('stop', 'db'), qr/^db: stopped/, 'a start that fails while it is stopped');
waitpid($failing, 0);
is($? >> 8, 69, 'the start has failed');
is(scalar(grep { $_ eq 'stop db' } split /, /, asked()), 2, 'and the init system is told not to try again');
vmconf_does('set', 'db', 'emulator=', 'machine=');

# ---- a terminal sees progress ----
adapter(qq(exec "$top/init/none" "\$@"));
vmconf_does('start', 'web1');
my $pty = IO::Pty->new;
my $pid = fork // die "fork: $!";
if ($pid == 0) {
	open(STDERR, '>&', $pty->slave) or POSIX::_exit(126);
	open(STDOUT, '>', '/dev/null');
	exec($vmconf, 'stop', '--within', '300s', 'web1') or POSIX::_exit(127);
}
my $screen = '';
$pty->blocking(0);
wait_until('progress', sub { sysread($pty, $screen, 4096, length $screen); $screen =~ /stopping: 0 of 1\r?\n  web1  powerdown +\d+s, \d+m?\d*s left/ });
ok(1, 'progress on a terminal: the rung, since when, and how long it may take');

# ---- the supervisor dies meanwhile ----
kill('KILL', state_of('web1')->{supervisor});
wait_until('another one', sub { sysread($pty, $screen, 4096, length $screen); slurp("$ENV{QEMU_SUPERVISE_STATE_DIR}/web1/log") =~ /TERM: resuming at powerdown/ });
vmconf_fails(80, qr/web1 is down, but was not shut down/, 'stop', '--within', '1s', 'web1');
wait_until('its end', sub { sysread($pty, $screen, 4096, length $screen); waitpid($pid, POSIX::WNOHANG()) == $pid });
is($? >> 8, 80, 'stop has another one take it over, which goes on');
like($screen, qr/web1 is down, but was not shut down/, 'and waits for its end');

# ---- starts that fail ----
vmconf_does('set', 'web1', "emulator=$work/none/qemu-system-x86_64");
vmconf_fails(127, qr/cannot start web1: cannot execute \S+: No such file or directory \(status 127\); see "vmconf log web1"/, 'start', 'web1');
is(states('web1'), 'stopped', 'one that did not start is stopped');
vmconf_does('set', 'web1', 'emulator=', 'args=["-no-such-option"]');
vmconf_fails(69, qr/cannot start web1: QEMU ended with status 1: -no-such-option: invalid option \(status 69\)/, 'start', 'web1');
like(vmconf_does('log', 'web1'), qr/-no-such-option: invalid option/, 'QEMU\'s own words are in the log');
vmconf_fails(69, qr/cannot start web1/, 'start', 'web1', 'db');
is(states('db'), 'running', 'the other one has');
vmconf_does('stop', 'db');
spew("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/db.json", '{"cpus": "many", "memroy": 1}');
vmconf_fails(78, qr/db\.json: memroy: .*\n.*db\.json: cpus: /, 'start', 'db');
my ($status, $text, $err) = vmconf('create', 'bad', '--set', 'args=["-no-such-option"]', '--set', 'accel=tcg', '--start');
is($status, 69, 'create --start: the status of the start');
ok(definition('bad'), 'and the VM is there');

# ---- adapters that fail ----
vmconf_does('set', 'web1', 'args=["-S"]');
adapter('exit 5');
vmconf_fails(5, qr/web1: the init adapter could not start it \(status 5\)/, 'start', 'web1');
$ENV{QEMU_SUPERVISE_INIT} = "$work/nowhere";
vmconf_fails(127, qr/cannot execute the init adapter \S+nowhere: No such file.*\n.*could not start it/, 'start', 'web1');
adapter('exit 0');
vmconf_fails(1, qr/web1 did not start, and recorded no reason/, 'start', 'web1');

# One that waits for longer than vmconf waits for a supervisor to come, which comes a moment later.
adapter(qq([ "\$1" != start ] || sleep 10.1; (sleep 0.3; exec "$top/init/none" "\$@") & exit 0));
like(vmconf_does('start', 'web1'), qr/^web1: running/, 'an adapter that waits until the supervisor is started');
vmconf_does('stop', 'web1');

# ---- the adapter "none" by itself ----
$ENV{QEMU_SUPERVISE_INIT} = 'none';
$ENV{QEMU_SUPERVISE} ||= "$top/qemu-supervise";
for my $words ([], ['start'], ['fly', 'web1'], ['start', '../web1'], ['start', '-x']) {
	is((run_command("$top/init/none", @$words))[0], 64, "none @$words: a wrong command line");
}
is((run_command("$top/init/none", 'status', 'web1'))[0], 3, 'none status: not supervised');
is((run_command("$top/init/none", 'start', 'web1'))[0], 0, 'none start');
wait_until('running', sub { state_of('web1')->{ready} });
like((run_command("$top/init/none", 'status', 'web1'))[1], qr/^web1: supervised by pid \d+$/, 'none status: supervised');
my $first = state_of('web1')->{supervisor};
is((run_command("$top/init/none", 'restart', 'web1'))[0], 0, 'none restart');
wait_until('another one', sub { my $vm = state_of('web1'); $vm->{ready} && $vm->{supervisor} != $first });
is((run_command("$top/init/none", 'stop', 'web1'))[0], 0, 'none stop');
wait_until('stopped', sub { states('web1') eq 'stopped' });
{
	local $ENV{QEMU_SUPERVISE} = "$work/nowhere";
	is((run_command("$top/init/none", 'start', 'web1'))[0], 127, 'none start without qemu-supervise');
}

done_testing;
