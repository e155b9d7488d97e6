# What the tests of init systems share: a host of its own (t/host) with the real init system (t/inits) as process 1, and
# VMs with real guests on it, whose file systems are read afterwards.
package Init;

use strict;
use warnings;
use Exporter qw(import);
use File::Basename qw(dirname);
use JSON::PP ();
use T qw(:DEFAULT !vmconf !vmconf_does);

our @EXPORT = qw(boot vm);

# Skips the test file where that cannot be done.
sub need_host {
	need('qemu-system-x86_64', 'mke2fs', 'dumpe2fs', 'unshare', 'nsenter', 'apt-get', 'dpkg-deb');
	need_that('we are root, and may mount (for a host of its own)', sub {
		(run_command(qw(unshare --mount --pid --fork --mount-proc sh -c), 'mount -t tmpfs none /mnt'))[0] == 0;
	});
}

# Boots one. which: a directory of t/inits. init: the shell commands of process 1, which end in an exec. Its own PATH is
# all that they find in the environment; $work is there, and is what stays.
sub boot {
	my ($which, $init) = @_;
	need_host();
	my $inits = $ENV{T_INITS} || "$top/build/inits";
	system("$top/t/inits", $inits) == 0 or die "t/inits failed\n";
	my $h = bless { which => $which, log => "$work/$which.log" }, 'Init';
	my $mount = "$work/$which.root";
	my @shared = ($work, $top, dirname($ENV{T_SUPERVISE} || "$top/."), dirname($ENV{T_VMCONF} || "$top/."), guest_files());
	mkdir $mount;
	$ENV{QEMU_SUPERVISE} = $ENV{T_SUPERVISE} || "$top/qemu-supervise";
	delete $ENV{QEMU_SUPERVISE_INIT} if -x "$top/init/$which";	# vmconf finds it out
	$h->{pid} = fork // die "fork: $!";
	if ($h->{pid} == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', $h->{log});
		open(STDERR, '>&', \*STDOUT);
		%ENV = (PATH => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin');
		exec("$top/t/host", "$inits/$which", $mount, @shared, '--', '/bin/sh', '-euc', $init) or POSIX::_exit(127);
	}
	$h->{init} = wait_until(sub { "process 1:\n" . slurp($h->{log}) }, sub {
		my ($child) = (slurp("/proc/$h->{pid}/task/$h->{pid}/children") =~ /(\d+)/, $h->ended ? die slurp($h->{log}) : ());
		return $child && slurp("/proc/$child/cmdline") !~ /\0--inside\0/ && slurp("/proc/$child/comm") !~ /^(unshare|chroot|sh)$/ && $child;
	});
	return $h;
}

# Waits until its adapter sees the init system run.
sub wait_detected {
	my ($h) = @_;
	wait_until(sub { "$h->{which} to run:\n" . slurp($h->{log}) . ($h->run('ps', 'ax'))[1] }, sub { ($h->run("$top/init/$h->{which}", 'detect'))[0] == 0 });
}

# Runs a program there: (status, output, errors).
sub run {
	my ($h, @command) = @_;
	return run_command('nsenter', '-t', $h->{init}, '-m', '-p', '-r', '-w', '--', @command);
}

# The same, of which success is expected. Returns the output.
sub does {
	my ($h, @command) = @_;
	my ($status, $out, $err) = $h->run(@command);
	is($status, 0, "@command") or diag($out, $err, slurp($h->{log}));
	return $out;
}

sub vmconf {
	my ($h, @words) = @_;
	return $h->run($ENV{T_VMCONF} || "$top/vmconf", @words);
}

sub vmconf_does {
	my ($h, @words) = @_;
	my ($status, $out, $err) = $h->vmconf(@words);
	is($status, 0, "vmconf @words") or diag($out, $err, slurp($h->{log}));
	return $out;
}

sub ended {
	my ($h) = @_;
	return 1 if $h->{ended} ||= waitpid($h->{pid}, POSIX::WNOHANG()) == $h->{pid};
	return 0;
}

# Waits until the whole host is off.
sub off {
	my ($h) = @_;
	wait_until(sub { "the host to be off:\n" . slurp($h->{log}) }, sub { $h->ended });
}

# Pulls its plug.
sub cut {
	my ($h) = @_;
	kill('KILL', $h->{pid});
	$h->off;
	wait_until('nothing to be left of it', sub { !T::children($$) });
}

# What is wrong with a VM is told with all that is known of it.
sub report {
	my ($h, $vm) = @_;
	return join "\n", slurp($h->{log}), slurp($vm->{console}), ($h->vmconf('log', $vm->{name}))[1];
}

# What a supervisor says of its VM: its state.json. The pids in it are those of the host of its own.
sub state {
	my ($vm) = @_;
	my $text = slurp("$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/$vm->{name}/state.json");
	return $text ? JSON::PP::decode_json($text) : {};
}

# Waits until a VM is ready, its guest listening: another one than that with the state before.
sub wait_up {
	my ($h, $vm, $before) = @_;
	wait_until(sub { "$vm->{name} to be up:
" . $h->report($vm) }, sub {
		my $now = state($vm);
		# The supervisor sees the driver of the button, which is up before the process that reads it.
		return $now->{ready} && $now->{pid} != ($before->{pid} // 0) && slurp($vm->{console}) =~ /guest: listening/;
	});
	pass("$vm->{name}: up");
}

# The pids of a VM, as this test's: of its supervisor and its QEMU.
sub pids {
	my ($vm) = @_;
	my %pid;
	for my $pid (T::children($$)) {
		my $words = slurp("/proc/$pid/cmdline");
		$pid{supervisor} = $pid if $words =~ /^[^\0]*qemu-supervise\0(.*\0)?\Q$vm->{name}\E\0$/;
		$pid{qemu} = $pid if $words =~ /^[^\0]*qemu-system-[^\0]*\0.*\Q$vm->{console}\E\0/;
	}
	return \%pid;
}

# ---- what holds under each of them ----

# A supervisor that is killed comes back and takes its VM over.
sub supervisor_is_killed {
	my ($h, $vm) = @_;
	my $before = pids($vm);
	$h->takes_over($vm, $before, sub { kill('KILL', $before->{supervisor}) }, 'its supervisor');
}

sub takes_over {
	my ($h, $vm, $before, $kill, $what) = @_;
	my $supervisor = state($vm)->{supervisor};
	$kill->();
	my $after = wait_until(sub { "another supervisor of $vm->{name}:\n" . $h->report($vm) }, sub {
		my $now = pids($vm);
		return $now->{qemu} && ($now->{supervisor} // $before->{supervisor}) != $before->{supervisor}
			&& state($vm)->{supervisor} != $supervisor && $now; # it is one from when it says so
	});
	$h->wait_up($vm);
	is($after->{qemu}, $before->{qemu}, "$vm->{name}: $what is killed, and another supervisor takes it over");
}

# init/attend is killed: the supervisor goes with it, and the next one takes the VM over.
sub attendant_is_killed {
	my ($h, $vm) = @_;
	my $before = pids($vm);
	my ($attend) = slurp("/proc/$before->{supervisor}/status") =~ /^PPid:\s+(\d+)/m;
	like(slurp("/proc/$attend/cmdline"), qr/attend/, "$vm->{name}: its supervisor is attended");
	$h->takes_over($vm, $before, sub { kill('KILL', $attend) }, 'attend');
}

# In the sandbox of examples/sandbox.conf, in the conf of its service, it works as without, and has what the unit for systemd has.
sub works_in_a_sandbox {
	my ($h, $vm, $conf) = @_;
	my @capabilities = map { split } slurp("$top/examples/systemd/qemu-supervise\@.service") =~ /^CapabilityBoundingSet=(.*)/mg;
	my ($ours) = slurp("$top/examples/sandbox.conf") =~ /--bounding-set=-all,(.*?)"\n/s;
	my ($more) = slurp("$top/examples/sandbox.conf") =~ /^sandbox="\$sandbox,(.*)"$/m;
	is(join(' ', sort map { 'CAP_' . uc s/^\+//r } split(/,/, "$ours,$more")), join(' ', sort @capabilities), 'the capabilities of the unit');
	$h->does('sh', '-c', "cat '$top/examples/sandbox.conf' >>$conf");
	$h->vmconf_does('start', $vm->{name});
	$h->supervisor_is_killed($vm);
	for my $pid (@{ pids($vm) }{qw(supervisor qemu)}) {
		like(slurp("/proc/$pid/status"), qr/^CapBnd:\t0{12}14ff\n(.*\n)*NoNewPrivs:\t1$/m, "$vm->{name}: in a sandbox");
	}
	$h->vmconf_does('stop', $vm->{name});
	is_down($vm);
}

# A QEMU that dies comes back.
sub qemu_dies {
	my ($h, $vm) = @_;
	my $before = state($vm);
	kill('SEGV', pids($vm)->{qemu});
	$h->wait_up($vm, $before);
	is(last_end($vm->{name})->{status}, 83, "$vm->{name}: QEMU dies, and is started again");
}

# A restart shuts it down and starts it again.
sub restarts {
	my ($h, $vm, $how) = @_;
	my $before = state($vm);
	$how->();
	$h->wait_up($vm, $before);
	is(last_end($vm->{name})->{status}, 0, "$vm->{name}: it was shut down in between");
}

# A guest that switches itself off, unasked, stays off: once is_off says that the init system has settled, nothing of it
# is left.
sub guest_switches_off {
	my ($h, $vm, $is_off) = @_;
	$h->vmconf_does('qmp', $vm->{name}, 'system_powerdown'); # the supervisor has no part in it
	wait_until(sub { "$vm->{name} to stay off:\n" . $h->report($vm) }, $is_off);
	is_deeply(pids($vm), {}, "$vm->{name}: the guest switches itself off, and stays off");
	is_down($vm);
}

# Shut down, not cut off.
sub is_down {
	my ($vm) = @_;
	is(last_end($vm->{name})->{status}, 0, "$vm->{name}: the guest powered itself off");
	ok(disk_is_clean($vm->{disk}), "$vm->{name}: file system clean");
}

# A definition that is wrong is not tried again and again. start starts it without vmconf, which would refuse; log reads the log where vmconf cannot.
sub definition_is_wrong {
	my ($h, $vm, $start, $is_off, $log) = @_;
	$log ||= sub { ($h->vmconf('log', $vm->{name}))[1] };
	my $path = "$ENV{QEMU_SUPERVISE_CONFIG_DIR}/$vm->{name}.json";
	my $good = slurp($path);
	my $said = sub { scalar(() = $log->() =~ /memory: found "lots"/g) };
	my $before = $said->();
	spew($path, $good =~ s/"128M"/"lots"/r);
	$start->();
	wait_until(sub { "a complaint:\n" . $h->report($vm) }, sub { $said->() > $before && $is_off->() });
	is($said->(), $before + 1, "$vm->{name}: a definition that is wrong is not tried again");
	spew($path, $good);
}

# A QEMU that cannot start is tried again and again, which is said, until somebody ends that.
sub fails_to_start {
	my ($h, $vm) = @_;
	my $path = "$ENV{QEMU_SUPERVISE_CONFIG_DIR}/$vm->{name}.json";
	my $good = slurp($path);
	my $note = sub { ($h->vmconf('list'))[1] =~ /^$vm->{name} .*(MEMORY|G|M|-)  (.*)$/m ? $2 : '' };
	spew($path, $good =~ s/"accel"/"cpu" : "nonsense",\n   "accel"/r);
	my ($status, undef, $err) = $h->vmconf('start', $vm->{name});
	is($status, 69, "$vm->{name}: it cannot start");
	like($err, qr/$vm->{name}: the init system tries again and again; "vmconf stop $vm->{name}" ends that\n\z/, 'which is said');
	wait_until(sub { "list to say so:\n" . $h->report($vm) }, sub { $note->() =~ /\S; the init system tries again and again$/ });
	# Each try is a VM that starts, and does not fail yet.
	wait_until(sub { "list --json to say so:\n" . $h->report($vm) },
		sub { ($h->vmconf('list', '--json'))[1] =~ /"failing": true/ });
	pass('and in JSON');
	$h->vmconf_does('stop', $vm->{name});
	unlike($note->(), qr/tries again/, 'a stop ends that');
	spew($path, $good);
}

# What was made for a VM goes with it, unless somebody has edited it. path is that of a file in there.
sub goes_with_its_vm {
	my ($h, $path) = @_;
	for my $edit ('', 'edited') {
		my $vm = vm('gone', 'normal');
		my $file = $path =~ s/NAME/gone/r;
		$h->vmconf_does('enable', 'gone');
		$h->does('sh', '-c', "echo '# $edit' >>'$file'") if $edit;
		my ($status, $out, $err) = $h->vmconf('delete', 'gone');
		is($status, 0, 'vmconf delete') or diag($err);
		like($err, $edit ? qr/^\S+: \S+gone was edited, and is left there\n\z/ : qr/^\z/, "which leaves what is edited ($edit)");
		is(($h->run('test', '-e', $file))[0], $edit ? 0 : 1, "$file ($edit)");
		unlike(($h->run('ps', 'ax', '-o', 'args'))[1], qr/vm[-.]gone/, 'no process') if !$edit;
	}
}

# ---- VMs ----

# Defines a VM with a guest in a mode of t/guest-init; the options are those of guest_command.
sub vm {
	my ($name, $mode, %o) = @_;
	mkdir $_ for $ENV{QEMU_SUPERVISE_CONFIG_DIR}, $ENV{QEMU_SUPERVISE_STATE_DIR};
	my $vm = { name => $name, disk => make_disk(), console => "$work/$name.console" };
	my $definition = T::guest_definition($mode, %o, disk => $vm->{disk}, console => $vm->{console});
	delete $definition->{agent};
	$definition->{initrd} =~ s/-agent$//;
	$definition->{ready} = 'listening';
	T::define($name, { %$definition, %{ $o{definition} || {} } });
	return $vm;
}

1;
