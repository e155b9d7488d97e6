#!/usr/bin/perl
# vmconf where an init adapter hangs, or a supervisor that does not run.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64');

# An adapter that hangs at the verbs, and does the others as "none" does.
sub hangs_at {
	my (@verbs) = @_;
	my $verbs = join('|', @verbs) || '-';
	spew("$work/adapter", <<"SH");
#!/bin/sh
[ "\$1" = list-enabled ] || echo "\$1 \$2" >>"$work/asked"
case \$1 in
$verbs)
	echo \$\$ >"$work/hung"
	exec sleep infinity
	;;
esac
exec "$top/init/none" "\$@"
SH
	chmod 0755, "$work/adapter";
	unlink "$work/asked", "$work/hung";
	$ENV{QEMU_SUPERVISE_INIT} = "$work/adapter";
}

sub asked { return join ', ', split /\n/, slurp("$work/asked") }

sub is_gone {
	my ($pid) = @_;
	return !-e "/proc/$pid" || slurp("/proc/$pid/stat") =~ /\) Z /;
}

sub log_of { return slurp("$ENV{QEMU_SUPERVISE_STATE_DIR}/$_[0]/log") }

# A VM that runs, and whose supervisor does not: what list says of it.
sub with_stuck {
	my ($name) = @_;
	vmconf_does('start', $name);
	my $vm = state_of($name);
	kill('STOP', $vm->{supervisor});
	return $vm;
}

sub both_gone {
	my ($vm, $what) = @_;
	ok(wait_until('the end of both', sub { is_gone($vm->{pid}) && is_gone($vm->{supervisor}) }), "$what: QEMU and its supervisor are gone");
}

vmconf_does('create', $_, quick()) for qw(web1 web2 web3);

# ---- an adapter that hangs ----
$ENV{QEMU_SUPERVISE_PATIENCE} = 'soon';
vmconf_fails(64, qr/QEMU_SUPERVISE_PATIENCE: soon is not a time/, 'enable', 'web1');
delete $ENV{QEMU_SUPERVISE_PATIENCE};
hangs_at();
vmconf_does('start', 'web1', 'web2');
my $vm = state_of('web1');
$ENV{QEMU_SUPERVISE_PATIENCE} = '6s';	# far more than a supervisor needs on a busy machine
hangs_at('stop');
my ($status, $out, $err) = vmconf('stop', 'web1');
is($status, 0, 'stop: the VM is down');
like($out, qr/^web1: stopped: /, 'and that is said');
like($err, qr/^vmconf: web1: the init adapter hangs, and was killed after \d+s\n.*web1: its supervisor, pid $vm->{supervisor}, was sent SIGTERM directly;/, 'and how');
ok(is_gone(slurp("$work/hung") =~ s/\n//r), 'the adapter is gone');
is(asked(), 'stop web1', 'and is not asked again');
both_gone($vm, 'stop');
$vm = state_of('web2');
($status, $out, $err) = vmconf('stop', 'web2', '--kill');
is($status, 0, 'stop --kill needs no adapter');
both_gone($vm, 'stop --kill');

$ENV{QEMU_SUPERVISE_PATIENCE} = '1s';
hangs_at('enable', 'disable', 'is-enabled', 'comes-back', 'check');
vmconf_fails(71, qr/the init adapter hangs: "is-enabled web1" was killed after 1s\n.*"enable web1" was killed after 1s\n/, 'enable', 'web1');
vmconf_fails(71, qr/the init adapter hangs: "disable web1" was killed/, 'disable', 'web1');
vmconf_fails(71, qr/the init adapter hangs: "is-enabled web3" was killed/, 'rename', 'web3', 'web4');
ok(definition('web4') && !definition('web3'), 'it is renamed all the same');
vmconf_fails(71, qr/the init adapter hangs: "is-enabled web4" was killed/, 'delete', 'web4');
ok(!definition('web4'), 'and deleted');
($status, $out, $err) = vmconf('check', 'web1');
like($err, qr/the init adapter hangs: "check web1" was killed/, 'check');

# What it has started keeps its standard output.
spew("$work/adapter", qq(#!/bin/sh\n[ "\$1" = list-enabled ] || exec "$top/init/none" "\$@"\nsleep infinity &\necho \$! >"$work/hung"\nwait\n));
like(vmconf_does('list'), qr/^web1 .* \?$/m, 'list does without');
kill('KILL', slurp("$work/hung") =~ s/\n//r);

hangs_at('log');
vmconf_fails(71, qr/the init adapter hangs: "log web1" was killed/, 'log', 'web1');

hangs_at('start');
vmconf_fails(71, qr/web1: the init adapter hangs, and was killed after \d+s\n.*web1: the init adapter could not start it/, 'start', 'web1', '--within', '1s');

hangs_at();
delete $ENV{QEMU_SUPERVISE_PATIENCE};
vmconf_does('set', 'web1', 'args=["-device", "nonsense"]');
vmconf_fails(69, qr/cannot start web1/, 'start', 'web1');
$ENV{QEMU_SUPERVISE_PATIENCE} = '1s';
hangs_at('comes-back');
($status, $out, $err) = vmconf('status', 'web1');
like($err, qr/the init adapter hangs: "comes-back web1" was killed/, 'status');
hangs_at('stop');
vmconf_fails(71, qr/web1: the init adapter hangs, .*\n.*web1 is not running, and the init adapter could not keep it so/, 'stop', 'web1');
delete $ENV{QEMU_SUPERVISE_PATIENCE};
vmconf_does('set', 'web1', 'args=["-S"]');

# Which adapter it is, is found out by asking ours.
mkdir "$work/$_" for 'prefix', 'prefix/init';
system('cp', $ENV{T_VMCONF} || "$top/vmconf", "$top/qemu-supervise", "$work/prefix/") == 0 or die "cp failed\n";
system('cp', "$top/init/none", "$work/prefix/init/") == 0 or die "cp failed\n";
for my $name ('systemd', 's6') {
	spew("$work/prefix/init/$name", "#!/bin/sh\nexec tail -f /dev/null\n");
	chmod 0755, "$work/prefix/init/$name";
}
{
	local $ENV{QEMU_SUPERVISE_PATIENCE} = '2s';
	delete local $ENV{QEMU_SUPERVISE_INIT};
	($status, $out, $err) = run_command("$work/prefix/vmconf", 'disable', 'web1');
	is($status, 0, 'detect: the next one is asked');
	like($err, qr/the init adapter hangs: "\S+\/systemd detect" was killed after 2s\n.*"\S+\/s6 detect" was killed after 1s\n/, 'and that is said');
}

# ---- a supervisor that does not run ----
hangs_at();
$ENV{QEMU_SUPERVISE_PATIENCE} = '6s';
$vm = with_stuck('web1');
($status, $out, $err) = vmconf('stop', 'web1');
is($status, 0, 'stop of a VM whose supervisor does not run');
like($err, qr/web1: its supervisor, pid $vm->{supervisor}, has not reacted for \d+s; it is killed, and another one is to take the VM over\n/, 'that is said');
like($out, qr/^web1: stopped: /, 'and it is down');
like(log_of('web1'), qr/taking over.*TERM from pid/s, 'the next supervisor has taken it over, and stopped it');
both_gone($vm, 'stop');
like(asked(), qr/^start web1(, list-enabled )?(, stop web1)+, start web1, stop web1$/, 'through the adapter');

$vm = with_stuck('web1');
($status, $out, $err) = vmconf('stop', '--within', '60s', 'web1');
is($status, 0, 'with a deadline');
like($err, qr/web1: its supervisor, pid $vm->{supervisor}, has not reacted for \d+s; it is killed/, 'likewise');
like(log_of('web1'), qr/.*taking over.*deadline from .*all over in \d\ds/s, 'and the next one is told what is left');
both_gone($vm, 'stop --within');

$vm = with_stuck('web1');
vmconf_fails(81, qr/web1: its supervisor, pid $vm->{supervisor}, has not reacted for \d+s; QEMU is killed, and then it\n.*web1 is down, but was not shut down: QEMU was killed by vmconf/,
	'stop', '--within', '2s', 'web1');
both_gone($vm, 'a deadline that is over');

# ---- --kill ----
$vm = with_stuck('web1');
($status, $out, $err) = vmconf('stop', '--kill', 'web1');
is($status, 0, 'stop --kill');
like($err, qr/web1: its supervisor, pid $vm->{supervisor}, has not reacted for \d+s; QEMU is killed, and then it\n/, 'says why');
like($out, qr/^web1: stopped: QEMU was killed by vmconf/, 'and how it ended');
both_gone($vm, 'stop --kill');
like(vmconf_does('status', 'web1'), qr/QEMU was killed by vmconf/, 'as status says');

$vm = with_stuck('web1');
($status, $out, $err) = vmconf('restart', '--kill', 'web1');
is($status, 0, 'restart --kill');
both_gone($vm, 'restart --kill');
ok(state_of('web1')->{ready}, 'and it runs again');
vmconf_does('stop', 'web1');

$vm = with_stuck('web2');
($status, $out, $err) = vmconf('delete', '--kill', 'web2');
is($status, 0, 'delete --kill');
like($err, qr/QEMU is killed, and then it\n/, 'says why');
both_gone($vm, 'delete --kill');
ok(!definition('web2'), 'and deletes it');

# One that has lost its supervisor, and the adapter hangs, too.
vmconf_does('start', 'web1');
$vm = state_of('web1');
kill('KILL', $vm->{supervisor});
wait_until('unmanaged', sub { state_of('web1')->{state} eq 'unmanaged' });
$ENV{QEMU_SUPERVISE_PATIENCE} = '1s';
hangs_at('start', 'stop');
vmconf_fails(71, qr/web1: the init adapter hangs, .*\n.*web1 runs without a supervisor, and the init adapter could not start one/, 'stop', 'web1');
($status, $out, $err) = vmconf('stop', '--kill', 'web1');
is($status, 0, 'stop --kill needs neither');
both_gone($vm, 'without both');

# ---- one that runs is left alone, however long its ladder ----
hangs_at();
vmconf_does('set', 'web1', 'args=[]', 'boot-timeout=1s', 'on.TERM=powerdown 8s, quit 5s, kill');
vmconf_does('start', 'web1');
$ENV{QEMU_SUPERVISE_PATIENCE} = '6s';
($status, $out, $err) = vmconf('stop', 'web1');
is($status, 80, 'its ladder is climbed to its end');
unlike($err, qr/has not reacted/, 'and nobody is killed');

done_testing;
