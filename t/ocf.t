#!/usr/bin/perl
# The resource agent of Pacemaker, examples/pacemaker/qemu-supervise, without a cluster: each action in each state of a VM,
# with the environment that Pacemaker gives. t/pacemaker.t has a cluster.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use T;

need(qw(qemu-system-x86_64 qemu-img mke2fs dumpe2fs dash bash unshare findmnt xmllint apt-get));
need_that('the test runs as root', sub { $> == 0 });
need_that('unshare --pid works', sub { (run_command('unshare', '--pid', '--fork', '--mount-proc', 'true'))[0] == 0 });

my $agent = "$top/examples/pacemaker/qemu-supervise";
my ($success, $generic, $args, $unimplemented, $installed, $configured, $not_running) = (0, 1, 2, 3, 5, 6, 7);
my $shell;

# What it finds before anything else.
mkdir "$work/$_" for qw(bin fake);
symlink($ENV{T_VMCONF} || "$top/vmconf", "$work/bin/vmconf");
symlink($ENV{T_SUPERVISE} || "$top/qemu-supervise", "$work/bin/qemu-supervise");
our $path = "$work/bin:$ENV{PATH}";

sub fake { # PROGRAM => TEXT: what it prints
	my (%programs) = @_;
	unlink glob("$work/fake/*");
	for my $name (keys %programs) {
		chmod(0755, spew("$work/fake/$name", "#!/bin/sh\necho '$programs{$name}'\n"));
	}
}

# Runs an action: status, errors, seconds. Upper-case names are other variables; timeout and interval are in ms.
sub action {
	my ($action, %o) = @_;
	my %env = (OCF_ROOT => '/usr/lib/ocf', OCF_RESKEY_CRM_meta_timeout => $o{timeout} // 60000,
		OCF_RESKEY_CRM_meta_interval => $o{interval} // 0, OCF_RESKEY_name => $o{name} // 'web', PATH => "$work/fake:$path");
	delete $env{OCF_RESKEY_CRM_meta_timeout} if exists $o{timeout} && !defined $o{timeout};
	$env{OCF_RESKEY_locks} = $o{locks} if $o{locks};
	$env{$_} = $o{$_} for grep { /^[A-Z]/ } keys %o;
	local @ENV{keys %env} = values %env;
	delete local $ENV{QEMU_SUPERVISE_INIT} unless $o{QEMU_SUPERVISE_INIT};
	my $began = time;
	my ($status, undef, $err) = run_command(@{ $o{prefix} || [] }, $shell, $agent, $action);
	return ($status, $err, time - $began);
}

# The same, with what is expected. Returns the errors.
sub does {
	my ($action, $expected, $what, %o) = @_;
	my ($status, $err) = action($action, %o);
	is($status, $expected, "$action: $what") or diag($err);
	return $err;
}

sub gone { return !kill(0, $_[0]) || slurp("/proc/$_[0]/stat") =~ /\) Z / }

sub killed { # its supervisor, or its QEMU
	my ($which, $name) = @_;
	my $pid = state_of($name)->{$which};
	kill('KILL', $pid);
	wait_until("the end of the $which", sub { gone($pid) });
	return $pid;
}

sub parameters {
	like(does('monitor', $configured, 'without a name', name => ''), qr/^ocf-exit-reason:the parameter name is missing$/m, 'says so');
	does('start', $configured, "a name that is none", name => $_) for '-web', 'web/../db', "web\nx";
	does('start', $configured, 'locks', locks => 'maybe');
	does('frobnicate', $unimplemented, 'an unknown action');
	local $path = '/usr/bin:/bin';
	my %lost = (prefix => [qw(unshare --mount sh -c), 'mount -t tmpfs none /usr/local && exec "$@"', 'sh']);
	like(does($_, $installed, 'without the programs', %lost), qr/vmconf is not installed/, 'which it says') for qw(start stop monitor validate-all);
	does('meta-data', $success, 'nevertheless', %lost);
}

sub no_definition {
	like(does('start', $args, 'without a definition'), qr/there is no definition .*config\/web.json on this node/, 'says so');
	does('validate-all', $args, 'without a definition');
	does('monitor', $not_running, 'without a definition', interval => 10000);
	does('reload', $not_running, 'without a definition');
	does('stop', $success, 'without a definition');
	T::define('web', { memroy => 1 });
	like(does('start', $args, 'a bad definition'), qr/^ocf-exit-reason:.*memroy/m, 'says why') or diag(state_of('web')->{reason});
	does('validate-all', $args, 'a bad definition');
	does('monitor', $not_running, 'a bad definition');
	does('stop', $success, 'a bad definition');
	T::define('web', { emulator => '/nowhere/qemu' });
	does('start', $installed, 'no QEMU');
	unlink("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/web.json");
}

sub life {
	does('monitor', $not_running, 'not started', interval => $_) for 0, 10000;
	does('stop', $success, 'not started');
	does('start', $success, 'it starts');
	my $vm = state_of('web');
	is($vm->{state}, 'running', 'and runs');
	does('start', $success, 'started already');
	is(state_of('web')->{pid}, $vm->{pid}, 'it is the same');
	does('monitor', $success, 'running', interval => $_) for 0, 10000;
	does('reload', $success, 'running');
	wait_until('reexec', sub { slurp("$ENV{QEMU_SUPERVISE_STATE_DIR}/web/log") =~ /reexec: done/ });
	is_deeply([@{ state_of('web') }{qw(pid supervisor)}], [@$vm{qw(pid supervisor)}], 'reload: neither pid changes');
	vmconf_does('qmp', 'web', $_->[0]) && wait_until($_->[0], sub { state_of('web')->{state} eq $_->[1] })
		&& does('monitor', $success, $_->[1], interval => 10000) for ['cont', 'running'], ['stop', 'paused'];
	does('stop', $success, 'it stops');
	is(state_of('web')->{state}, 'cut-off', 'and is down, as there is no guest that hears the button');
	ok(gone($vm->{pid}), 'QEMU, too');
	does('stop', $success, 'again');
	does($_, $not_running, 'cut off', interval => 10000) for qw(monitor reload);
}

sub crashes {
	does('start', $success, 'started');
	killed('pid', 'web');
	wait_until('crashed', sub { state_of('web')->{state} eq 'crashed' });
	like(does('monitor', $generic, 'crashed', interval => 10000), qr/^ocf-exit-reason:web is crashed: QEMU/m, 'and says why');
	does('monitor', $not_running, 'a probe: crashed before the cluster looked');
	does('monitor', $not_running, 'where it is not to run', interval => 11000, OCF_RESKEY_CRM_meta_role => 'Stopped');
	does('stop', $success, 'crashed');
	does('start', $success, 'crashed');
	# With its supervisor: nobody saw its end.
	killed($_, 'web') for qw(supervisor pid);
	does('monitor', $generic, 'killed with its supervisor', interval => 10000);
	is(state_of('web')->{state}, 'crashed', 'and monitor did not start it');
	# It still ran when monitor looked.
	my $real = $ENV{T_VMCONF} || "$top/vmconf";
	chmod(0755, spew("$work/fake/vmconf", <<EOT));
#!/bin/sh
if [ "\$1" = list ] && [ ! -e $work/looked ]; then
	: >$work/looked
	echo '"state": "unmanaged",'
else
	exec $real "\$@"
fi
EOT
	does('monitor', $generic, 'it ended when it was to be taken over', interval => 10000);
	is(state_of('web')->{state}, 'crashed', 'and was not started');
	unlink("$work/looked");
	fake();
	does('start', $success, 'killed with its supervisor');
}

# The VM runs.
sub orphans {
	my $qemu = state_of('web')->{pid};
	for my $action (qw(monitor start reload)) {
		my $supervisor = killed('supervisor', 'web');
		wait_until('unmanaged', sub { state_of('web')->{state} eq 'unmanaged' });
		like(does($action, $success, 'its supervisor is gone', interval => 10000), qr/its supervisor is gone; another one takes it over/, 'and says so');
		my $vm = state_of('web');
		is("$vm->{state} $vm->{pid}", "running $qemu", "$action: the same QEMU");
		ok($vm->{supervisor} && $vm->{supervisor} != $supervisor, 'under another supervisor');
	}
	killed('supervisor', 'web');
	does('stop', $success, 'its supervisor is gone', timeout => undef);
	is(state_of('web')->{state}, 'stopped', 'it was shut down');
	ok(gone($qemu), 'and is gone');
}

# Another host that shares the state directory, and nothing else.
sub elsewhere {
	does('start', $success, 'here');
	my ($vm, $boot) = (state_of('web'), spew("$work/boot_id", "00000000-1111-2222-3333-444444444444\n"));
	my %there = (QEMU_SUPERVISE_RUNTIME_DIR => "$work/run2", prefix => [qw(unshare --mount --pid --fork --mount-proc sh -c),
		"mount --bind $boot /proc/sys/kernel/random/boot_id && exec \"\$@\"", 'sh']);
	does('monitor', $not_running, 'on the other host', %there, interval => $_) for 0, 10000;
	does('stop', $success, 'on the other host', %there);
	like(does('start', $generic, 'on the other host', %there), qr/^ocf-exit-reason:web is elsewhere: another host runs it$/m, 'is refused');
	killed('supervisor', 'web');
	does('monitor', $not_running, 'on the other host, without a supervisor here', %there, interval => 10000);
	does('monitor', $success, 'here', interval => 10000);
	is(state_of('web')->{pid}, $vm->{pid}, 'which has done nothing to it');
	killed($_, 'web') for qw(supervisor pid);
	does('start', $success, 'on the other host, when this one is gone', timeout => 20000, %there);
	does('stop', $success, 'a pid namespace ends with its first process', timeout => 20000);
}

# Guests that run: one goes down, one does not and is cut off when its time is over.
sub guests {
	my %guest = map { $_ => { disk => make_disk(), console => "$work/$_.console" } } qw(normal ignore);
	T::define($_, { %{ T::guest_definition($_, %{ $guest{$_} }) }, agent => JSON::PP::false(), ready => 'listening' }) for keys %guest;
	does('start', $success, 'ready when the guest listens', name => 'normal', timeout => 200000);
	like(slurp($guest{normal}{console}), qr/guest: up/, 'which it does');
	does('stop', $success, 'a guest', name => 'normal', timeout => 400000);
	ok(disk_is_clean($guest{normal}{disk}), 'its file system is clean');
	does('start', $success, 'one that does not obey', name => 'ignore', timeout => 200000);
	my ($status, $err, $took) = action('stop', name => 'ignore', timeout => 8000);
	is($status, $success, 'stop: one that does not obey is down') or diag($err);
	cmp_ok($took, '<', 100, 'long before its ladder of 220 s is over');
	like(slurp("$ENV{QEMU_SUPERVISE_STATE_DIR}/ignore/log"), qr/all over in 6s/, 'the supervisor has the time of the action, less a margin');
	like($err, qr/ignore is down, but was not shut down/, 'and it says how');
	is(state_of('ignore')->{state}, 'cut-off', 'it was cut off');
	does('monitor', $not_running, 'cut off', name => 'ignore', interval => 10000);
	unlink(map { "$ENV{QEMU_SUPERVISE_CONFIG_DIR}/$_.json" } keys %guest);
}

sub validate {
	my $local = qr/fencing must work: \S+state\/web is on \S+, which is local, or not known to have locks that hold across hosts/;
	like(does('validate-all', $success, 'on a local file system'), $local, 'names what it doubts');
	like(does('validate-all', $success, 'on a local file system'), qr{fencing must work: \S+/web/root.qcow2 is on}, 'the disk, too');
	is(does('validate-all', $success, 'you know better', locks => 'hold'), '', 'nothing to say');
	fake(crm_attribute => 'false');
	like(does($_, $configured, 'without fencing'), qr/^ocf-exit-reason:web: fencing must be enabled \(stonith-enabled\): /m, 'is refused') for qw(validate-all start);
	is(does('validate-all', $success, 'you know better', locks => 'hold'), '', 'nothing to say');
	fake(crm_attribute => 'false', findmnt => 'nfs4 rw,relatime,vers=4.2,local_lock=none,addr=10.0.0.1');
	is(does('validate-all', $success, 'NFS'), '', 'has locks that hold across hosts');
	for my $mount ('nfs rw,vers=3,nolock,hard', 'nfs4 rw,local_lock=all', 'nfs rw,vers=3,local_lock=posix', 'gfs2 rw,localflocks') {
		fake(crm_attribute => 'true', findmnt => $mount);
		like(does('validate-all', $success, $mount), qr/mounted with locks that hold on one host/, 'has not');
	}
	fake();
	my $init = spew("$work/init", qq{#!/bin/sh\n[ "\$1" = is-enabled ] || exit 3\n});
	chmod(0755, $init);
	like(does('validate-all', $configured, 'the init system starts it', QEMU_SUPERVISE_INIT => $init), qr/starts web, too; vmconf disable web/, 'and says so');
}

for my $which (qw(dash bash)) {
	$shell = $which;
	subtest $shell => sub {
		fake();
		parameters();
		no_definition();
		vmconf_does('create', 'web', '--disk', '1M', quick('--set', 'boot-timeout=100ms', '--set', 'on.TERM=powerdown 200ms, quit 10s, kill'));
		life();
		crashes();
		orphans();
		elsewhere();
		validate();
		vmconf_does('delete', 'web');
		guests();
	};
}

# ---- meta-data ----
my $packages = "$top/build/resource-agents";
is(system("$top/t/unpack", $packages, 'resource-agents'), 0, 'the schema of meta-data');
my ($status, $xml) = run_command($agent, 'meta-data');
my @lint = ('xmllint', '--noout', '--relaxng', "$packages/usr/share/resource-agents/metadata.rng");
my (undef, undef, $err) = run_command(@lint, spew("$work/meta-data", $xml));
is($err, "$work/meta-data validates\n", 'meta-data is valid');
isnt((run_command(@lint, spew("$work/bad", $xml =~ s/timeout=/time-out=/r)))[0], 0, 'a wrong key is found');
my %timeout = $xml =~ /<action name="([a-z-]+)" timeout="(\d+)s"/g;
is(join(' ', sort keys %timeout), 'meta-data monitor reload start stop validate-all', 'the actions, all with a timeout');
cmp_ok($timeout{stop} - 10, '>', T::longest_stop(), 'a stop has time for the default ladder, a guest that boots, and a flush');

done_testing;
