#!/usr/bin/perl
# vmconf enable and disable, and which adapter is asked: adapters that write down what they are asked for.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need('qemu-system-x86_64');

my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";
my $none = "$top/init/none";

# An adapter that keeps what is enabled as files, after what the script says.
sub adapter {
	my ($path, $script) = @_;
	spew($path, <<"SH");
#!/bin/sh
echo "\${0##*/} \$*" >>"$work/asked"
$script
case \$1 in
enable) : >"$work/enabled.\$2" ;;
disable) rm -f "$work/enabled.\$2" ;;
is-enabled) [ -e "$work/enabled.\$2" ] || exit 3 ;;
list-enabled) cd "$work" && for f in enabled.*; do [ ! -e "\$f" ] || echo "\${f#enabled.}"; done | sort -r ;;
*) exec "$none" "\$@" ;;
esac
SH
	chmod 0755, $path;
	return $path;
}

sub asked {
	my $asked = slurp("$work/asked");
	unlink "$work/asked";
	return join ', ', split /\n/, $asked;
}

# ---- enable, disable ----
vmconf_does('create', $_, quick()) for qw(web1 web2);
$ENV{QEMU_SUPERVISE_INIT} = adapter("$work/init", '');
is(vmconf_does('enable', 'web1', 'web2'), "web1: enabled\nweb2: enabled\n", 'enable says what it has done');
is(asked(), 'init is-enabled web1, init enable web1, init is-enabled web2, init enable web2', 'through the adapter');
is(vmconf_does('enable', 'web1'), "web1 is enabled already\n", 'enable again: a hint');
is(vmconf_does('disable', 'web2'), "web2: disabled\n", 'disable');
is(vmconf_does('disable', 'web2'), "web2 is not enabled\n", 'disable again: a hint');
asked();
vmconf_fails(1, qr/there is no VM web3 .*; did you mean "web[12]"\?/, 'enable', 'web2', 'web3');
vmconf_fails(64, qr/cannot be the name of a VM/, 'disable', '../web1');
vmconf_fails(64, qr/usage: vmconf enable NAME\.\.\./, 'enable');
is(asked(), '', 'nothing is done unless all of them are known');
spew("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/bad.json", '{ "cpus": "many" }');
vmconf_fails(78, qr/bad\.json: cpus: /, 'enable', 'bad');
is(vmconf_does('disable', 'bad'), "bad is not enabled\n", 'a broken one can be disabled');
unlink "$ENV{QEMU_SUPERVISE_CONFIG_DIR}/bad.json";

# ---- what an adapter is told of a VM that it is to check ----
{
	local $ENV{QEMU_SUPERVISE_INIT} = adapter("$work/checks", qq([ "\$1" != check ] || echo "\$2 \$QEMU_SUPERVISE_STOP_TIME" >>"$work/times"));
	vmconf_does('set', 'web1', 'boot-timeout=10s', 'on.TERM=powerdown 50s, quit 5s, kill');
	vmconf_does('set', 'web2', 'on.TERM=powerdown forever');
	vmconf_does('check', 'web1', 'web2');
	is(slurp("$work/times"), "web1 95\nweb2 forever\n", 'how long a stop may take: until the guest is up, the ladder, and a flush');
	vmconf_does('set', 'web1', 'boot-timeout=', 'on=');
	vmconf_does('set', 'web2', 'on=');
	asked();
}

# ---- which are ----
sub is_told {
	my ($enabled, $order, $boot, $what) = @_;
	my $status = JSON::PP::decode_json(vmconf_does('status', 'web1', '--json'));
	for ([list => state_of('web1')], [status => $status]) {
		my ($of, $vm) = @$_;
		is_deeply([@$vm{qw(enabled order)}], [$enabled, $order], "$what: $of --json tells");
	}
	like(vmconf_does('list'), qr/^NAME .* BOOT\n(?:.*\n)*web1 .* \Q$boot\E$/m, "$what: list, too");
}

my ($yes, $no) = (JSON::PP::true(), JSON::PP::false());
vmconf_does('set', 'web1', 'order=-7');
is_told($yes, -7, '-7', 'enabled');
like(vmconf_does('status', 'web1'), qr/^boot +started by the host, order -7$/m, 'and status');
unlink "$work/asked";
vmconf_does('list');
is(asked(), 'init list-enabled', 'the adapter is asked once for all');
is(vmconf_does('is-enabled', 'web1'), "web1: enabled\n", 'is-enabled');
is_deeply([(vmconf('is-enabled', 'web1', 'web2'))[0, 1]], [3, "web1: enabled\nweb2: not enabled\n"], 'of which one is not');
vmconf_fails(1, qr/there is no VM web7/, 'is-enabled', 'web7');
vmconf_does('enable', 'web2');
is_told($yes, -7, '-7', 'enabled with another one, in whatever order the adapter tells them');
is(state_of('web2')->{enabled}, $yes, 'which is told, too');
vmconf_does('disable', 'web2');
vmconf_does('disable', 'web1');
is_told($no, -7, '-', 'disabled');
like(vmconf_does('status', 'web1'), qr/^boot +not started by the host, order -7$/m, 'and status');
adapter("$work/init", 'case $1 in *-enabled) exit 64 ;; esac');
is_told(undef, -7, '?', 'an adapter that cannot tell');
unlike(vmconf_does('status', 'web1'), qr/^boot/m, 'status leaves it out');
vmconf_fails(64, qr/web1: the init adapter does not know whether it is enabled \(status 64\)/, 'is-enabled', 'web1');
adapter("$work/init", '');
vmconf_does('enable', 'web1');
spew("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/bad.json", '{ "cpus": "many" }');
is(state_of('bad')->{order}, undef, 'a broken definition has no order');
unlink "$ENV{QEMU_SUPERVISE_CONFIG_DIR}/bad.json";
{
	local $ENV{QEMU_SUPERVISE_CONFIG_DIR} = "$work/empty";
	is_deeply([vmconf('list')], [0, '', "vmconf: there is no VM in $work/empty\n"], 'where there is none, list says where it looked');
	is((vmconf('list', '--json'))[2], '', 'not to a program');
}
SKIP: {
	skip('to be another user takes root', 1) if $> != 0;
	my @user = ('setpriv', '--reuid', '65534', '--clear-groups', 'env', '-u', 'QEMU_SUPERVISE_CONFIG_DIR', '-u', 'XDG_CONFIG_HOME', 'HOME=/nonexistent');
	system('cp', $vmconf, "$work/theirs") == 0 or die "cp failed\n";
	chmod 0755, $work, "$work/theirs";
	is((run_command(@user, "$work/theirs", 'list'))[2],
		"vmconf: there is no VM in /nonexistent/.config/qemu-supervise; root's are in /etc/qemu-supervise\n", 'as another user, where else there may be some');
}

# ---- with create, rename, delete ----
is(vmconf_does('create', 'web3', quick('--enable', '--start')) =~ s/\(.*\)/(...)/r, "web3: enabled\nweb3: running (...)\n", 'create --enable --start');
vmconf_does('stop', 'web3');
is(vmconf_does('rename', 'web3', 'web4'), "web4: enabled\nweb3: disabled\n", 'rename takes it along');
ok(-e "$work/enabled.web4" && !-e "$work/enabled.web3", 'and it is so');
is(vmconf_does('rename', 'web2', 'web3'), '', 'what was not enabled is not');
is(vmconf_does('delete', 'web4'), "web4: disabled\n", 'delete leaves nothing enabled behind');
is(vmconf_does('delete', 'web3'), '', 'and says nothing where nothing was');

# ---- adapters that fail, or are older ----
adapter("$work/init", '[ "$1" != enable ] || exit 7');
vmconf_fails(7, qr/web5: the init adapter could not enable it \(status 7\)/, 'create', 'web5', quick('--enable'));
ok(definition('web5'), 'and the VM is there');
adapter("$work/init", '[ "$2" != web1 ] || exit 9');
vmconf_fails(9, qr/web1: the init adapter could not enable it/, 'enable', 'web1', 'web5');
ok(-e "$work/enabled.web5", 'the next one is enabled all the same');
adapter("$work/init", '[ "$1" != is-enabled ] || exit 64');
is(vmconf_does('enable', 'web5'), "web5: enabled\n", 'one that cannot tell is asked to do it');
$ENV{QEMU_SUPERVISE_INIT} = "$work/nowhere";
vmconf_fails(127, qr/cannot execute the init adapter \S+nowhere: No such file/, 'enable', 'web1');

# ---- the base of a linked clone ----
$ENV{QEMU_SUPERVISE_INIT} = adapter("$work/init", '');
vmconf_does('create', 'base', quick('--disk', '1M'));
(undef, undef, my $said) = vmconf('clone', 'base', 'linked', '--linked');
unlike($said, qr/still tries/, 'one that is not enabled is not started at boot');
vmconf_does('enable', 'base');
(undef, undef, $said) = vmconf('clone', 'base', 'linked2', '--linked');
like($said, qr/base is not started any more while there is linked2; the host still tries to, at its boot \(vmconf disable\)/, 'one that is enabled is told of');
vmconf_does('delete', 'linked', 'linked2', 'base');

# ---- none ----
$ENV{QEMU_SUPERVISE_INIT} = 'none';
vmconf_fails(1, qr/^none: web1 cannot be started at boot: no init system that is known runs here; write a service.*\n/, 'enable', 'web1');
is(vmconf_does('disable', 'web1'), "web1 is not enabled\n", 'none disable');
is((run_command($none, 'disable', 'web1'))[0], 0, 'which is a success of the adapter, too');
is((run_command($none, 'detect'))[0], 0, 'none detect');
is_deeply([(run_command($none, 'list-enabled'))[0, 1]], [0, ''], 'none has none');

# ---- those that keep it in directories ----
for my $suite (qw(runit s6)) {
	local $ENV{QEMU_SUPERVISE_SERVICE_DIR} = "$work/$suite";
	local $ENV{QEMU_SUPERVISE_SCAN_DIR} = "$work/$suite-scan";
	mkdir $_ for "$work/$suite", "$work/$suite-scan", map { "$work/$suite/vm-$_" } qw(on off theirs);
	mkdir "$work/$suite-scan/vm-theirs";
	spew("$work/$suite/vm-off/down", '');
	spew("$work/$suite-scan/vm-theirs/down", '');
	is_deeply([(run_command("$top/init/$suite", 'list-enabled'))[0, 1]], [0, "on\n"], "$suite list-enabled, as is-enabled has it");
	is((run_command("$top/init/$suite", 'is-enabled', $_->[0]))[0], $_->[1], "$suite is-enabled $_->[0]") for ['on', 0], ['off', 3], ['theirs', 3];
}

# ---- which one is asked ----
mkdir $_ for "$work/bin", "$work/bin/init";
system('cp', $vmconf, $ENV{T_SUPERVISE} || "$top/qemu-supervise", "$work/bin/") == 0 or die "cp failed\n";
$ENV{T_VMCONF} = "$work/bin/vmconf";
my @ours = qw(systemd s6 runit openrc none);

# The adapters beside that vmconf, of which some say that their init system runs.
sub running_are {
	my (@running) = @_;
	for my $name (@ours) {
		my $runs = (grep { $_ eq $name } @running) ? 0 : 1;
		adapter("$work/bin/init/$name", "[ \"\$1\" != detect ] || exit $runs");
	}
	asked();
}

delete $ENV{QEMU_SUPERVISE_INIT};
running_are(qw(runit openrc));
vmconf_does('disable', 'web1');
is(asked(), 'systemd detect, s6 detect, runit detect, runit is-enabled web1, runit disable web1', 'the first that says so, found out once');
running_are();
vmconf_does('disable', 'web1', 'web5');
is(asked(), join(', ', map({ "$_ detect" } @ours[0 .. 3]), 'none is-enabled web1', 'none is-enabled web5', 'none disable web5'), 'else none');
running_are('openrc');
unlink "$work/bin/init/$_" for qw(systemd s6 runit);
vmconf_does('disable', 'web1');
is(asked() =~ s/,.*//r, 'openrc detect', 'one that is not there is not asked');
for my $word (qw(systemd s6)) {
	running_are('runit');
	$ENV{QEMU_SUPERVISE_INIT} = $word;
	vmconf_does('disable', 'web1');
	is(asked(), "$word is-enabled web1", "QEMU_SUPERVISE_INIT=$word: nobody is asked");
}
$ENV{QEMU_SUPERVISE_INIT} = '';
delete $ENV{QEMU_SUPERVISE};
adapter("$work/bin/init/runit", qq(echo "\$QEMU_SUPERVISE_INIT; \$QEMU_SUPERVISE; \$QEMU_SUPERVISE_CONFIG_DIR" >"$work/environment"));
vmconf_does('disable', 'web1');
is(slurp("$work/environment"), "$work/bin/init/runit; $work/bin/qemu-supervise; $work/config\n", 'what the adapter is told');

# ---- started by one that ignores and blocks SIGCHLD ----
spew("$work/ignoring", <<"PERL");
#!$^X
use POSIX ();
POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new(POSIX::SIGCHLD()));
\$SIG{CHLD} = 'IGNORE';
alarm(60);	# once it waited for ever
exec('$vmconf', \@ARGV) or die;
PERL
spew("$work/bin/qemu-img", "#!/bin/sh\nexit 1\n");
chmod 0755, "$work/ignoring", "$work/bin/qemu-img";
{
	local $ENV{T_VMCONF} = "$work/ignoring";
	local $ENV{QEMU_SUPERVISE_INIT} = adapter("$work/fails", '[ $1 != start ] && [ $1 != enable ] || exit 3');
	vmconf_fails(3, qr/web1/, 'start', 'web1', '--within', '5s');
	vmconf_fails(3, qr/./, 'enable', 'web1');
	local $ENV{PATH} = "$work/bin:$ENV{PATH}";
	vmconf_fails(1, qr/qemu-img failed with status 1\n.*nodisk was not created/, 'create', 'nodisk', '--disk', '1M');
}

done_testing;
