#!/usr/bin/perl
# System calls of vmconf fail, one in each run, in commands that look as well as in those that change something. A command
# either succeeds, with the output and the directories that it has without a failure, or says why not, and leaves what
# there was. All of them are for `make soak`; else as many as 20 seconds allow, the same
# ones each time (T_SEED=N: others).
use strict;
use warnings;
use Errno ();
use FindBin;
use lib $FindBin::Bin;
use List::Util qw(min shuffle);
use T;

need('qemu-img', 'qemu-system-x86_64', 'strace');
need_that('strace may trace', sub { (run_command('strace', '-o', "$work/may", 'true'))[0] == 0 });

my $seed = $ENV{T_SEED} || 1;
srand($seed);
note("T_SEED=$seed");

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $program = $ENV{T_VMCONF} || "$top/vmconf";
my $sanitized = slurp($program) =~ /__asan_init/;
$ENV{ASAN_OPTIONS} = join(':', $ENV{ASAN_OPTIONS} || (), 'detect_leaks=0');	# it cannot look for them while it is traced
$ENV{EDITOR} = qq(sed -i 's/"description": "old"/"description": "edited"/');

# As in t/faults.t: what fails, and with what.
my @faults = (
	['open(?:at)?', 'EMFILE', 'EIO'], ['read|pread64', 'EIO'], ['write', 'ENOSPC'], ['(?:new)?fstat(?:at)?|statx|stat|lstat', 'EIO'],
	['fsync', 'EIO'], ['rename(?:at2?)?', 'ENOSPC'], ['mkdir(?:at)?', 'ENOSPC'], ['unlink(?:at)?', 'EIO'], ['rmdir', 'EIO'],
	['getdents64', 'EIO'], ['ftruncate', 'EIO'], ['fallocate', 'ENOSPC'], ['fchmod(?:at)?', 'EPERM'], ['fchown(?:at)?', 'EPERM'],
	['f?getxattr', 'EIO'], ['socket', 'EMFILE'], ['connect', 'ECONNREFUSED'], ['sendto|sendmsg', 'ENOBUFS'], ['recvfrom|recvmsg', 'ECONNRESET'],
	['pipe2', 'EMFILE'], ['memfd_create', 'EMFILE'], ['clone3?|v?fork', 'EAGAIN'], ['wait4', 'EINTR'], ['p?poll', 'EINTR', 'ENOMEM'],
	['fcntl', 'ENOLCK'], ['flock', 'ENOLCK'], ['lseek', 'EIO'], ['link(?:at)?', 'EPERM'], ['ioctl', 'EIO'], ['copy_file_range', 'EIO'],
	['pidfd_open', 'EMFILE'], ['dup[23]?', 'EMFILE'], ['readlink(?:at)?', 'EIO'], ['access|faccessat2?', 'EIO'], ['mmap', 'ENOMEM'],
);
@faults = grep { $_->[0] ne 'mmap' } @faults if $sanitized;

# What is run, and how what is left of it is undone; the directories are put back, too.
my @commands = (
	{ do => ['list'] },
	{ do => ['list', '--json'] },
	{ do => ['show', 'web'] },
	{ do => ['status', 'up'] },
	{ do => ['status', 'web', '--json'] },
	{ do => ['metrics'] },
	{ do => ['check'] },
	{ do => ['command', 'web'] },
	{ do => ['log', 'up'] },
	{ do => ['is-enabled', 'web'], status => 1 },
	{ do => ['qmp', 'up', 'query-status'] },
	{ do => ['create', 'fresh', '--disk', '1M', '--nic', 'none'] },
	{ do => ['set', 'web', 'cpus=2'] },
	{ do => ['edit', 'web'] },
	{ do => ['clone', 'web', 'copy'] },
	{ do => ['clone', 'web', 'copy', '--linked'] },
	{ do => ['rename', 'web', 'renamed'] },
	{ do => ['delete', 'web'] },
	{ do => ['start', 'web'], undo => ['stop', 'web'] },
	{ do => ['stop', 'down'], undo => ['start', 'down'] },
);

sub create { vmconf_does('create', $_[0], '--disk', '1M', quick(@_[1 .. $#_])) }

create('web', '--set', 'description=old');
spew("$state/web/vmlinuz", 'kernel');
for my $name ('up', 'down') {
	create($name);
	vmconf_does('start', $name);
}
# It has ended once before all that: later, it will have.
vmconf_does($_, 'down') for qw(stop start);

# ---- the directories ----

# What they hold, without what a start leaves, a lock that nobody holds, and the numbers that are new each time.
sub snapshot {
	my @found = grep { !/\/(?:vm\.lock|history\.jsonl|log|\.lock)$/ } split /\n/, `find $config $state -mindepth 1 | sort`;
	return join '', map { "$_: " . (-d $_ ? 'directory' : /qcow2$/ ? -s $_ : slurp($_) =~ s/"(?:uuid|mac|mtime|inode|changed)": \S+//gr) . "\n" } @found;
}

# All but the VMs that run. The directories themselves stay, which a journal knows.
sub keep { system("rm -rf '$work/kept'; mkdir '$work/kept'; cp -a '$config' '$work/kept/config'; cp -a '$state/web' '$state'/.*.json '$work/kept'") == 0 or die }

sub put_back {
	system("rm -rf '$config'/.n* '$config'/* '$state'/.j* '$state'/.*.json '$state'/.state* '$state/web' '$state/copy' '$state/fresh' '$state/renamed'");
	system("cp -a '$work/kept/config/'* '$config'; cp -a '$work/kept/web' '$work/kept'/.*.json '$state'") == 0 or die;
}

# ---- one run ----

sub traced {
	my ($how, $c) = @_;
	my ($status, $out, $err) = run_command('timeout', '-s', 'KILL', 120, 'strace', '-qq', '-o', "$work/trace", @$how, $program, @{ $c->{do} });
	return ($status, $out =~ s/\b(?:\d+m)?\d+(?:\.\d+)?s?\b|"last-status": \Knull|"last-words": \K(?:null|"[^"]*")/N/gr =~ s/ +/ /gr, $err);	# pids and times
}

# What an error is called.
sub words {
	my ($error) = @_;
	local $! = Errno->can($error)->();
	return "$!";
}

# What it is without a failure, and how often each call is made, from main() on.
sub learn {
	my ($c) = @_;
	@$c{qw(status out_plain err_plain)} = traced([], $c);
	is($c->{status}, $c->{expected} // $c->{status}, "vmconf @{ $c->{do} }");
	my ($linker) = slurp("$work/trace") =~ /\A(.*?)^rt_sigaction\(SIGCHLD/ms;
	my ($all, $before) = map { my %calls; $calls{$_}++ for ($_ // '') =~ /^(\w+)\(/mg; \%calls } slurp("$work/trace"), $linker;
	$c->{new} = snapshot();
	($c->{checked}) = vmconf('check');
	undo($c);
	my @cases;
	for my $fault (@faults) {
		my ($pattern, @errors) = @$fault;
		for my $call (sort grep { /^(?:$pattern)$/ } keys %$all) {
			my $first = $before->{$call} // 0;
			for my $n ($first + 1 .. min($all->{$call}, $first + 60)) {	# more are those of a wait
				push @cases, map { [$c, $call, $_, $n] } @errors;
			}
		}
	}
	return @cases;
}

# Lines of the output that are there only with the failure, if it does not say that something is not known.
sub lies {
	my ($c, $out, $error) = @_;
	my %plain = map { $_ => 1 } split /^/, $c->{out_plain};
	return index($out, words($error)) >= 0 ? () : grep { !$plain{$_} && !/ \?|: null|broken/ } split /^/, $out;
}

sub undo {
	my ($c) = @_;
	vmconf(@{ $c->{undo} }) if $c->{undo};
	put_back();
}

sub wrong_with {
	my ($c, $call, $error, $n) = @_;
	my ($status, $out, $err) = traced(['-e', "trace=$call", '-e', "inject=$call:error=$error:when=$n"], $c);
	my $is_good = $status == $c->{status};
	my @wrong;
	push @wrong, "ended by a signal, $status" if $status > 128;
	my @lies = $is_good && !$c->{undo} && $err eq $c->{err_plain} ? lies($c, $out, $error) : ();
	push @wrong, "status $status, and says\n" . join('', @lies) if @lies;
	push @wrong, 'no reason' if !$is_good && $err !~ /^vmconf: \S/m;
	my ($checked, $said, $also) = vmconf('check');
	push @wrong, "check: $checked $said$also" if $checked && $checked != $c->{checked};
	my $now = snapshot();
	my $told = index($err, words($error)) >= 0;	# such as: files are left, and why
	push @wrong, "neither old nor new:\n$now" if $now ne $c->{old} && $now ne $c->{new} && !$told;
	push @wrong, 'it says that it succeeded' if $is_good && !$c->{undo} && $now ne $c->{new} && !$told;
	undo($c);
	return @wrong ? join(', ', @wrong) . "\n$err" : '';
}

keep();
my $old = snapshot();
my @cases;
for my $c (@commands) {
	next if $ENV{T_ONLY} && "@{ $c->{do} }" !~ /$ENV{T_ONLY}/;
	$c->{old} = $old;
	push @cases, learn($c);
	is(snapshot(), $old, 'all is as it was');
}
my $until = time + ($ENV{T_SOAK} ? 1e9 : 20);
my $done = 0;
for my $case (shuffle(@cases)) {
	last if time > $until;
	my ($c, $call, $error, $n) = @$case;
	my $wrong = wrong_with(@$case);
	is($wrong, '', "vmconf @{ $c->{do} }: $call number $n: $error");
	$done++;
}
diag("$done of " . scalar(@cases) . ' failures');
vmconf_does('stop', '--all');
wait_until('the end of all', sub { !children($$) });
done_testing;
