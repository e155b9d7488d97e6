#!/usr/bin/perl
# A start that fails says why in one line, with the status of its kind, and leaves nothing behind.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use POSIX ();
use T;

sub fails {
	my ($what, $status, $words, %o) = @_;
	my $s = supervise(%o);
	is($s->end, $status, "$what: status $status") or diag($s->log);
	like($s->log, qr/^qemu-supervise: \Q$s->{name}\E: [^\n]*$words[^\n]*$/m, "$what: said");
	my @ours = $s->log =~ /^(qemu-supervise: .*)$/mg;
	is(scalar @ours, 1, "$what: in one line") or diag($s->log);
	ok(!-e $s->dir, "$what: nothing left") if !$o{keeps};
	return $s;
}

# Root may write everywhere; others may not.
sub as_nobody {
	my (@without) = @_;
	return sub { delete @ENV{@without}; POSIX::setgid(65534); POSIX::setuid(65534) };
}

subtest 'QEMU does not start' => sub {
	fails('no such program', 127, qr/cannot execute nosuch-qemu: No such file/, command => ['nosuch-qemu', '-m', '1']);
	fails('no such path', 127, qr{cannot execute /nosuch/qemu: No such file}, command => ['/nosuch/qemu']);
	fails('not executable', 126, qr/cannot execute .*: Permission denied/, command => [spew("$work/qemu", 'x')]);
	fails('a directory', 126, qr/cannot execute .*: Permission denied/, command => [$work]);
};

subtest 'a script that drops its arguments' => sub {
	my $script = spew("$work/myvm.sh", "#!/bin/sh\nexec perl -e 'sleep 1 while 1'\n");
	chmod(0755, $script);
	my $s = supervise(command => [$script], options => ['-o', 'TERM=quit 100ms, kill']);
	$s->wait_log(qr{^qemu-supervise: $s->{name}: QMP does not answer: does \Q$script\E pass its arguments on \(exec qemu-system-\.\.\. "\$\@"\)\?$}m);
	is(scalar(() = $s->log =~ /pass its arguments on/g), 1, 'is suspected once');
	$s->signal('TERM');
	is($s->end, 81, 'and ends');
	spew($script, "#!/bin/sh\nexec " . join(' ', fake_qemu()) . " \"\$\@\"\n");
	$s = running(command => [$script]);
	$s->signal('TERM');
	is($s->end, 0, 'one that passes them on works');
	unlike($s->log, qr/arguments/, 'and is not suspected');
};

subtest 'QEMU ends before it answers' => sub {
	my $s = fails('status 1', 69, qr/QEMU failed before the VM started: QEMU ended with status 1 \(status 69\)/,
		fake => ['say=qemu: -drive: no such disk', 'exit-before-qmp=1']);
	like($s->log, qr/\Aqemu: -drive: no such disk\nqemu-supervise: /, 'its own words come first, as they are');
	fails('status 0', 69, qr/QEMU ended before it answered/, fake => ['exit-before-qmp=0']);
	fails('in the middle', 69, qr/QEMU failed.* died of SIGSEGV/, fake => ['die=qmp_capabilities:SEGV']);
};

# As QEMU does where /dev/kvm opens and can run no guest.
subtest 'QEMU aborts' => sub {
	my $cure = qr/died of SIGABRT(?:, core dumped)?; does KVM run guests here\? "vmconf doctor" tries it; without KVM: "accel": "tcg" \(-accel tcg\) \(status/;
	T::fake_definition("$work/$_", fake_qemu("die=qmp_capabilities:$_")) for qw(ABRT SEGV);
	for my $words (['-accel', 'kvm'], ['-machine', 'q35,accel=kvm:tcg'], ['-enable-kvm']) {
		fails("@$words", 69, $cure, command => ["$work/ABRT", @$words]);
	}
	my $s = fails('-accel tcg', 69, qr/died of SIGABRT/, command => ["$work/ABRT", '-accel', 'tcg']);
	unlike($s->log, qr/KVM/, 'without KVM it is something else');
	$s = fails('another signal', 69, qr/died of SIGSEGV/, command => ["$work/SEGV", '-accel', 'kvm']);
	unlike($s->log, qr/KVM/, 'and with KVM, where it does not abort');
};

subtest 'the runtime directory' => sub {
	my $long = "$work/" . 'x' x 100;
	fails('too long', 71, qr/\Q$long\E.* its socket "control" would be over 107 bytes.*QEMU_SUPERVISE_RUNTIME_DIR/,
		fake => [], env => { QEMU_SUPERVISE_RUNTIME_DIR => $long });
	ok(!glob("$long/*"), 'and nothing is left in it');
	spew("$work/file", '');
	fails('not a directory', 71, qr{cannot make the runtime directory $work/file/}, fake => [],
		env => { QEMU_SUPERVISE_RUNTIME_DIR => "$work/file" });
};

subtest 'the runtime directory, and other users' => sub {
	plan skip_all => 'needs root' if $> != 0;
	mkdir("$work/$_") for 'closed', 'theirs', 'shared', 'shared/alien';
	chmod(0755, $work);
	# The source tree may be in a home that is closed to them.
	system('install', '-m', '755', $ENV{T_SUPERVISE} || "$top/qemu-supervise", "$work/qemu-supervise") == 0 or die;
	local $ENV{T_SUPERVISE} = "$work/qemu-supervise";
	chown(65534, 65534, "$work/theirs", "$work/shared/alien");
	fails('not ours to write', 71, qr{cannot make the runtime directory $work/closed/}, fake => [], setup => as_nobody(),
		env => { QEMU_SUPERVISE_RUNTIME_DIR => "$work/closed" });
	fails('not ours to make', 71, qr{cannot make the runtime directory $work/closed/x: Permission}, fake => [],
		setup => as_nobody(), env => { QEMU_SUPERVISE_RUNTIME_DIR => "$work/closed/x" });
	fails('owned by someone else', 71, qr{runtime directory $work/theirs belongs to uid 65534, neither us \(0\) nor root},
		fake => [], env => { QEMU_SUPERVISE_RUNTIME_DIR => "$work/theirs" });
	fails('the VM\'s is owned by someone else', 71, qr{$work/shared/alien belongs to uid 65534, not to us \(0\)},
		fake => [], name => 'alien', env => { QEMU_SUPERVISE_RUNTIME_DIR => "$work/shared" });
	symlink("$work/shared", "$work/shared/link");
	fails('the VM\'s is a link', 71, qr{cannot open the runtime directory $work/shared/link}, fake => [], name => 'link',
		env => { QEMU_SUPERVISE_RUNTIME_DIR => "$work/shared" });
	fails('none is known', 71, qr/neither XDG_RUNTIME_DIR nor QEMU_SUPERVISE_RUNTIME_DIR/, fake => [],
		setup => as_nobody('XDG_RUNTIME_DIR', 'QEMU_SUPERVISE_RUNTIME_DIR'));
};

# With one descriptor more each time, another step of the start is the one that has none (from 7: the leak checker of
# a program built with -fsanitize=address needs two of its own at the end).
subtest 'no descriptors' => sub {
	my $last;
	for my $limit (7 .. 30) {
		my $s = supervise(fake => [], name => "few$limit", prefix => ['prlimit', "--nofile=$limit:$limit"]);
		wait_until("few$limit", sub { $s->ended || $s->log =~ /QEMU runs/ });
		if (!$s->ended) {
			$last = $s;
			last;
		}
		like($s->end, qr/^(71|69)$/, "$limit descriptors are too few");
		like($s->log, qr/Too many open files|Error 24/, "$limit: the reason is said");
		ok(!-e $s->dir, "$limit: nothing is left");
	}
	$last->signal('TERM');
	$last->ends_with(0, qr/powered itself off/, 'enough descriptors');
};

# The directory is there when it is to be made, and gone when it, or the lock in it, is to be opened.
subtest 'one before it has just ended' => sub {
	plan skip_all => 'strace may not trace' if (run_command('strace', '-o', "$work/may", 'true'))[0] != 0;
	for my $what ("$ENV{QEMU_SUPERVISE_RUNTIME_DIR}/going", 'lock') {
		my $trace = "$work/trace." . $what =~ s{.*/}{}r;
		my $s = running(fake => [], name => 'going', env => { ASAN_OPTIONS => 'detect_leaks=0' },
			prefix => ['strace', '-D', '-o', $trace, '-P', $what, '-e', 'trace=open,openat', '-e', 'inject=open,openat:error=ENOENT:when=1']);
		like(slurp($trace), qr/\bINJECTED\b/, "$what is not there");
		unlike($s->log, qr/cannot/, 'and is made again');
		$s->signal('TERM');
		$s->ends_with(0, qr/powered itself off/, 'it runs');
	}
};

subtest 'a second supervisor' => sub {
	my $s = supervise(fake => ["record=$work/record"], name => 'one');
	$s->wait_log(qr/QEMU runs/);
	my $second = fails('same name', 75, qr/VM one already has a supervisor, pid $s->{pid};/, fake => [], name => 'one', keeps => 1);
	is($s->qmp->status, 'running', 'the first one has not noticed');
	my $other = supervise(fake => [], name => 'other');
	$other->wait_log(qr/QEMU runs/);
	$_->signal('TERM') for $s, $other;
	$_->ends_with(0, qr/powered itself off/) for $s, $other;
};

subtest 'a VM that has lost its supervisor' => sub {
	my $s = supervise(fake => [], name => 'lone');
	$s->wait_log(qr/QEMU runs/);
	my $qemu = $s->qemu;
	$s->signal('KILL');
	is($s->end, 137, 'the supervisor was killed');
	my $q = $s->qmp;
	is($q->status, 'running', 'its QEMU goes on, and its public socket answers');
	$q->command('quit');
	wait_until('end of QEMU', sub { !kill(0, $qemu) || waitpid($qemu, POSIX::WNOHANG()) > 0 });
	my $next = supervise(fake => [], name => 'lone');
	$next->wait_log(qr/QEMU runs/);
	$next->signal('TERM');
	$next->ends_with(0, qr/powered itself off/, 'after its end the name is free');
};

done_testing;
