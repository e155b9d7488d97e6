#!/usr/bin/perl
# System calls of the supervisor fail, one in each run: at every call of a start and a stop. Either that is a start that
# is refused, with a reason and nothing left behind, or a VM that runs and is shut down. Never a QEMU without a
# supervisor, never a supervisor that hangs. All of them are for `make soak`; else as many, in an order of chance, as
# 20 seconds allow.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use List::Util qw(shuffle);
use T;

need('strace');
need_that('strace may trace', sub { (run_command('strace', '-o', "$work/may", 'true'))[0] == 0 });

my $seed = $ENV{T_SEED} || int(rand(1e9));
srand($seed);
note("T_SEED=$seed");

# System calls, as they are called on one machine or another, and what they may fail with (a number: what they return).
my @faults = (
	['socket', 'EMFILE'], ['bind', 'EACCES'], ['listen', 'EADDRINUSE'], ['connect', 'ECONNREFUSED'],
	['open(?:at)?', 'EMFILE'], ['mkdir(?:at)?', 'ENOSPC'], ['rename(?:at2?)?', 'ENOSPC'], ['ftruncate', 'EIO'],
	['write', 'ENOSPC'], ['pwrite64', 'ENOSPC'], ['fallocate', 'ENOSPC'], ['memfd_create', 'EMFILE'], ['pipe2', 'EMFILE'],
	['clone3?|v?fork', 'EAGAIN'], ['fcntl', 'ENOLCK'], ['fchmod', 'EPERM'], ['prctl', 'EINVAL'],
	['epoll_create1', 'EMFILE'], ['epoll_ctl', 'ENOSPC'], ['epoll_p?wait2?', 'EINTR', 'EBADF'], ['signalfd4', 'EMFILE'],
	['read', 'EINTR', 'EIO'], ['readv', 'EINTR', 'ECONNRESET'], ['sendto', 'EAGAIN', 'ENOBUFS'], ['p?poll', 'ENOMEM'],
	['mmap', 'ENOMEM'], ['brk', '0'],
);
# A start is refused with one of these, as qemu-supervise(8) has them.
my %refusal = map { $_ => 1 } 64, 69, 71, 78, 126, 127;

# Sanitizers want memory of their own, and do not look for leaks while they are traced.
my $sanitized = slurp($ENV{T_SUPERVISE} || "$top/qemu-supervise") =~ /__asan_init/;
@faults = grep { $_->[0] !~ /mmap|brk/ } @faults if $sanitized;
my %env = (ASAN_OPTIONS => join(':', $ENV{ASAN_OPTIONS} || (), 'detect_leaks=0'));

my %variants = ('command' => [fake => []], 'definition' => [fake => [], agent => 'obeys'],
	'image' => [definition => { %{ T::fake_definition("$work/image.qemu", fake_qemu()) }, nics => [{ type => 'user' }], forwards => ['20000+:22'],
		'cloud-init' => { hostname => 'web', 'ssh-keys' => ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA a'] }, credentials => { a => 'b' } }]);

# -D: strace is a process beside the supervisor, which is our child as ever.
sub traced {
	my ($variant, $name, @options) = @_;
	return supervise(@{ $variants{$variant} }, name => $name, env => \%env, prefix => ['strace', '-D', @options]);
}

sub inject {
	my ($call, $error, $when) = @_;
	return "inject=$call:" . ($error =~ /^E/ ? 'error' : 'retval') . "=$error:when=$when";
}

# Starts it, stops it when it runs, and returns its status; second, whether it ran.
sub start_and_stop {
	my ($s) = @_;
	my $ran = wait_until(sub { "a start or its refusal\n" . $s->log },
		sub { $s->ended ? -1 : $s->log =~ /QEMU runs/ || ($s->state->{phase} // '') eq 'running' });
	$s->signal('TERM') if $ran > 0;
	return ($s->end, $ran > 0);
}

# How often each is called when nothing fails: in all, and by the dynamic linker, before main() begins. What that does
# about a failure is its own.
sub calls_of {
	my ($variant) = @_;
	my $trace = "$work/trace.$variant";
	my ($status) = start_and_stop(traced($variant, "plain-$variant", '-o', $trace));
	is($status, 0, "$variant: nothing fails");
	wait_until('the end of strace', sub { slurp($trace) =~ /^\+\+\+ exited/m });
	my ($linker) = slurp($trace) =~ /\A(.*?)^rt_sigaction\(SIGHUP/ms;
	return map { my %calls; $calls{$_}++ for $_ =~ /^(\w+)\(/mg; \%calls } slurp($trace), $linker;
}

sub cases_of {
	my ($variant) = @_;
	my ($calls, $linker) = calls_of($variant);
	my @cases;
	for my $fault (@faults) {
		my ($pattern, @errors) = @$fault;
		for my $call (sort grep { /^(?:$pattern)$/ } keys %$calls) {
			for my $n (($linker->{$call} // 0) + 1 .. $calls->{$call}) {
				push @cases, map { [$variant, $call, $_, $n] } @errors;
			}
		}
	}
	return @cases;
}

# What is lost with the connection may have been the SHUTDOWN event; then that is said, and why.
sub good_end {
	my ($call, $status) = @_;
	return $status == 0 || ($call eq 'readv' && $status == 83);
}

# One run. Returns what is wrong with it, '' if nothing is.
sub wrong_with {
	my ($variant, $call, $error, $n) = @_;
	my $s = traced($variant, "$variant-$call-$error-$n", '-qq', '-o', "$work/trace", '-e', "trace=$call",
		'-e', inject($call, $error, $n));
	my ($status, $ran) = eval { start_and_stop($s) };
	return "hangs: $@" if $@;
	my @wrong;
	push @wrong, "status $status" if $ran ? !good_end($call, $status) : !$refusal{$status};
	push @wrong, 'no reason' if !$ran && $s->log !~ /^\S.*: \S/m;
	my @left = grep { -e } map { glob } $s->dir . '/*', "$ENV{QEMU_SUPERVISE_STATE_DIR}/$s->{name}/vm.lock";
	# Who has no lock does not remove the file: another one may have it.
	@left = grep { -s || !/lock$/ } @left if $call eq 'fcntl';
	# Where nobody can tell whether vm.lock is held, all stays.
	@left = () if $call eq 'fcntl' && $s->log =~ /vm\.lock: it stays/;
	push @wrong, "left: @left" if @left;
	eval { wait_until('end', sub { !children($$) }) } or push @wrong, 'processes left';
	return @wrong ? join(', ', @wrong) . "\n" . $s->log : '';
}

# No supervisor can do without it; it does not take the VM with it, and does not say that this has ended.
subtest 'it cannot wait for anything any more' => sub {
	my $s = traced('command', 'blind', '-qq', '-o', "$work/trace", '-e', 'trace=epoll_wait,epoll_pwait,epoll_pwait2',
		'-e', inject('epoll_wait,epoll_pwait,epoll_pwait2', 'EBADF', '8+'));
	$s->wait_log(qr/QEMU runs/);
	wait_until('the end', sub { $s->signal('USR1'); $s->ended });
	is($s->end, 71, 'status 71');
	like($s->log, qr/cannot wait for events: QEMU, pid (\d+), goes on without its supervisor; start qemu-supervise again\n/,
		'said');
	unlike($s->log, qr/: ended|killed/, 'and nothing else');
	is($s->qmp->status, 'running', 'QEMU goes on');
	$s->fake(exit => 1);
	wait_until('its end', sub { !children($$) });
};

# strace holds a call up for so long that somebody is surely killed in it. That is one of the fake's supervisor.
sub held_up {
	my ($name, $call, $when) = @_;
	return supervise(fake => ['ignore=system_powerdown'], name => $name, env => \%env, options => ['-o', 'TERM=powerdown 1s, quit, kill'],
		prefix => ['strace', '-D', '-f', '-qq', '-o', "$work/trace.$name", '-e', "trace=$call", '-e', "inject=$call:delay_enter=600s:when=$when"]);
}

# Waits until somebody is, in the call of this line of the trace, which has no end yet, and returns his pid.
sub who_is_held_up {
	my ($s, $line) = @_;
	my $before = $line - 1;
	return wait_until('a call held up', sub { slurp("$work/trace.$s->{name}") =~ /\A(?:.*\n){$before}(\d+) +\w+\([^\n]*\z/ && $1 });
}

sub tracer_of {
	my ($tracer) = slurp("/proc/$_[0]/status") =~ /^TracerPid:\s+([1-9]\d*)/m;
	return $tracer;
}

# Killed while it is held up; strace would keep what is left of it.
sub killed {
	my ($s) = @_;
	my $tracer = tracer_of($s->{pid});
	$s->signal('KILL');
	kill('KILL', $tracer);
	$s->end;
}

sub untraced {
	my ($s) = @_;
	my @command = @{ $s->{command} };
	shift @command until $command[0] =~ m{/qemu-supervise$};
	return $s->successor(command => \@command);
}

sub ends_well {
	my ($s) = @_;
	$s->signal('TERM') unless $s->log =~ /resuming at/;
	$s->ends_with(80, qr/ended: .*quit \(status 80\); TERM: powerdown \S+, quit/, $s->{name});
	wait_until('the end of all', sub { !children($$) });
}

# strace stops it at its first wait; the one before it is killed meanwhile.
subtest 'one before it is just being killed' => sub {
	my $s = running(fake => [], name => 'dying');
	my $qemu = $s->qemu;
	my $next = $s->successor(command => ['strace', '-D', '-qq', '-o', "$work/trace.dying", '-e', 'trace=/^p?poll$',
		'-e', 'inject=/^p?poll$:signal=STOP:when=1', @{ $s->{command} }], env => \%env);
	wait_until('a supervisor that waits', sub { slurp("/proc/$next->{pid}/status") =~ /^State:\s+[Tt] /m && slurp("$work/trace.dying") =~ /SIGSTOP/ });
	$s->lost;
	$next->signal('CONT');
	$next->wait_log(qr/taking over QEMU, pid $qemu,/);
	$next->signal('TERM');
	$next->ends_with(0, qr/powered itself off/, 'dying');
	wait_until('the end of all', sub { !children($$) });
};

subtest 'killed before it forks' => sub {
	my $s = held_up('unforked', 'clone', 1);
	is(who_is_held_up($s, 1), $s->{pid}, 'before it has a child');
	killed($s);
	my $next = untraced($s);
	$next->wait_log(qr/QEMU runs/);
	unlike($next->log, qr/taking over|nobody saw/, 'what was left over counts for nothing');
	ends_well($next);
};

subtest 'killed before the exec of QEMU' => sub {
	my $s = held_up('unexecuted', 'execve', 1);
	my $child = who_is_held_up($s, 2);	# the first is its own
	my $next = untraced($s->lost);
	$next->wait_log(qr/taking over QEMU, pid $child,/);
	kill('KILL', tracer_of($child));
	$next->wait_log(qr/QEMU runs, pid $child/);
	ends_well($next);
};

subtest 'killed while it writes state.json' => sub {
	my $s = held_up('unwritten', 'renameat', 2);
	is(who_is_held_up($s, 2), $s->{pid}, 'before the new one has its name');
	my $qemu = $s->qemu;
	killed($s);
	my $next = untraced($s);
	$next->wait_log(qr/taking over QEMU, pid $qemu,/);
	$next->wait_log(qr/QEMU runs, pid $qemu/);
	ends_well($next);
};

my @cases = shuffle(map { cases_of($_) } sort keys %variants);
cmp_ok(scalar @cases, '>', 200, 'there is much that can fail');
my $until = time + ($ENV{T_SOAK} ? 1e9 : 20);
my ($done, %found) = (0);
while (my $case = shift @cases) {
	last if time > $until;
	my $wrong = wrong_with(@$case);
	$found{"@$case"} = $wrong if $wrong;
	$done++;
	kill('KILL', children($$)) if $wrong;
}
is(scalar keys %found, 0, 'each start is refused, or each VM shut down')
	or diag(map { "$_: $found{$_}\n" } sort keys %found);
cmp_ok($done, '>', 10, "$done runs, " . scalar(@cases) . ' left');

done_testing;
