#!/usr/bin/perl
# vmconf ssh, ip and ssh-config: into a real guest by a forwarded port, with host keys of its own, and by what an agent or the host's
# neighbours tell; and what is said where nothing leads there.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;

need('qemu-system-x86_64', 'qemu-img', 'socat', 'ssh', 'ssh-agent', 'ssh-add', 'ssh-keygen', 'ip', 'script');

my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $guest = T::ssh_guest_files();
my $users = (getpwuid $>)[7] . '/.ssh/known_hosts';
my $before = slurp($users);

# ---- a key that only an agent has ----
run_command('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', "$work/key");
my (undef, $key) = split / /, slurp("$work/key.pub");
delete @ENV{qw(SSH_AUTH_SOCK SSH_AGENT_PID)};
my ($agent) = (run_command('ssh-agent', '-a', "$work/ssh-agent"))[1] =~ /SSH_AGENT_PID=(\d+)/;
$ENV{SSH_AUTH_SOCK} = "$work/ssh-agent";
END { kill('TERM', $agent) if $agent }
is((run_command('ssh-add', '-q', "$work/key"))[0], 0, 'a key');

sub create {
	my ($name, $words, @options) = @_;
	vmconf_does('create', $name, '--memory', '256M', '--set', 'accel=tcg', '--set', "kernel=$guest/vmlinux", '--set', "initrd=$guest/initrd-ssh",
		'--set', 'append=' . T::ssh_guest_append($key, @$words), @options);
}

sub runs {
	my ($expected, $out, @words) = @_;
	my ($status, $got, $err) = vmconf('ssh', @words);
	is_deeply([$status, $got], [$expected, $out], "vmconf ssh @words") or diag($err);
	return $err;
}

# ---- a user network, while the guest boots ----
create('web', ['wait=2'], '--start');
my ($port) = definition('web')->{forwards}[0] =~ /^(\d+)\+:22$/;
runs(0, "hello\n", 'web', '-l', 'root', '--', 'echo', 'hello');
runs(7, '', 'web', '--user', 'root', '--', 'exit 7');
like(slurp("$state/web/known_hosts"), qr/^web ssh-\S+ \S+$/m, 'host keys by its name, in its state directory');
is(slurp($users), $before, "and not in the user's file");
is(vmconf_does('ip', 'web'), "127.0.0.1:$port\n", 'ip: the port that leads there');
my $stanza = vmconf_does('ssh-config', 'web', '-l', 'root');
like($stanza, qr/^Host web\n    HostName 127\.0\.0\.1\n    Port $port\n    HostKeyAlias web\n/, 'ssh-config');
my ($status, $out) = run_command('ssh', '-F', spew("$work/ssh_config", $stanza), 'web', 'echo by stanza');
is_deeply([$status, $out], [0, "by stanza\n"], 'which ssh understands');
spew("$state/web/known_hosts", slurp("$state/web/known_hosts") =~ s/ssh-ed25519 \S+/'ssh-ed25519 ' . (split ' ', slurp("$work\/key.pub"))[1]/er);
my $err = runs(255, '', 'web', '-l', 'root', '--', 'echo', 'hello');
like($err, qr/REMOTE HOST IDENTIFICATION HAS CHANGED/, 'another key than before is refused');
mkdir "$work/empty";
{
	local $ENV{PATH} = "$work/empty";
	vmconf_fails(69, qr/^vmconf: ssh is not installed; /m, 'ssh', 'web');
}
like($stanza, qr/^    User root$/m, 'the user of -l');
unlike(vmconf_does('ssh-config', 'web'), qr/User /, 'else none: ssh decides');
vmconf_does('stop', '--kill', 'web');
vmconf_fails(1, qr/web is not running/, 'ssh', 'web', '--', 'true');
vmconf_fails(1, qr/web is not running/, 'ip', 'web');
is(vmconf_does('ssh-config', 'web', '-l', 'root'), $stanza, 'ssh-config of one that is down');
SKIP: {
	skip('there is no key cloud-init', 2) if (vmconf('set', 'web', 'cloud-init.user=somebody'))[0] != 0;
	like(vmconf_does('ssh-config', 'web'), qr/^    User somebody$/m, 'the user of cloud-init');
	is(vmconf_does('ssh-config', 'web', '-l', 'root'), $stanza, 'unless -l names another one');
}
vmconf_does('delete', 'web');
ok(!-e "$state/web", 'its host keys are gone with it');

# ---- QEMU's own words, a port that QEMU chose, and a server that says nothing ----
create('mute', ['mute=1'], '--nic', 'user,hostfwd=tcp:127.0.0.1:0-:22', '--start');
like(vmconf_does('ip', 'mute', '--timeout', '60s'), qr/^127\.0\.0\.1:[1-9]\d*$/, 'a port that QEMU chose');
vmconf_fails(1, qr/^vmconf: mute: no ssh server answers on 127\.0\.0\.1 port \d+ after 2s$/m, 'ssh', 'mute', '--timeout', '2s', '--', 'true');
like((run_command('script', '-qec', "exec '" . ($ENV{T_VMCONF} || "$top/vmconf") . "' ssh mute --timeout 3s", '/dev/null'))[1],
	qr/mute: waiting for ssh on 127\.0\.0\.1 port \d+, \ds/, 'a terminal shows that it waits');
vmconf_does('stop', '--kill', 'mute');

# ---- nothing leads there ----
vmconf_does('create', 'shut', quick('--nic', 'user', '--forward', 'none'), '--start');
vmconf_fails(1, qr/^vmconf: shut cannot be reached: it is in a user network, and no port leads to its port 22; /m, 'ssh', 'shut', '--', 'true');
vmconf_does('stop', '--kill', 'shut');
vmconf_fails(1, qr/^vmconf: there is no VM nobody/, $_, 'nobody') for 'ssh', 'ip', 'ssh-config';

# ---- a directory whose name ssh would take apart ----
{
	local @ENV{qw(QEMU_SUPERVISE_STATE_DIR QEMU_SUPERVISE_CONFIG_DIR)} = (qq($work/a%h "b\\c), "$work/odd");
	vmconf_does('create', 'odd', quick('--nic', 'user'));
	my ($parsed, $settings) = run_command('ssh', '-G', '-F', spew("$work/odd_config", vmconf_does('ssh-config', 'odd')), 'odd');
	is($parsed, 0, 'ssh takes the stanza');
	chmod(0777, "$ENV{QEMU_SUPERVISE_STATE_DIR}/odd");
	my ($others, $printed, $why) = vmconf('ssh-config', 'odd');
	is("$others$printed", '1', 'where others may write, there is none');
	like($why, qr/^vmconf: \Q$ENV{QEMU_SUPERVISE_STATE_DIR}\E\/odd: the host keys of odd are not kept there: /, 'and it is told why');
	like($settings, qr/^userknownhostsfile \Q$ENV{QEMU_SUPERVISE_STATE_DIR}\E\/odd\/known_hosts$/m, 'and finds the file in it');
}
vmconf_fails(64, qr/--timeout/, 'ssh', 'shut', '--timeout', 'soon');

# ---- an agent, whose address in a user network is none ----
my %nics = (nics => [{ type => 'user', mac => '52:54:00:00:00:01' }, { type => 'tap', mac => '52:54:00:00:00:02' }]);
T::define('told', { %{ T::fake_definition("$work/told.qemu", fake_qemu()) }, %nics });
my $told = running(vm => 'told');
$told->fake(set => { 'agent-returns' => { 'guest-network-get-interfaces' => JSON::PP::encode_json([
	map { { 'hardware-address' => $_->[0], 'ip-addresses' => [map { { 'ip-address' => $_ } } @$_[1 .. $#$_]] } }
	['00:00:00:00:00:00', '127.0.0.1'], ['52:54:00:00:00:01', '10.0.2.15'], ['52:54:00:00:00:02', 'fe80::1', '2001:db8::2', '192.0.2.7'], ['02:42:ac:11:00:01', '172.17.0.1']]) } });
is(vmconf_does('ip', 'told'), "192.0.2.7\n", 'ip: what the agent tells of a network that is not the user network');
$told->signal('QUIT');
$told->end;

# ---- a bridge, in a network of its own ----
SKIP: {
	skip('another network needs root', 3) if $> != 0 || !-e '/dev/net/tun' || syscall(272, 0x40000000) != 0;	# unshare(CLONE_NEWNET)
	my $bridge = system(join ' && ', 'ip link set lo up', 'ip link add br0 type bridge', 'ip addr add 192.0.2.1/24 dev br0', 'ip link set br0 up',
		'ip tuntap add tap0 mode tap', 'ip link set tap0 master br0 up') == 0;
	skip('no bridge can be made here', 3) if !$bridge && !$ENV{T_NO_SKIP};
	create('near', ['address=192.0.2.9/24', 'peer=192.0.2.1'], '--nic', 'tap,ifname=tap0,script=no,downscript=no', '--start');
	is(vmconf_does('ip', 'near', '--timeout', '120s'), "192.0.2.9\n", 'ip: a neighbour with its MAC');
	runs(3, "near\n", 'near', '-l', 'root', '--', 'echo near; exit 3');
	vmconf_does('stop', '--kill', 'near');
	vmconf_does('delete', 'near');
}

done_testing;
