#!/usr/bin/perl
# vmconf watch: a line for each change, from inotify and pidfds, whatever becomes of the directories; and that start and stop
# wait for the same, instead of looking again and again.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use POSIX ();
use T;

need('qemu-system-x86_64', 'qemu-img', 'strace');
need_that('strace may trace', sub { (run_command('strace', '-o', "$work/may", 'true'))[0] == 0 });

my ($config, $state, $run) = map { $ENV{"QEMU_SUPERVISE_${_}_DIR"} } qw(CONFIG STATE RUNTIME);
my $program = $ENV{T_VMCONF} || "$top/vmconf";
my $count = 0;

# A vmconf watch, and what it has printed.
sub watch {
	my ($how, @words) = @_;
	my $w = { out => "$work/watch." . ++$count, err => "$work/watch.err.$count" };
	$w->{pid} = fork // die "fork: $!";
	if ($w->{pid} == 0) {
		open(STDOUT, '>>', $w->{out});	# where it was cut, the next line is the first
		open(STDERR, '>>', $w->{err});
		{ no warnings 'exec'; exec @$how, $program, 'watch', @words; }
		POSIX::_exit(127);
	}
	return $w;
}

# Waits for a line, and returns what follows its time.
sub sees {
	my ($w, $what) = @_;
	my $line = wait_until(sub { "watch: $what\n" . slurp($w->{out}) . slurp($w->{err}) }, sub { (grep { $_ =~ $what } lines($w))[0] });
	pass("watch: $line");
	return $line;
}

sub lines {
	my ($w) = @_;
	return map { s/^\S+ \S+  //r } slurp($w->{out}) =~ /^(.*)\n/mg;
}

sub events { return [map { s/: .*//r =~ s/.*  //r } grep { /^$_[1]  / } lines($_[0])] }

sub forget { truncate($_[0]{out}, 0) or die "truncate: $!" }

sub interrupt {
	my ($w) = @_;
	kill('INT', $w->{pid});
	waitpid($w->{pid}, 0);
	return $? & 127;
}

# ---- a VM's life, where no directory is there yet ----
my $w = watch([]);
wait_until('watch sleeps', sub { slurp("/proc/$w->{pid}/wchan") =~ /poll/ || slurp("/proc/$w->{pid}/stat") =~ /\) S/ });
vmconf_does('create', 'web1', quick());
sees($w, qr/^web1  created$/);
vmconf_does('start', 'web1');
my $pid = state_of('web1')->{pid};
sees($w, qr/^web1  started: pid $pid$/);
sees($w, qr/^web1  ready$/);
vmconf_does('qmp', 'web1', 'cont');
vmconf_does('qmp', 'web1', 'stop');
sees($w, qr/^web1  paused/);
vmconf_does('qmp', 'web1', 'cont');
sees($w, qr/^web1  resumed$/);
kill('KILL', state_of('web1')->{supervisor});
sees($w, qr/^web1  unmanaged: pid $pid$/);
vmconf_does('start', 'web1');
sees($w, qr/^web1  taken-over: pid $pid$/);
is_deeply(events($w, 'web1'), [qw(created starting started ready paused resumed unmanaged taken-over)], 'nothing else');
forget($w);
vmconf_does('set', 'web1', 'on.TERM=qmp:query-status 60s, quit, kill', 'on.QUIT=qmp:query-status 1s, quit 10s, kill');
my ($status, $out, $err) = vmconf('stop', '--kill', 'web1');
sees($w, qr/^web1  ended: QEMU was killed \(status 81\)$/);
vmconf_does('start', 'web1');
forget($w);
kill('TERM', state_of('web1')->{supervisor});
sees($w, qr/^web1  stopping: qmp \(TERM\), at most (?:60|59|1m|5\d)s?/);
kill('QUIT', state_of('web1')->{supervisor});
sees($w, qr/^web1  stopping: qmp \(QUIT\)/);
sees($w, qr/^web1  ended: .*\(status 0\)$/);
vmconf_does('set', 'web1', 'on=');
vmconf_does('rename', 'web1', 'web2');
sees($w, qr/^web1  deleted$/);
sees($w, qr/^web2  created$/);
is_deeply([grep { /^web2/ } lines($w)], ['web2  created'], 'the last end of a VM that is new is no news');

# ---- directories come and go ----
vmconf_does('start', 'web2');
forget($w);
system('rm', '-rf', $run);
vmconf_does('stop', 'web2');
sees($w, qr/^web2  ended:/);
forget($w);
rename($state, "$state.away") or die "rename: $!";
mkdir $state;
rename($_, s/\.away//r) for glob("$state.away/web2");
system("mv $state.away/.[a-z]* $state/ 2>/dev/null; rmdir $state.away");
vmconf_does('start', 'web2');
sees($w, qr/^web2  ready$/);
rename($config, "$config.away") or die "rename: $!";
sees($w, qr/^web2  ready$/);
rename("$config.away", $config) or die "rename: $!";
vmconf_does('create', 'late', quick());
sees($w, qr/^late  created$/);

# ---- it sleeps while nothing happens ----
sub switches { return slurp("/proc/$_[0]/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : die }
wait_until('it is quiet', sub { my $n = switches($w->{pid}); select(undef, undef, undef, 0.2); $n == switches($w->{pid}) });
my $before = switches($w->{pid});
sleep 2;
is(switches($w->{pid}), $before, 'it never wakes up while nothing happens');

# ---- more events than the kernel keeps ----
forget($w);
my $kept = slurp('/proc/sys/fs/inotify/max_queued_events') + 0;
kill('STOP', $w->{pid});
for my $n (1 .. $kept / 2 + 100) {
	spew("$run/.$n", '');
	unlink("$run/.$n");
}
vmconf_does('stop', 'web2');
vmconf_does('delete', 'late');
kill('CONT', $w->{pid});
sees($w, qr/^web2  ended:/);
sees($w, qr/^late  deleted$/);
is(interrupt($w), POSIX::SIGINT(), '^C ends it');
is(slurp($w->{err}), '', 'it had nothing to complain about');

# ---- JSON, and only some VMs ----
vmconf_does('create', 'other', quick());
$w = watch([], 'web2', '--json');
my $json = JSON::PP->new;
my $last = sub { map { $json->decode($_) } slurp($w->{out}) =~ /^(.*)\n/mg };
my $line = wait_until('the present state', sub { ($last->())[0] });
is($line->{event}, 'present', 'first, what is');
is($line->{state}, 'stopped', 'its state');
like($line->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'a time in UTC');
my %list = %{ state_of('web2') };
delete @list{qw(memory cpus changed enabled order tags protect broken moved)};
is_deeply({ map { $_ => $line->{$_} } keys %list }, \%list, 'the keys of list --json');
is_deeply([sort grep { !exists $list{$_} } keys %$line], [qw(event time version)], 'and three more');
vmconf_does('set', 'web2', 'on.TERM=qmp:query-status 1s, quit 10s, kill');	# slow enough to be seen
vmconf_does('start', 'other');
vmconf_does('start', 'web2');
wait_until('ready', sub { grep { $_->{event} eq 'ready' } $last->() });
vmconf_does('stop', 'web2', 'other');
wait_until('ended', sub { grep { $_->{event} eq 'ended' && $_->{'last-status'} == 0 } $last->() });
is_deeply([grep { $_->{name} ne 'web2' } $last->()], [], 'of the VM that was named alone');
my ($rung) = grep { $_->{event} eq 'stopping' } $last->();
ok($rung->{rung}, 'the rung of a stop');
interrupt($w);
vmconf_fails(1, qr/there is no VM nobody/, 'watch', 'nobody');
is_deeply([(run_command('sh', '-c', 'exec "$0" watch web2 >/dev/full', $program))[0, 2]],
	[1, "vmconf: cannot write the output: No space left on device\n"],
	'what it cannot write ends it');

# ---- a guest ----
my $dir = guest_files();
T::define('guest', { emulator => 'qemu-system-x86_64', machine => 'q35', accel => 'tcg', memory => '128M', kernel => "$dir/vmlinuz",
	initrd => "$dir/initrd", append => T::guest_append('normal'), console => 'none', ready => 'listening' });
$w = watch([], 'guest');
sees($w, qr/^guest  present: stopped$/);
vmconf_does('start', 'guest');
sees($w, qr/^guest  listening$/);
is(state_of('guest')->{listening}, JSON::PP::true(), 'list --json: it listens');
vmconf_does('stop', 'guest');
sees($w, qr/^guest  ended: the guest powered itself off \(status 0\)$/);
is_deeply([grep { !/stopping/ } @{ events($w, 'guest') }], [qw(present starting started listening ready ended)], 'its life');
interrupt($w);

# ---- where there is nothing to watch with, once a second ----
for my $fault ('inotify_init1:error=EMFILE', 'inotify_add_watch:error=ENOSPC', 'pidfd_open:error=EMFILE', 'epoll_create1:error=EMFILE') {
	$w = watch(['strace', '-o', '/dev/null', '-e', "trace=" . $fault =~ s/:.*//r, '-e', "inject=$fault"], 'web2');
	sees($w, qr/^web2  present: stopped$/);
	vmconf_does('start', 'web2');
	sees($w, qr/^web2  started/);
	vmconf_does('stop', 'web2');
	sees($w, qr/^web2  ended/);
	my @told = slurp($w->{err}) =~ /cannot watch (?:directories|processes): .*; looking once a second instead\n/g;
	is(@told, 1, "$fault: said once");
	kill('INT', T::children($w->{pid}));
	waitpid($w->{pid}, 0);
	($status, $out, $err) = run_command('strace', '-o', '/dev/null', '-e', "trace=" . $fault =~ s/:.*//r, '-e', "inject=$fault", $program, 'start', 'web2');
	is($status, 0, "$fault: start") or diag($err);
	($status, $out, $err) = run_command('strace', '-o', '/dev/null', '-e', "trace=" . $fault =~ s/:.*//r, '-e', "inject=$fault", $program, 'stop', 'web2');
	is($status, 0, "$fault: stop") or diag($err);
}

# ---- start and stop do not look again and again ----
spew("$work/slow", qq(#!/bin/sh\nwhile [ ! -e "$work/go" ]; do sleep 0.05; done\nexec qemu-system-x86_64 "\$@"\n));
chmod 0755, "$work/slow";
vmconf_does('create', 'slow', quick('--set', "emulator=$work/slow", '--set', 'sandbox=false', '--set', 'on.TERM=qmp:query-status 3s, quit 10s, kill'));

sub reads {
	my ($verb, $meanwhile) = @_;
	my $tracer = fork // die "fork: $!";
	if ($tracer == 0) {
		open(STDOUT, '>', '/dev/null');
		exec 'strace', '-o', "$work/reads", '-e', 'trace=openat', $program, $verb, 'slow';
	}
	$meanwhile->();
	waitpid($tracer, 0);
	is($?, 0, "vmconf $verb");
	return scalar(() = slurp("$work/reads") =~ /vm\.lock/g);
}
cmp_ok(reads('start', sub {
	wait_until('starting', sub { state_of('slow')->{state} eq 'starting' });
	sleep 3;
	spew("$work/go", '');
}), '<', 60, 'a start that takes 3 s looks at the VM a few times');
cmp_ok(reads('stop', sub { }), '<', 60, 'and so does a stop');

done_testing();
