#!/usr/bin/perl
# The guest's disks move to other files by QMP: that is seen, told and kept, and no start goes back by mistake.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use POSIX ();
use T;

need('qemu-system-x86_64', 'qemu-img', 'mke2fs', 'dumpe2fs', 'strace');
$ENV{ASAN_OPTIONS} = join(':', $ENV{ASAN_OPTIONS} || (), 'detect_leaks=0');	# it cannot look for them while it is traced

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my @quit = ('--set', 'on.TERM=quit 60s, kill');

sub made {
	my ($name, @more) = @_;
	vmconf_does('create', $name, quick('--disk', '8M', @quit, '--set', qq{confine.write=["$work"]}, @more)); # for snapshots elsewhere
	return "$state/$name";
}

sub snapshot {
	my ($file, $node) = @_;
	return { 'node-name' => $node || 'disk0', 'snapshot-file' => $file, 'snapshot-node-name' => 'over' };
}

# One by a client of the public socket that nobody knows; the supervisor has seen it.
sub moved_by_stranger {
	my ($s, $file, $node) = @_;
	$s->qmp->command('blockdev-snapshot-sync', snapshot($file, $node));
	$s->wait_log(qr/what the guest writes goes to \Q$file\E now/);
}

sub record { return JSON::PP::decode_json(slurp("$state/$_[0]/moved.json") || '{}')->{disks} }

# Both programs refuse it, and say what could be done.
sub is_refused {
	my ($name, $why) = @_;
	my $s = supervise(vm => $name);
	is($s->end, 78, "$name: the supervisor refuses it") or diag($s->log);
	like($s->log, $why, "$name: and says why");
	my $err = vmconf_fails(78, $why, 'start', $name);
	vmconf_fails(78, $why, 'check', $name);
	return $err;
}

sub starts {
	my ($name) = @_;
	my $s = running(vm => $name);
	wait_until('no record any more', sub { !-e "$state/$name/moved.json" });
	return $s;
}

sub ended {
	my ($s) = @_;
	$s->signal('TERM');
	$s->ends_with(0, qr/no guest was running/, "$s->{name} ends");
}

sub wait_job {
	my ($q, $id) = @_;
	$q->wait_event('BLOCK_JOB_READY');
	$q->command('job-complete', { id => $id });
	$q->wait_event('BLOCK_JOB_COMPLETED');
}

subtest 'a snapshot by vmconf, and both ways out' => sub {
	my $home = made('web1');
	my $s = running(vm => 'web1');
	my $over = "$home/snap 1.qcow2";
	is(vmconf_does('check', 'web1'), '', 'nothing to tell');
	is_deeply(state_of('web1')->{moved}, [], 'nothing in the list');
	my ($status, undef, $err) = vmconf('qmp', 'web1', 'blockdev-snapshot-sync', JSON::PP::encode_json(snapshot($over)));
	is($status, 0, 'the snapshot');
	like($err, qr/^vmconf: web1: what the guest writes to disk0 goes to \Q$over\E now: before its next start/m, 'vmconf says so');
	is_deeply(record('web1'), { disk0 => { from => 'root.qcow2', file => 'snap 1.qcow2', format => 'qcow2', bases => ['root.qcow2'] } },
		'it is in the record when vmconf ends');
	$s->wait_log(qr/disk0: what the guest writes goes to \Q$over\E now, no longer to \Q$home\E\/root\.qcow2: a start is refused/);
	my $moved = [{ disk => 'disks[0]', file => $over, format => 'qcow2' }];
	is_deeply(state_of('web1')->{moved}, $moved, 'list --json');
	like(vmconf_does('list'), qr/^web1 .*  disks\[0\]: the guest is on \Q$over\E: vmconf check web1$/m, 'list');
	like(vmconf_does('status', 'web1'), qr/^moved +the guest is on \Q$over\E, not on disks\[0\]/m, 'status');
	is_deeply(JSON::PP::decode_json(vmconf_does('status', 'web1', '--json'))->{moved}, $moved, 'status --json');
	ended($s);
	my $before = slurp("$home/root.qcow2");
	my $err2 = is_refused('web1', qr/web1: disks\[0\] names a file that the guest has left: it last wrote to \Q$over\E \(qcow2\)/);
	is(slurp("$home/root.qcow2"), $before, 'the base is as it was');
	is(state_of('web1')->{'last-status'}, 78, 'the status in the list');
	vmconf_fails(78, qr/it last wrote to/, 'clone', 'web1', 'web2');
	ok(!definition('web2'), 'a clone would not have it, either');

	my ($way) = $err2 =~ /to keep that, run "vmconf (set web1 [^"]*)"/;
	is($way, "set web1 'disks.0.path=$over' disks.0.format=qcow2", 'one way');
	my ($words) = run_command('sh', '-c', "$top/vmconf $way");
	is($words, 0, 'it works');
	is(vmconf_does('check', 'web1'), '', 'and nothing is wrong any more');
	is_deeply(state_of('web1')->{moved}, [], 'nor in the list');
	$s = starts('web1');
	is($s->qmp->command('query-block')->[0]{inserted}{file}, $over, 'the guest goes on');

	# The overlay has an overlay: the way back to any of what it is based on is closed.
	my $second = "$home/second.qcow2";
	moved_by_stranger($s, $second);
	ended($s);
	for my $path ($over, 'root.qcow2') {
		vmconf_does('set', 'web1', "disks.0.path=$path");
		is_refused('web1', qr/it last wrote to \Q$second\E/);
	}
	vmconf_fails(64, qr/--discard-overlay is for start/, @$_) for ['stop', '--discard-overlay', 'web1'], ['start', '--all', '--discard-overlay'];
	my ($started, undef, $said) = vmconf('start', '--discard-overlay', 'web1');
	is($started, 0, 'the other way');
	like($said, qr/web1: what the guest wrote to \Q$second\E is given up/, 'it says so');
	vmconf_does('stop', '--kill', 'web1');
	ok(!-e "$home/moved.json", 'no record any more');
	vmconf_does('start', 'web1');
	vmconf_does('stop', '--kill', 'web1');
};

subtest 'the guest powers itself off, no ladder at all' => sub {
	mkdir($_) for $config, $state, "$state/alone";
	my $disk = make_disk("$state/alone/root.raw");
	my $s = running(agent => 'stopped', guest => 'normal', name => 'alone', disk => $disk);
	$s->wait_console(qr/guest: listening/);
	moved_by_stranger($s, "$state/alone/over.qcow2");
	$s->qmp->command('system_powerdown');
	$s->ends_with(0, qr/ended: the guest powered itself off \(status 0\)/, 'by itself');
	is_refused('alone', qr/disks\[0\] names a file that the guest has left/);
	vmconf_does('set', 'alone', 'disks.0.path=over.qcow2', 'disks.0.format=qcow2');
	my $next = $s->successor;
	wait_until('no record any more', sub { !-e "$state/alone/moved.json" });
	$next->wait_console(qr/guest: listening/);
	$next->signal('TERM');
	$next->ends_with(0, qr/powered itself off/, 'the overlay boots');
};

subtest 'QEMU is killed; the supervisor is, and then QEMU' => sub {
	my $home = made('killed');
	my $s = running(vm => 'killed');
	moved_by_stranger($s, "$home/a.qcow2");
	kill('KILL', $s->qemu);
	$s->ends_with(83, qr/SIGKILL/, 'killed');
	is_refused('killed', qr/it last wrote to \Q$home\E\/a\.qcow2/);
	vmconf_does('set', 'killed', 'disks.0.path=a.qcow2');
	$s = starts('killed');
	moved_by_stranger($s, "$home/b.qcow2");
	$s->lost;
	kill('KILL', $s->qemu);
	wait_until('its end', sub { state_of('killed')->{state} eq 'crashed' });
	is_refused('killed', qr/it last wrote to \Q$home\E\/b\.qcow2/);
};

# What a program that cannot read moved.json, so often, is run by. strace takes the name as it is passed.
sub blind {
	my ($when) = @_;
	return ('strace', '-D', '-qq', '-o', "$work/trace", '-P', 'moved.json', '-e', 'trace=openat', '-e', "inject=openat:error=EIO:when=$when");
}

# check and a start ask the same question.
subtest 'a record that cannot be read' => sub {
	my $home = made('unread');
	my @check = ($ENV{T_VMCONF} || "$top/vmconf", 'check', 'unread');
	my @strace = ('strace', '-qq', '-o', "$work/trace", '-e', 'trace=openat');
	is((run_command(@strace, @check))[0], 0, 'there is none');
	my @calls = grep { /^openat/ } split /\n/, slurp("$work/trace");
	my ($n) = grep { $calls[$_] =~ /"moved\.json"/ } 0 .. $#calls;
	my ($status, undef, $err) = run_command(@strace, '-e', 'inject=openat:error=EIO:when=' . ($n + 1), @check);
	is($status, 78, 'is not taken for none');
	like($err, qr/cannot read \Q$home\E\/moved\.json, which says whether its disks have moved: Input\/output error/, 'and why');
};

subtest 'a takeover' => sub {
	my $home = made('taken');
	my $s = running(vm => 'taken');
	wait_until('the disks in state.json', sub { $s->state->{disks}{disk0} });
	$s->lost;
	$s->qmp->command('blockdev-snapshot-sync', snapshot("$home/a.qcow2"));
	my $next = $s->successor;
	$next->wait_log(qr/what the guest writes goes to \Q$home\E\/a\.qcow2 now/);
	wait_until('its state', sub { ($next->state->{supervisor} || 0) == $next->{pid} });
	$next->lost;
	unlink($next->dir . '/state.json');
	$next = $next->successor;
	$next->wait_log(qr/QEMU runs/);
	$next->signal('TERM');
	$next->ends_with(80, qr/quit/, 'taken');
	is_deeply(record('taken')->{disk0}{file}, 'a.qcow2', 'one that knows nothing else keeps the record');
	is_refused('taken', qr/it last wrote to \Q$home\E\/a\.qcow2/);

	vmconf_does('rename', 'taken', 'renamed');
	is_refused('renamed', qr/it last wrote to \Q$state\E\/renamed\/a\.qcow2/);
	vmconf_does('delete', 'renamed');
	ok(!-e "$state/renamed/moved.json", 'delete removes the record');
};

subtest 'a takeover, and the record cannot be read' => sub {
	my $home = made('blind');
	my $s = running(vm => 'blind');
	my $q = $s->qmp;
	run_command('qemu-img', 'create', '-q', '-f', 'raw', "$work/mirror.raw", '8M');
	$q->command('blockdev-add', { 'node-name' => 'copy', driver => 'raw', file => { driver => 'file', filename => "$work/mirror.raw" } });
	$q->command('blockdev-mirror', { 'job-id' => 'm', device => 'disk0', target => 'copy', sync => 'full' });
	wait_job($q, 'm');
	undef $q;
	$s->wait_log(qr/what the guest writes goes to \Q$work\E\/mirror\.raw now/);
	my $record = slurp("$home/moved.json");
	$s->signal('STOP');	# else it would soon write it
	my ($status, undef, $err) = run_command(blind('1+'), $ENV{T_VMCONF} || "$top/vmconf", 'qmp', 'blind', 'blockdev-snapshot-sync',
		JSON::PP::encode_json(snapshot("$home/b.qcow2", 'copy')));
	is($status, 0, 'vmconf makes a snapshot') or diag($err);
	is(slurp("$home/moved.json"), $record, 'and keeps what it cannot read');
	$s->signal('CONT');
	$s->wait_log(qr/what the guest writes goes to \Q$home\E\/b\.qcow2 now, no longer to \Q$home\E\/root\.qcow2/);
	$record = slurp("$home/moved.json");
	for my $when ('1', '1+') {	# what is there now does not tell where that disk began
		my @command = @{ $s->{command} };
		$s->lost;
		unlink($s->dir . '/state.json');
		$s = $s->successor(command => [blind($when), @command]);
		$s->{command} = \@command;
		$s->wait_log(qr/cannot read \Q$home\E\/moved\.json, which says whether its disks have moved: Input\/output error/);
		wait_until('the disks in state.json', sub { $s->state->{disks}{disk0} }) if $when eq '1';
		is($s->state->{disks}{disk0}, "$home/root.qcow2", 'read a moment later') if $when eq '1';
	}
	$s->wait_log(qr/QEMU runs.*cannot read/s);
	$s->signal('TERM');
	$s->ends_with(80, qr/quit/, 'blind');
	is(slurp("$home/moved.json"), $record, 'it is kept');
	is_refused('blind', qr/it last wrote to \Q$home\E\/b\.qcow2/);
};

subtest 'a record that cannot be written' => sub {
	my $home = made('full');
	my $s = running(vm => 'full');
	mkdir($_) for "$home/moved.json.new", "$home/moved.json.new/x";
	moved_by_stranger($s, "$home/a.qcow2");
	wait_until('the disks in state.json', sub { $s->state->{disks}{disk0} });
	my $q = $s->qmp;
	$q->command('query-status') for 1 .. 100;	# in the meantime the supervisor could ask as often
	undef $q;
	$s->signal('USR1');
	$s->wait_log(qr/status: /);
	my $times = 0;
	$times += 1 + ($_ // 0) for $s->log =~ /cannot write \Q$home\E\/moved\.json.*\n(?:.*last line repeated (\d+) times)?/g;
	cmp_ok($times, '<', 10, 'QEMU is not asked without end');
	rmdir($_) for "$home/moved.json.new/x", "$home/moved.json.new";
	ended($s);
	is(record('full')->{disk0}{file}, 'a.qcow2', 'and it is written later');
};

subtest 'before the supervisor has looked for the first time' => sub {
	my $home = made('early');
	my $s = supervise(vm => 'early');
	wait_until('a QEMU that is just being started', sub { $s->qemu });
	$s->signal('STOP');
	$s->qmp->command('blockdev-snapshot-sync', snapshot("$home/a.qcow2"));
	$s->signal('CONT');
	$s->wait_log(qr/what the guest writes goes to \Q$home\E\/a\.qcow2 now/);
	ended($s);
	is_refused('early', qr/it last wrote to \Q$home\E\/a\.qcow2/);
};

subtest 'block jobs' => sub {
	my $home = made('jobs');
	my $s = running(vm => 'jobs');
	my $q = $s->qmp;
	run_command('qemu-img', 'create', '-q', '-f', 'raw', "$work/copy.raw", '8M');
	$q->command('blockdev-add', { 'node-name' => 'copy', driver => 'raw', file => { driver => 'file', filename => "$work/copy.raw" } });
	$q->command('blockdev-mirror', { 'job-id' => 'm', device => 'disk0', target => 'copy', sync => 'full' });
	wait_job($q, 'm');
	$s->wait_log(qr/disk0: what the guest writes goes to \Q$work\E\/copy\.raw now, no longer to \Q$home\E\/root\.qcow2/);
	ended($s);
	is_refused('jobs', qr/it last wrote to \Q$work\E\/copy\.raw \(raw\).*disks\.0\.format=raw/);
	vmconf_does('set', 'jobs', "disks.0.path=$work/copy.raw", 'disks.0.format=raw');
	$s = starts('jobs');

	# There and back: the active layer is committed.
	moved_by_stranger($s, "$home/over.qcow2");
	ok(record('jobs')->{disk0}, 'moved');
	$q = $s->qmp;
	$q->command('block-commit', { 'job-id' => 'c', device => 'over' });
	wait_job($q, 'c');
	$s->wait_log(qr/disk0: what the guest writes goes to \Q$work\E\/copy\.raw again/);
	ok(!-e "$home/moved.json", 'and back');
	is(vmconf_does('check', 'jobs'), '', 'nothing is wrong');
	ended($s);
	ended(starts('jobs'));
};

subtest 'disks without a path' => sub {
	mkdir("$state/odd");
	run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$state/odd/$_.qcow2", '8M') for 'nested', 'args';
	spew("$config/odd.json", JSON::PP::encode_json({
		memory => '64M', accel => 'tcg', on => { TERM => 'quit 60s, kill' },
		disks => [{ format => 'qcow2', file => { driver => 'file', filename => 'nested.qcow2' } }],
		args => ['-S', '-drive', 'file=args.qcow2,format=qcow2,if=none,id=a', '-device', 'virtio-blk-pci,id=extra,drive=a'],
	}));
	my $s = running(vm => 'odd');
	moved_by_stranger($s, "$state/odd/n.qcow2");
	ended($s);
	like(is_refused('odd', qr/disks\[0\] names a file .* last wrote to \Q$state\E\/odd\/n\.qcow2/), qr/name it there with "vmconf edit odd"/, 'a way');
	vmconf_does('set', 'odd', 'disks.0.file.filename=n.qcow2');
	$s = starts('odd');
	$s->qmp->command('blockdev-snapshot-sync', { 'snapshot-file' => "$state/odd/o.qcow2", device => 'a' });
	$s->wait_log(qr/extra: what the guest writes goes to/);
	ended($s);
	is_refused('odd', qr/args\[2\] names a file .* last wrote to \Q$state\E\/odd\/o\.qcow2/);
	vmconf_does('set', 'odd', 'args.2=file=o.qcow2,format=qcow2,if=none,id=a');
	is(vmconf_does('check', 'odd'), '', 'the way on');
};

subtest 'a command line, which has no place for a record' => sub {
	run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$work/c.qcow2", '8M');
	my $s = running(name => 'line', options => ['-o', 'TERM=quit 60s, kill'], command => ['qemu-system-x86_64', '-S', '-nodefaults', '-accel', 'tcg',
		'-m', 64, '-display', 'none', '-drive', "file=$work/c.qcow2,format=qcow2,if=virtio"]);
	wait_until('the disks', sub { %{ $s->state->{disks} || {} } });
	$s->qmp->command('blockdev-snapshot-sync', { device => 'virtio0', 'snapshot-file' => "$work/d.qcow2" });
	$s->wait_log(qr/what the guest writes goes to \Q$work\E\/d\.qcow2 now, no longer to \Q$work\E\/c\.qcow2; the same command line would/);
	ended($s);
};

subtest 'no inotify instance is left' => sub {
	my @none = ('unshare', '-Ur', 'sh', '-c', 'echo 3 >/proc/sys/user/max_inotify_instances; exec "$@"', 'sh');
	need_that('user namespaces', sub { (run_command(@none, 'true'))[0] == 0 });
	my $home = made('late');
	my $s = running(vm => 'late', prefix => \@none);
	wait_until('the disks', sub { $s->state->{disks}{disk0} });
	$s->qmp->command('blockdev-snapshot-sync', snapshot("$home/a.qcow2"));
	ok(!-e "$home/moved.json", 'nobody has seen it');
	ended($s);
	is_refused('late', qr/it last wrote to \Q$home\E\/a\.qcow2/);
};

subtest 'what is no record' => sub {
	my $home = made('trap');
	my $s = running(vm => 'trap');
	spew("$work/precious", 'x');
	POSIX::mkfifo("$home/moved.json", 0600);
	symlink("$work/precious", "$home/moved.json.new");
	is(vmconf_does('check', 'trap'), '', 'a FIFO is none');
	moved_by_stranger($s, "$home/a.qcow2");
	ended($s);
	is(slurp("$work/precious"), 'x', 'no link is followed');
	is_refused('trap', qr/it last wrote to/);
	spew("$home/moved.json", $_), is(vmconf_does('check', 'trap'), '', "no record: $_")
		for '', '[]', '{"disks": 7}', '{"disks": {"disk0": {"file": 1, "from": "root.qcow2", "format": "x"}}}', '{"disks": {"disk0": []}}';
};

subtest 'nobody asks while nothing happens' => sub {
	my $s = running(fake => [], name => 'idle');
	wait_until('ready', sub { $s->state->{ready} });
	$s->fake(event => 'BLOCK_JOB_COMPLETED', data => {});
	wait_until('a question', sub { $s->sent(qr/^query-block$/) == 2 });
	$s->signal('USR1');
	$s->wait_log(qr/status: running/);
	is(scalar($s->sent(qr/^query-block$/)), 2, 'at the start, and after the job');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/, 'idle');
};

# QEMU closes its disks and removes its sockets when it ends; a command at that moment kills QEMU 10.0.
subtest 'a QEMU that ends is asked no more' => sub {
	my $disk = "$work/ends.raw";
	spew($disk, 'x');
	my $answer = JSON::PP->new->encode([{ device => 'disk0', qdev => 'disk0',
			inserted => { file => $disk, drv => 'raw', 'node-name' => 'disk0', ro => JSON::PP::false, image => { filename => $disk, format => 'raw' } } }]);
	for my $signal ('TERM', 'QUIT') {
		my $s = running(fake => ['flushes'], name => lc($signal));
		my $asked = sub { scalar($s->sent(qr/^query-block$/)) };
		wait_until('ready', sub { $s->state->{ready} });
		$s->fake(set => { returns => { 'query-block' => $answer } }, event => 'BLOCK_JOB_COMPLETED', data => {});
		wait_until('a question', sub { $asked->() == 3 });	# at the start, after the job, and since it is watched
		spew($disk, 'xx');
		wait_until('another', sub { $asked->() == 4 });
		$s->signal($signal);
		$s->wait_log(qr/SHUTDOWN: /);
		my $before = $asked->();
		ok($before > 4, "$signal: once more before it ends");
		spew($disk, 'xxx');
		unlink($s->dir . '/qmp');
		$s->signal('USR1');
		$s->wait_log(qr/ status: /);
		is($asked->(), $before, "$signal: not when it closes the disk");
		is(($s->sent(qr/^(?:query-block|quit)$/))[-1], 'quit', 'not after quit') if $signal eq 'QUIT';
		$s->fake(exit => 1);
		$s->end;
		unlike($s->log, qr/making it again/, "$signal: nor are its sockets missed");
	}
};

done_testing;
