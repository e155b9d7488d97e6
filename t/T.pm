# What all tests share: a directory and a process tree of their own, supervisors, guests, QMP.
# t/README tells how to write a test with it.
package T;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use Fcntl qw(F_GETFD F_SETFD FD_CLOEXEC);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX qw(:sys_wait_h setsid);
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = (
	@Test::More::EXPORT, qw(
		$top $work need need_that wait_until spew slurp qemu_in run_command children
		guest_command guest_files make_disk disk_is_clean fake_qemu
		supervise supervisor running qmp_connect time
		vmconf vmconf_does vmconf_fails quick definition state_of history last_end
		)
);

our $top = dirname(dirname(abs_path(__FILE__)));
our $work = tempdir("qs-XXXXXXXX", TMPDIR => 1, CLEANUP => 0);
my $self = $$;
my $bound = $ENV{T_BOUND} || 240;	# seconds, only so that nothing hangs
my $count = 0;

# Orphans of ours come back to us, so that none is left behind.
syscall(157, 36, 1, 0, 0, 0);	# prctl(PR_SET_CHILD_SUBREAPER)
# What a script's & or nohup has ignored would stay so in all that we start.
$SIG{$_} = 'DEFAULT' for qw(HUP INT QUIT);
delete @ENV{qw(NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID JOURNAL_STREAM)};
$ENV{QEMU_SUPERVISE_INIT} = 'none';	# a developer's own init system is left alone
$ENV{QEMU_SUPERVISE_CONFIG_DIR} = "$work/config";
$ENV{QEMU_SUPERVISE_STATE_DIR} = "$work/state";
$ENV{QEMU_SUPERVISE_RUNTIME_DIR} = "$work/run";
$ENV{QEMU_SUPERVISE} = $ENV{T_SUPERVISE} if $ENV{T_SUPERVISE};

# Skips the whole test file where a program is missing; CI may not skip.
sub need {
	for my $program (@_) {
		next if grep { -x "$_/$program" } split(/:/, $ENV{PATH}), "/usr/sbin", "/sbin";
		die "$program is missing, and T_NO_SKIP is set\n" if $ENV{T_NO_SKIP};
		plan skip_all => "$program is not installed (t/setup check installs it)";
	}
}

# The same for what is no program.
sub need_that {
	my ($what, $code) = @_;
	return if $code->();
	die "not so: $what; and T_NO_SKIP is set\n" if $ENV{T_NO_SKIP};
	plan skip_all => "not so: $what";
}

# Polls every 10 ms until the code returns true, and returns that. Dies at the bound, saying what it waited for;
# that may be code, too, which is asked then.
sub wait_until {
	my ($what, $code) = @_;
	my $until = time + $bound;
	while (1) {
		my $result = $code->();
		return $result if $result;
		die "waited ${bound}s for: ", ref $what eq 'CODE' ? $what->() : $what, "\n" if time > $until;
		select(undef, undef, undef, 0.01);
	}
}

sub spew {
	my ($path, $text) = @_;
	open(my $fh, '>', $path) or die "$path: $!";
	print $fh $text;
	close($fh) or die "$path: $!";
	return $path;
}

sub slurp {
	my ($path) = @_;
	open(my $fh, '<', $path) or return '';
	local $/;
	my $text = <$fh>;
	return defined $text ? $text : '';
}

# The pid of the QEMU that has signed a vm.lock: its first record. The second one is the supervisor's.
sub qemu_in {
	my ($path) = @_;
	return slurp($path) =~ /\A(\d+) / ? $1 : undef;
}

# Runs a command to its end. Returns status (128 + signal where it died of one), output, errors.
sub run_command {
	my (@command) = @_;
	my $n = ++$count;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$work/out.$n");
		open(STDERR, '>', "$work/err.$n");
		{ no warnings 'exec'; exec { $command[0] } @command; }
		POSIX::_exit(127);
	}
	waitpid($pid, 0);
	my $status = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	return ($status, slurp("$work/out.$n"), slurp("$work/err.$n"));
}

# All descendants of a process, zombies left out.
sub children {
	my ($root) = @_;
	my %of;
	for my $stat (glob '/proc/[0-9]*/stat') {
		my ($pid, $rest) = slurp($stat) =~ /^(\d+) \(.*\) (.*)/s or next;
		my ($state, $ppid) = split ' ', $rest;
		push @{ $of{$ppid} }, $pid if $state ne 'Z';
	}
	my @found = @{ $of{$root} || [] };
	for (my $n = 0; $n < @found; $n++) {
		push @found, @{ $of{ $found[$n] } || [] };
	}
	return @found;
}

# ---- vmconf ----

# Runs vmconf: (status, output, errors).
sub vmconf {
	return run_command($ENV{T_VMCONF} || "$top/vmconf", @_);
}

# The same, of which nothing but success is expected. Returns the output.
sub vmconf_does {
	my (@words) = @_;
	my ($status, $out, $err) = vmconf(@words);
	is($status, 0, "vmconf @words") or diag($err);
	return $out;
}

# The same, which is expected to fail with a status and one line that matches. Returns the errors.
sub vmconf_fails {
	my ($expected, $line, @words) = @_;
	my ($status, $out, $err) = vmconf(@words);
	my $what = join(' ', 'vmconf', map { length > 40 ? substr($_, 0, 40) . '...' : $_ } @words) =~ s/[\n]/?/gr;
	is($status, $expected, "$what: status $expected") or diag($out, $err);
	like($err, $line, "$what: says why");
	return $err;
}

# Options of create for a VM that starts and stops in no time: its CPUs never run.
sub quick {
	return ('--memory', '64M', '--nic', 'none', '--set', 'accel=tcg', '--set', 'args=["-S"]', @_);
}

# What the definition of a VM holds, undef if there is none.
sub definition {
	my ($name) = @_;
	my $text = slurp("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/$name.json");
	return $text ? JSON::PP::decode_json($text) : undef;
}

# What list --json says of a VM.
sub state_of {
	my ($name) = @_;
	my ($status, $out) = vmconf('list', '--json');
	my ($vm) = grep { $_->{name} eq $name } @{ JSON::PP::decode_json($out)->{vms} };
	return $vm || {};
}

# The lines of a VM's history.
sub history {
	my ($name, $state) = @_;
	return map { JSON::PP::decode_json($_) } slurp(($state || $ENV{QEMU_SUPERVISE_STATE_DIR}) . "/$name/history.jsonl") =~ /^(.*)\n/mg;
}

# How it ended last, {} if it never did.
sub last_end {
	return (grep { $_->{event} eq 'end' } history(@_))[-1] || {};
}

# ---- guests ----

# What QEMU calls t/guest's architectures: emulator, machine, console, MiB.
my %arch = (
	amd64 => ['qemu-system-x86_64', 'q35', 'ttyS0', 128],
	arm64 => ['qemu-system-aarch64', 'virt', 'ttyAMA0', 256, '-cpu', 'cortex-a57'],
	ppc64el => ['qemu-system-ppc64', 'pseries', 'hvc0', 512],
	s390x => ['qemu-system-s390x', 's390-ccw-virtio', 'ttysclp0', 256],
);

sub guest_files {
	my ($arch) = @_;
	my $dir = $ENV{T_GUEST} || "$top/build/guest";
	$dir .= "/$arch" if $arch;
	system("$top/t/guest", $dir, $arch || ()) == 0 or die "t/guest failed\n";
	return $dir;
}

# The same with an ssh server, in initrd-ssh; append: T::ssh_guest_append(KEY, WORD...).
sub ssh_guest_files {
	my $dir = $ENV{T_GUEST} || "$top/build/guest";
	system("$top/t/ssh-guest", $dir) == 0 or die "t/ssh-guest failed\n";
	return $dir;
}

sub ssh_guest_append {
	my ($key, @words) = @_;
	return guest_append('normal', append => join ' ', 'random.trust_cpu=on', "key=$key", @words);
}

sub make_fifo {
	my ($path) = @_;
	POSIX::mkfifo($path, 0600) or die "$path: $!";
	return $path;
}

# An empty ext4 disk. Returns its path.
sub make_disk {
	my ($path) = @_;
	$path ||= "$work/disk." . ++$count;
	truncate(spew($path, ''), 16 << 20) or die "$path: $!";
	system('mke2fs', '-q', '-t', 'ext4', '-F', $path) == 0 or die "mke2fs failed\n";
	return $path;
}

# Whether the file system on it was left clean.
sub disk_is_clean {
	my ($path) = @_;
	my ($status, $text) = run_command('dumpe2fs', '-h', $path);
	die "dumpe2fs $path failed\n" if $status != 0;
	return $text !~ /needs_recovery/ && $text =~ /Filesystem state:\s+clean/;
}

# The kernel's command line for a guest in a mode of t/guest-init.
sub guest_append {
	my ($mode, %o) = @_;
	return "console=$arch{$o{arch} || 'amd64'}[2] quiet panic=" . ($o{panic} // -1)
		. " cryptomgr.notests noreplace-smp nokaslr no_timer_check tsc=reliable guest=$mode delay="
		. ($o{delay} // 0) . ($o{gate} ? ' gate=ttyS1' : '') . ($o{agent} ? " agent=$o{agent}" : '') . ($o{append} ? " $o{append}" : '');
}

# The kernel for a mode. Unpacked, it is booted by PVH, and learns of less memory that is the firmware's, which a wake-up needs.
sub guest_kernel {
	my ($mode, $arch) = @_;
	return $arch || $mode =~ /^s3/ ? 'vmlinuz' : 'vmlinux';
}

# QEMU's command line for such a guest. Options: arch (of t/guest), delay, machine, disk (undef: none), console, append, gate (a FIFO:
# what a line opens the guest waits for), args (at the end).
sub guest_command {
	my ($mode, %o) = @_;
	my $dir = guest_files($o{arch});
	my $append = guest_append($mode, %o);
	my ($emulator, $machine, undef, $memory, @more) = @{ $arch{ $o{arch} || 'amd64' } };
	return (
		$emulator, '-machine', $o{machine} || $machine, '-accel', 'tcg', '-m', $memory, @more,
		'-nodefaults', '-no-user-config', '-display', 'none', '-kernel', "$dir/" . guest_kernel($mode, $o{arch}),
		'-initrd', "$dir/initrd", '-append', $append, '-serial', "file:$o{console}",
		($o{gate} ? ('-serial', "pipe:$o{gate}") : ()),
		($o{disk} ? ('-drive', "file=$o{disk},format=raw,if=virtio") : ()), @{ $o{args} || [] }
	);
}

# The command line of the misbehaving fake; its script is described in t/fake-qemu.
sub fake_qemu {
	my (@script) = @_;
	return ("$top/t/fake-qemu", @script);
}

# ---- definitions, for what only a VM with a definition has ----

sub define {
	my ($name, $definition) = @_;
	mkdir($ENV{QEMU_SUPERVISE_CONFIG_DIR});
	return spew("$ENV{QEMU_SUPERVISE_CONFIG_DIR}/$name.json", JSON::PP->new->canonical->pretty->encode($definition));
}

# The same guest as that of guest_command, with an agent in it.
sub guest_definition {
	my ($mode, %o) = @_;
	my $dir = guest_files();
	return {
		emulator => 'qemu-system-x86_64', machine => $o{machine} || 'q35', accel => 'tcg', memory => '128M',
		kernel => "$dir/vmlinuz", initrd => "$dir/initrd-agent", append => guest_append($mode, %o),
		disks => [{ path => $o{disk}, format => 'raw' }], console => 'none', agent => JSON::PP::true,
		args => ['-serial', "file:$o{console}", @{ $o{args} || [] }]
	};
}

# A QEMU that is the fake: of the definition's words only what the supervisor adds counts.
sub fake_definition {
	my ($path, @fake) = @_;
	my $words = join(' ', map { "'$_'" } @fake);
	spew($path, qq{#!/bin/sh\nwhile [ "\$1" != -readconfig ]; do shift; done\nexec $words "\$@"\n});
	chmod(0755, $path);
	return { emulator => $path, agent => JSON::PP::true, confine => JSON::PP::false };
}

# The longest that a stop takes by default, in s: TERM's ladder as the program has it, a guest that boots, and a flush of the disks.
sub longest_stop {
	define('default', {});
	my ($status, $out, $err) = run_command($ENV{T_SUPERVISE} || "$top/qemu-supervise", '--print', 'default');
	die "--print: $err" if $status != 0;
	my ($ladder) = $out =~ /^TERM\s+(.*)$/m;
	my $sum = 120 + 30; # boot-timeout, a flush
	$sum += $_ for $ladder =~ /(\d+)s\b/g;
	return $sum;
}

# ---- supervisors ----

# Starts qemu-supervise in a session of its own. Options:
#   vm => NAME, of a definition, or
#   guest => MODE, with the options of guest_command (a disk is made unless disk => undef; gate => 1 makes
#	its FIFO, and open_gate() writes the line), or
#   command => [...]	any command line instead, or
#   fake => [...]	the script of t/fake-qemu; sent() then tells what it was sent on control
#   definition => {...}	a VM with that definition, or
#   agent => HOW	with guest or fake: the same as a VM with a definition that has an agent channel; HOW is
#			that of t/guest-init
#   name, options => [...], env => {...}, prefix => [...] (before qemu-supervise)
#   setup => sub {...}	called in the child before exec
sub supervise {
	my (%o) = @_;
	return launch(supervisor(%o), %o);
}

sub launch {
	my ($s, %o) = @_;
	my @all = @{ $s->{command} };
	$s->{pid} = fork // die "fork: $!";
	if ($s->{pid} == 0) {
		setsid();
		$SIG{$_} = 'DEFAULT' for qw(HUP INT QUIT);	# nohup, and a script's &, have them ignored
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>', "$s->{log}.out");
		open(STDERR, '>', $s->{log});
		$ENV{$_} = $o{env}{$_} for keys %{ $o{env} || {} };
		$o{setup}->() if $o{setup};
		{ no warnings 'exec'; exec { $all[0] } @all; }
		POSIX::_exit(127);
	}
	return $s;
}

# One that is not started: {command} is what would be executed.
sub supervisor {
	my (%o) = @_;
	$o{name} ||= $o{vm};
	my $n = ++$count;
	my $s = bless { name => $o{name} || "vm$n", log => "$work/log.$n", console => "$work/console.$n",
		record => "$work/record.$n" }, 'T::Supervisor';
	$s->{command} = [@{ $o{prefix} || [] }, $ENV{T_SUPERVISE} || "$top/qemu-supervise", @{ $o{options} || [] }, $o{vm} || ()];
	return $s if $o{vm};
	$s->{disk} = exists $o{disk} ? $o{disk} : $o{guest} ? make_disk() : undef;
	$s->{gate} = $o{gate} = make_fifo("$work/gate.$n") if $o{gate};
	$o{command} ||= [fake_qemu("record=$s->{record}", @{ $o{fake} })] if $o{fake};
	my @supervise = (@{ $o{prefix} || [] }, $ENV{T_SUPERVISE} || "$top/qemu-supervise");
	my %guest = (%o, disk => $s->{disk}, console => $s->{console});
	$o{definition} ||= $o{fake} ? fake_definition("$work/$s->{name}.qemu", @{ $o{command} }) : guest_definition($o{guest}, %guest)
		if $o{agent};
	if ($o{definition}) {
		define($s->{name}, $o{definition});
		$s->{command} = [@supervise, @{ $o{options} || [] }, $s->{name}];
		return $s;
	}
	my @command = $o{command} ? @{ $o{command} } : guest_command($o{guest}, %guest);
	$s->{command} = [
		@supervise, ($o{name} || !$o{unnamed} ? ('--name', $s->{name}) : ()), @{ $o{options} || [] }, '--', @command
	];
	return $s;
}

# Starts one and waits until its QEMU answers.
sub running {
	my $s = supervise(@_);
	$s->wait_log(qr/QEMU runs/);
	return $s;
}

package T::Supervisor;

use Test::More;

# Kills it with SIGKILL, and waits until it is gone. Its QEMU is the test's child then.
sub lost {
	my ($s) = @_;
	$s->signal('KILL');
	$s->end;
	return $s;
}

# Another one for the same VM, with the same command line unless command => [...] says otherwise; env and setup are
# those of supervise().
sub successor {
	my ($s, %o) = @_;
	my $next = bless { %$s, log => "$work/log." . ++$count }, ref $s;
	delete @$next{qw(pid status)};
	$next->{command} = $o{command} if $o{command};
	return T::launch($next, %o);
}

# Killed, and replaced by one that goes on with the same QEMU.
sub taken_over {
	my ($s, %o) = @_;
	# A child writes it, before it is QEMU.
	my $qemu = T::wait_until('vm.lock', sub { $s->qemu });
	# The log may be ahead of it.
	T::wait_until('state.json', sub { $s->state->{ladder} }) if $s->log =~ /TERM(?: from|: going on)/;
	my $next = $s->lost->successor(%o);
	$next->wait_log(qr/taking over QEMU, pid $qemu,/);
	return $next;
}

sub log { return T::slurp($_[0]{log}) }

sub console { return T::slurp($_[0]{console}) }

sub all_said { return $_[0]->log . $_[0]->console }

# Lets a guest go on that waits for it.
sub open_gate {
	my ($s) = @_;
	$s->wait_console(qr/guest: gate/);
	T::spew($s->{gate}, "open\n");
}

# Waits for a line of its log or of the guest's console; dies when it is gone before.
sub wait_log {
	my ($s, $what) = @_;
	return T::wait_until(sub { "log $what\n" . $s->all_said }, sub { $s->log =~ $what || $s->_gone_before($what, $s->log) });
}

sub wait_console {
	my ($s, $what) = @_;
	return T::wait_until(sub { "console $what\n" . $s->all_said }, sub { $s->console =~ $what || $s->_gone_before($what, $s->console) });
}

sub _gone_before {
	my ($s, $what, $text) = @_;
	return 0 if !$s->ended || $text =~ $what;
	return 1 if $s->log =~ $what || $s->console =~ $what;
	die "ended before $what:\n" . $s->log . $s->console;
}

sub signal {
	my ($s, @signals) = @_;
	kill($_, $s->{pid}) for @signals;
}

# "All over in n seconds", as vmconf and UPS hooks say it.
sub deadline {
	my ($s, $seconds) = @_;
	system('/bin/kill', '-q', $seconds, '-s', 'RTMIN', $s->{pid});
}

sub ended {
	my ($s) = @_;
	return 1 if defined $s->{status};
	return 0 if waitpid($s->{pid}, POSIX::WNOHANG()) != $s->{pid};
	$s->{status} = $? & 127 ? 128 + ($? & 127) : $? >> 8;
	return 1;
}

# Waits for its end and returns its exit status.
sub end {
	my ($s) = @_;
	T::wait_until(sub { "the end of $s->{name}\n" . $s->all_said }, sub { $s->ended });
	return $s->{status};
}

# Checks how it ended: the status, what the last line says, and whether nothing is left.
sub ends_with {
	my ($s, $status, $words, $what) = @_;
	my $got = $s->end;
	my ($last) = $s->log =~ /([^\n]*)\n\z/;
	$what ||= $s->{name};
	is($got, $status, "$what: status $status") or diag($s->log, $s->console);
	like($last, $words, "$what: last line") or diag($s->log);
	ok(!-e "$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/$s->{name}", "$what: runtime directory removed");
	return $got;
}

sub dir { return "$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/$_[0]{name}" }

sub state {
	my ($s) = @_;
	return JSON::PP::decode_json(T::slurp($s->dir . '/state.json') || '{}');
}

# QEMU's pid. vm.lock is in the runtime directory only where there is no state directory.
sub qemu {
	my ($s) = @_;
	return T::qemu_in($s->dir . '/vm.lock') || T::qemu_in("$ENV{QEMU_SUPERVISE_STATE_DIR}/$s->{name}/vm.lock");
}

# What the fake QEMU was sent on control: the commands, or only the names of them that match.
sub sent {
	my ($s, $matching) = @_;
	my @sent = map { JSON::PP::decode_json($_) } T::slurp($s->{record}) =~ /^(.*)\n/mg;
	return $matching ? grep { $_ =~ $matching } map { $_->{execute} } @sent : @sent;
}

sub wait_sent {
	my ($s, $name) = @_;
	T::wait_until("$name being sent", sub { grep { $_->{execute} eq $name } $s->sent });
}

# Makes something happen in the fake QEMU.
sub fake {
	my ($s, %what) = @_;
	$s->{public} ||= $s->qmp;
	$s->{public}->command('fake', \%what);
}

# A client on the public socket, past its greeting.
sub qmp { return T::qmp_connect($_[0]->dir . '/qmp') }

package T;

sub qmp_connect {
	my ($path) = @_;
	my $socket = wait_until("socket $path", sub { IO::Socket::UNIX->new(Peer => $path) });
	my $q = bless { socket => $socket, events => [], buffer => '' }, 'T::QMP';
	wait_until('greeting', sub { $q->line });
	$q->command('qmp_capabilities');
	return $q;
}

package T::QMP;

# The next line as a Perl value, undef if none is there yet; 0 at the end of the connection.
sub line {
	my ($q) = @_;
	my $bits = '';
	vec($bits, fileno($q->{socket}), 1) = 1;
	if ($q->{buffer} !~ /\n/ && select($bits, undef, undef, 0) > 0) {
		sysread($q->{socket}, $q->{buffer}, 65536, length $q->{buffer}) or return 0;
	}
	return undef unless $q->{buffer} =~ s/^([^\n]*)\n//;
	my $value = JSON::PP::decode_json($1);
	push @{ $q->{events} }, $value->{event} if $value->{event};
	return $value;
}

# Runs a command; returns what it returns, or dies with QEMU's words.
sub command {
	my ($q, $name, $arguments) = @_;
	my $json = JSON::PP::encode_json({ execute => $name, $arguments ? (arguments => $arguments) : () });
	local $SIG{PIPE} = 'IGNORE';	# a QEMU that has just ended, as below
	syswrite($q->{socket}, "$json\n");
	my $answer = T::wait_until("QMP $name", sub {
		my $line = $q->line;
		return { return => {} } if defined $line && !$line;
		return $line && (exists $line->{return} || $line->{error}) ? $line : undef;
	});
	die "$name: $answer->{error}{desc}\n" if $answer->{error};
	return $answer->{return};
}

sub status { return $_[0]->command('query-status')->{status} }

sub hmp {
	my ($q, $line) = @_;
	return $q->command('human-monitor-command', { 'command-line' => $line });
}

sub wait_event {
	my ($q, $name) = @_;
	T::wait_until("event $name", sub {
		my $line = $q->line;
		return 1 if grep { $_ eq $name } @{ $q->{events} };
		die "connection ended before $name\n" if defined $line && !$line;
		return 0;
	});
}

package T;

END {
	if ($$ == $self) {
		my $status = $?;
		my @left;
		for (1 .. 100) {	# what is ending just now, such as a supervisor of a VM that was stopped, is gone then
			@left = grep { slurp("/proc/$_/cmdline") ne '' } children($$);
			last if !@left || $status;
			select(undef, undef, undef, 0.01);
		}
		if (@left) {
			diag("left behind: ", map { slurp("/proc/$_/cmdline") =~ tr/\0/ /r . "\n" } @left) if $status == 0;
			kill('KILL', @left);
		}
		1 while waitpid(-1, 0) > 0;
		system('rm', '-rf', $work) unless $ENV{T_KEEP};
		diag("kept: $work") if $ENV{T_KEEP};
		$? = $status || (@left ? 1 : 0);
	}
}

1;
