#!/usr/bin/perl
# Programs that run beside QEMU: swtpm, virtiofsd and others. They are started before it, hear no stray signal, outlive
# their supervisor and end after QEMU; one that dies is told.
use strict;
use warnings;
use FindBin;
use IO::Socket::UNIX;
use JSON::PP;
use lib $FindBin::Bin;
use POSIX ();
use T;

need('qemu-system-x86_64', 'qemu-img', 'swtpm');
my ($virtiofsd) = grep { -x } '/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd';
need_that('virtiofsd is installed', sub { $virtiofsd });
need_that('root, whose mounts virtiofsd changes', sub { $> == 0 });

my ($config, $state) = map { $ENV{"QEMU_SUPERVISE_${_}_DIR"} } qw(CONFIG STATE);
my $n = 0;

# A definition of the guest, and where its console is. slow: seconds that it goes on after a press.
sub guest {
	my ($append, %keys) = @_;
	my $console = "$work/guest-console." . ++$n;
	my $slow = delete $keys{slow};
	my $definition = T::guest_definition($slow ? 'slow-stop' : 'normal', disk => make_disk(), console => $console, append => $append, delay => $slow);
	$definition->{initrd} =~ s/-agent$//;
	delete $definition->{agent};
	return ({ %$definition, %keys }, $console);
}

sub start {
	my ($what, $console, @options) = @_;
	my $s = supervise(ref $what ? (definition => $what) : (vm => $what), options => [@options]);
	$s->{console} = $console if $console;
	return $s;
}

# A definition whose QEMU is the fake, with helpers.
sub fake {
	my ($helpers, @script) = @_;
	return { %{ T::fake_definition("$work/qemu" . ++$n, fake_qemu(@script)) }, helpers => $helpers };
}

sub script {
	my ($text) = @_;
	my $path = spew("$work/helper" . ++$n, "#!/bin/sh\n$text\n");
	chmod(0755, $path);
	return $path;
}

sub record {
	my ($s) = @_;
	my $text = slurp($s->dir . '/helpers.json');
	return $text ? @{ decode_json($text)->{helpers} } : ();
}

sub beside {
	my ($s) = @_;
	return @{ decode_json(vmconf_does('status', $s->{name}, '--json'))->{helpers} };
}

sub lives {
	my ($pid) = @_;
	return slurp("/proc/$pid/stat") =~ /^\d+ \(.*\) [^ZX]/s;
}

sub wait_gone {
	my (@pids) = @_;
	return wait_until("the end of @pids", sub { !grep { lives($_) } @pids });
}

# A vmconf watch: called with a pattern, it waits for that and returns all that was printed; without one, it ends it.
sub watching {
	my ($name) = @_;
	my $out = "$work/watch" . ++$n;
	my $pid = fork // die "fork: $!";
	if ($pid == 0) {
		open(STDOUT, '>', $out) or die;
		{ no warnings 'exec'; exec($ENV{T_VMCONF} || "$top/vmconf", 'watch', $name); }
		POSIX::_exit(127);
	}
	my $see = sub {
		my ($what) = @_;
		return wait_until(sub { "watch: $what\n" . slurp($out) }, sub { slurp($out) =~ /$what/m && slurp($out) }) if $what;
		kill('TERM', $pid);
		return waitpid($pid, 0);
	};
	$see->(qr/  present: /);
	return $see;
}

sub died { return grep { $_->{event} eq 'helper-died' } history($_[0]{name}) }

# The guest has appended line after line, and said which was the last.
sub share_is_complete {
	my ($s, $dir) = @_;
	my ($last) = $s->console =~ /^guest: shared (\d+)/m;
	is(slurp("$dir/log"), join('', map { "$_\n" } 0 .. ($last // -1)), 'the share is complete, up to the last line of the guest');
}

sub key_of { return $_[0]->console =~ /^guest: tpm ([0-9a-f]{184})\r?$/m ? $1 : '' }

spew("$work/key", 'the passphrase');
mkdir("$work/share");
my ($first, $key);

subtest 'a TPM and a share, from the start of a VM to its end' => sub {
	my ($definition, $console) = guest('tpm=yes share=data', slow => 3, tpm => { 'key-file' => "$work/key" }, shares => [{ path => "$work/share/", tag => 'data' }]);
	my $s = start($definition, $console);
	$s->wait_console(qr/guest: listening/);
	like($s->console, qr/guest: sharing/, 'the guest writes to the share');
	$key = key_of($s);
	ok($key, 'it has asked its TPM for a key');
	my @running = record($s);
	is_deeply([map { $_->{name} } @running], ['tpm', 'share data'], 'both are on record');
	is_deeply([beside($s)], [map { { name => $_->{name}, pid => $_->{pid}, died => undef } } @running], 'as in status --json');
	like(vmconf_does('status', $s->{name}), qr/^beside       tpm, pid \d+, up\nbeside       share data, pid \d+, up$/m, 'and in status');
	my @pids = map { $_->{pid} } @running;
	my $qemu = $s->qemu;
	for my $pid (@pids) {
		is(POSIX::getpgrp() == getpgrp($pid), '', "$pid has a process group of its own");
		kill($_, $pid, -$pid) for qw(TERM INT HUP QUIT USR2 PWR);
	}
	$s->signal('USR2');
	$s->wait_log(qr/reexec: done/);
	my $before = -s "$work/share/log";
	wait_until('more in the share', sub { -s "$work/share/log" > $before });
	my $next = $s->taken_over;
	$before = -s "$work/share/log";
	wait_until('more in the share', sub { -s "$work/share/log" > $before });
	is_deeply([grep { lives($_) } @pids], \@pids, 'they live, whatever they were sent and whatever became of the supervisor');
	is($next->qemu, $qemu, 'and QEMU is the same');
	$next->signal('TERM');
	$next->wait_console(qr/guest: press/);
	$next = $next->taken_over;
	unlike($next->console, qr/guest: shared/, 'the supervisor is killed in the stop, in which the guest still writes');
	$next->ends_with(0, qr/ended: the guest powered itself off/);
	share_is_complete($next, "$work/share");
	is_deeply([grep { lives($_) } @pids], [], 'they have ended with it');
	ok(!-e $s->dir . '/helpers.json', 'and are on record no longer');
	is_deeply([died($s)], [], 'no death is told');
	is_deeply([map { (stat($_))[2] & 0777 } glob("$state/$s->{name}/tpm/*")], [0600], 'only its user can read the state of the TPM');
	$first = $s->{name};
};

subtest 'the TPM is the same after a start' => sub {
	my ($console) = map { /^file:(.*)/ ? $1 : () } @{ definition($first)->{args} };
	my $s = start($first, $console);
	wait_until('another boot', sub { -s $console < 100000 && $s->log =~ /QEMU runs/ && $s->console =~ /guest: listening/ && $s->console !~ /guest: down/ });
	is(key_of($s), $key, 'its key is');
	$s->signal('TERM');
	is($s->end, 0, 'off');
	spew("$work/key", 'another one');
	$s = start($first);
	is($s->end, 69, 'not with another passphrase') or diag($s->log);
	spew("$work/key", 'the passphrase');
};

subtest 'delete, rename, clone' => sub {
	vmconf_does('clone', $first, 'twin');
	ok(!-e "$state/twin/tpm", 'a clone has no TPM yet');
	my $other = definition('twin');
	my $console = "$work/twin-console";
	s/^file:.*/file:$console/ for @{ $other->{args} };
	T::define('twin', $other);
	my $s = start('twin', $console);
	$s->wait_console(qr/guest: listening/);
	isnt(key_of($s), '', 'it has one');
	isnt(key_of($s), $key, 'of its own');
	$s->signal('TERM');
	is($s->end, 0, 'off');
	vmconf_does('rename', $first, 'renamed');
	ok(-e "$state/renamed/tpm/tpm2-00.permall", 'a VM that is renamed keeps its TPM');
	vmconf_does('delete', 'renamed', '--keep-disks');
	ok(-e "$state/renamed/tpm/tpm2-00.permall", 'as do disks that are kept');
	vmconf_does('delete', 'twin');
	ok(!-e "$state/twin", 'else it is deleted');
};

subtest 'a share that is read-only' => sub {
	mkdir("$work/read-only");
	spew("$work/read-only/log", "from the host\n");
	my ($definition, $console) = guest('share=data', shares => [{ path => "$work/read-only", tag => 'data', 'read-only' => JSON::PP::true }]);
	my $s = start($definition, $console);
	$s->wait_console(qr/guest: listening/);
	like($s->console, qr/guest: share refuses/, 'the guest cannot write there');
	$s->signal('TERM');
	is($s->end, 0, 'off');
	is(slurp("$work/read-only/log"), "from the host\n", 'and has not');
};

subtest 'one that dies' => sub {
	my $told = "$work/told";
	my $program = script("cat >$told.new; mv $told.new $told");
	my $definition = { %{ fake([{ run => [script('exec sleep 1000')] }, { run => ['sleep', '1001'] }]) }, on => { HELPER_DIED => "run:$program 10s" } };
	my $s = start($definition);
	$s->wait_log(qr/QEMU runs/);
	my @pids = map { $_->{pid} } record($s);
	my $watch = watching($s->{name});
	kill('KILL', $pids[0]);
	$s->wait_log(qr/helper helper\d+, pid $pids[0], was ended by signal 9: the VM goes on without it/);
	wait_until('the program of the ladder', sub { -e $told });
	my $event = decode_json(slurp($told));
	is_deeply([$event->{event}, @{ $event->{data} }{qw(pid how)}], ['HELPER_DIED', $pids[0], 'was ended by signal 9'], 'the ladder of HELPER_DIED is told');
	my ($line) = died($s);
	is($line->{words}, 'was ended by signal 9', 'the history has it');
	like(vmconf_does('history', $s->{name}), qr/helper helper\d+, pid $pids[0], was ended by\s+signal 9/, 'and vmconf history');
	is_deeply([map { $_->{pid} } record($s)], [$pids[1]], 'the other one is left');
	my $killed = { name => $line->{helper}, pid => $pids[0], died => 'was ended by signal 9' };
	is_deeply([beside($s)], [{ name => 'helper sleep', pid => $pids[1], died => undef }, $killed], 'status has both');
	like(vmconf_does('status', $s->{name}), qr/^beside       helper helper\d+, pid $pids[0], was ended by signal 9$/m, 'the dead one, too');
	$watch->(qr/helper-died: helper helper\d+, pid $pids[0], was ended by signal 9$/);
	my $lost = $s->lost;
	kill('KILL', $pids[1]);
	wait_gone($pids[1]);
	is_deeply([beside($s)], [{ name => 'helper sleep', pid => $pids[1], died => 'has ended' }, $killed], 'also where no supervisor has told it');
	$s = $lost->successor;
	$s->wait_log(qr/helper sleep, pid $pids[1], has ended: the VM goes on without it/);
	my $seen = $watch->(qr/helper-died: helper sleep, pid $pids[1], has ended$/);
	is(scalar(() = $seen =~ /helper-died/g), 2, 'watch tells each death once');
	$s->signal('QUIT');
	is($s->end, 80, 'a stop as without them');
	is(scalar(died($s)), 2, 'each death is told once');
	is_deeply([beside($s)], [], 'nothing is beside a VM that is down');
	$s = start($s->{name});
	$s->wait_log(qr/QEMU runs/);
	is_deeply([map { $_->{died} } beside($s)], [undef, undef], 'and after its next start they are others');
	$s->signal('QUIT');
	$s->end;
	$watch->();
};

# QEMU has lost the device, and goes on.
subtest 'virtiofsd and swtpm die' => sub {
	my $s = start(guest('tpm=yes share=data', tpm => JSON::PP::true, shares => [{ path => "$work/share", tag => 'data' }]));
	$s->wait_console(qr/guest: listening/);
	for my $helper (record($s)) {
		kill('KILL', $helper->{pid});
		$s->wait_log(qr/\Q$helper->{name}\E, pid $helper->{pid}, was ended by signal 9: the VM goes on without it/);
	}
	is($s->qmp->status, 'running', 'QEMU runs without them');
	is_deeply([map { $_->{died} } beside($s)], [('was ended by signal 9') x 2], 'which is known');
	$s->signal('QUIT');
	is($s->end, 80, 'and can be ended');
};

# As the real one, and then it stays.
subtest 'swtpm hangs at the end' => sub {
	my $swtpm = (grep { -x } map { "$_/swtpm" } split(/:/, $ENV{PATH}))[0];
	mkdir("$work/hangs");
	rename(script("$swtpm \"\$@\"\nexec sleep 1008"), "$work/hangs/swtpm") or die $!;
	local $ENV{PATH} = "$work/hangs:$ENV{PATH}";
	my $s = start(guest('tpm=yes', tpm => JSON::PP::true));
	$s->wait_console(qr/guest: listening/);
	my ($pid) = map { $_->{pid} } record($s);
	$s->signal('TERM');
	$s->wait_log(qr/tpm, pid $pid, has not ended with QEMU: killed/);
	is($s->end, 0, 'the status is of the VM');
	ok(!lives($pid), 'it is gone');
	is_deeply([died($s)], [], 'that is no death');
};

subtest 'virtiofsd is not there' => sub {
	my @hidden = ('unshare', '-m', 'sh', '-c', "mount --bind /dev/null $virtiofsd && exec \"\$@\"", 'sh');
	my $definition = { %{ T::fake_definition("$work/qemu" . ++$n, fake_qemu()) }, shares => [{ path => "$work/share", tag => 'x' }] };
	my $s = supervise(definition => $definition, prefix => \@hidden);
	is($s->end, 78, 'not started');
	like($s->log, qr/QEMU is not started: shares\[0\]: virtiofsd is not there: install the package virtiofsd/, 'and why');
};

subtest 'one that does not end' => sub {
	my $s = start(fake([{ run => [script('while :; do sleep 1000; done')] }]));
	$s->wait_log(qr/QEMU runs/);
	my ($pid) = map { $_->{pid} } record($s);
	$s->signal('QUIT');
	$s->wait_log(qr/helper helper\d+, pid $pid, has not ended with QEMU: killed/);
	is($s->end, 80, 'the status is of the VM');
	ok(!lives($pid), 'it is gone');
	is_deeply([died($s)], [], 'that is no death');
	$s = start(fake([{ run => [script('while :; do sleep 1000; done')] }]));
	$s->wait_log(qr/QEMU runs/);
	$s->signal('QUIT');
	wait_until('the end of QEMU', sub { !lives($s->qemu) });
	wait_until('that it is seen', sub { $s->signal('TERM'); $s->log =~ /TERM from .*: the VM has ended; its programs are killed/ });
	$s->wait_log(qr/has not ended with QEMU: killed/);
	is($s->end, 80, 'somebody who asks again need not wait for it');
};

subtest 'one that cannot be started' => sub {
	my $s = start(fake([{ run => ['sleep', "1002.$$"] }, { run => [script('echo no device >&2; exit 3')], socket => 'x.sock' }]));
	is($s->end, 69, 'status 69');
	like($s->log, qr/QEMU is not started: helper helper\d+: its program ended with status 3 at its start: no device \(status 69\)$/m, 'and why');
	like(last_end($s->{name})->{words}, qr/ended with status 3 at its start: no device$/, 'as in the history');
	unlike($s->log, qr/QEMU runs/, 'QEMU is not');
	ok(!-e $s->dir . '/helpers.json', 'and the other one is not left');
	is((run_command('pgrep', '-f', "^sleep 1002[.]$$"))[0], 1, 'at all');

	my ($path) = ($ENV{PATH});
	mkdir("$work/bin");
	symlink($_, "$work/bin/" . ($_ =~ s/.*\///r)) for '/usr/bin/sleep';
	local $ENV{PATH} = "$work/bin";
	my %missing = (tpm => [{ tpm => JSON::PP::true }, qr/tpm: swtpm is not there: install the package swtpm/],
		helper => [{ helpers => [{ run => ['no-such-program'] }] }, qr/helpers\[0\]\.run: no-such-program is not there/]);
	for my $name (sort keys %missing) {
		my ($keys, $why) = @{ $missing{$name} };
		$s = start({ %{ T::fake_definition("$work/qemu" . ++$n, fake_qemu()) }, %$keys });
		is($s->end, 78, "without its program: $name") or diag($s->log);
		like($s->log, qr/QEMU is not started: $why/, 'which is named');
		local $ENV{PATH} = $name eq 'tpm' ? "$work/bin" : $path;
		vmconf_fails(78, $why, 'check', $s->{name});
	}
};

subtest 'shares that are refused' => sub {
	symlink("$work/share", "$work/link");
	spew("$work/file", '');
	my %refused = ("$work/none" => qr/No such file or directory/, "$work/link" => qr/it is a symbolic link/, "$work/link//" => qr/it is a symbolic link/,
		"$work/file" => qr/it is not a directory/, '/' => qr/it is the root directory/, '/tmp/..' => qr/it is the root directory/);
	for my $path (sort keys %refused) {
		my $s = start({ %{ T::fake_definition("$work/qemu" . ++$n, fake_qemu()) }, shares => [{ path => $path, tag => 'x' }] });
		is($s->end, 78, "$path: not started") or diag($s->log);
		like($s->log, qr/shares\[0\]\.path: .* is not shared: $refused{$path}/, 'and why');
		vmconf_fails(78, qr/shares\[0\]\.path: .* is not shared: $refused{$path}/, 'check', $s->{name});
	}
};

subtest 'a supervisor that is killed before it starts QEMU' => sub {
	my $definition = fake([{ run => [script("[ -e $work/second ] || exec sleep 1003\nexec sleep 1004")], socket => "$work/late.sock" }]);
	my $s = start($definition);
	my ($pid) = @{ wait_until('the record', sub { my @pids = map { $_->{pid} } record($s); @pids && \@pids }) };
	wait_until('the helper', sub { slurp("/proc/$pid/cmdline") =~ /1003/ });
	$s->lost;
	ok(lives($pid), 'its helper does not end with it');
	$definition->{helpers} = [];
	T::define($s->{name}, $definition);
	$s = $s->successor;
	$s->wait_log(qr/QEMU runs/);
	like($s->log, qr/helper helper\d+, pid $pid, is left of a start that was cut off: killed/, 'the next one ends it');
	wait_gone($pid);
	$s->signal('QUIT');
	is($s->end, 80, 'and starts QEMU');
};

# Who has broken out of QEMU writes to the state directory, and may have root kill nobody.
subtest 'a record that is forged' => sub {
	my $victim = fork // die "fork: $!";
	if ($victim == 0) {
		POSIX::setsid();
		exec('sleep', "1005.$$") or POSIX::_exit(127);
	}
	wait_until('the victim', sub { slurp("/proc/$victim/cmdline") =~ /1005/ });
	my $started = (split / /, slurp("/proc/$victim/stat"))[21];
	chomp(my $boot = slurp('/proc/sys/kernel/random/boot_id'));
	my $forged = encode_json({ version => 1, boot => $boot, helpers => [{ name => 'tpm', pid => $victim, start => $started + 0 }] });
	my $definition = fake([{ run => ['sleep', "1006.$$"] }]);
	mkdir($_) for $state, "$state/forged";
	spew("$state/forged/helpers.json", $forged);
	T::define('forged', $definition);
	my $s = start('forged');
	$s->wait_log(qr/QEMU runs/);
	spew("$state/forged/helpers.json", $forged);
	$s = $s->taken_over;
	$s->signal('QUIT');
	$s->end;
	ok(lives($victim), 'its process lives');
	kill('KILL', $victim);
	waitpid($victim, 0);
};

subtest 'a runtime directory that is removed' => sub {
	my $s = start(fake([{ run => ['sleep', "1007.$$"] }]));
	$s->wait_log(qr/QEMU runs/);
	my ($pid) = map { $_->{pid} } record($s);
	run_command('rm', '-r', $s->dir);
	$s->signal('USR1');
	wait_until('the record', sub { (record($s))[0] });
	$s->lost;
	$s = $s->successor;
	$s->wait_log(qr/taking over QEMU/);
	$s->signal('QUIT');
	$s->end;
	wait_gone($pid);
	ok(!lives($pid), 'the next supervisor has ended it after QEMU');
};

subtest 'one that listens late' => sub {
	my $perl = 'use IO::Socket::UNIX; $SIG{TERM} = "IGNORE"; select(undef, undef, undef, 0.3); my $s = IO::Socket::UNIX->new(Local => "here.sock", Listen => 1) or die; '
		. 'open(my $f, ">", "listening"); my $c = $s->accept; sysread($c, my $x, 1)';
	my $definition = fake([{ run => [$^X, '-e', $perl], socket => 'here.sock' }]);
	T::define('late', $definition);
	mkdir("$state/late");
	for my $round (1, 2) {
		my $s = start('late');
		$s->wait_log(qr/QEMU runs/);
		ok(-e "$state/late/listening", "start $round: QEMU is started when it listens");
		unlink("$state/late/listening");
		my $qemu = IO::Socket::UNIX->new(Peer => "$state/late/here.sock") or die;
		$s->signal('QUIT');
		$s->wait_log(qr/SHUTDOWN/);
		close($qemu);
		is($s->end, 80, 'it ends when its client hangs up');
		unlike($s->log, qr/killed/, 'by itself');
	}
};

done_testing;
