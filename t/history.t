#!/usr/bin/perl
# A VM's history: a line for each start and each end that says why, whole whatever happens, and vmconf history.
use strict;
use warnings;
use FindBin;
use JSON::PP ();
use lib $FindBin::Bin;
use POSIX ();
use T;

my $state = $ENV{QEMU_SUPERVISE_STATE_DIR};
my $now = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

sub fake_vm { return definition => T::fake_definition("$work/qemu-$_[0]", fake_qemu(@_[1 .. $#_])), name => $_[0] }

sub seconds_add_up {
	my ($end) = @_;
	my $all = 0;
	$all += $_->{seconds} for @{ $end->{rungs} };
	return abs($all - $end->{seconds}) < 0.001;
}

# What vmconf history prints, each of its lines at most 80 columns.
sub printed {
	my $out = vmconf_does('history', @_);
	is(join('', grep { length > 80 } split /\n/, $out), '', "history @_: at most 80 columns");
	return $out;
}

subtest 'a start and a stop' => sub {
	my $s = running(fake_vm('web', 'say=qemu: odd'), options => ['--press-interval', '100ms', '-o', 'TERM=powerdown 20s, kill']);
	my ($start) = history('web');
	my $pid = $s->qemu;
	like($start->{time}, $now, 'the time');
	is_deeply([@$start{qw(version event pid qemu)}], [1, 'start', $pid, '7.2.0'], 'and what was started');
	cmp_ok(abs($start->{started} - time), '<', 100, 'when');
	$s->signal('TERM');
	$s->ends_with(0, qr/powered itself off/);
	my @lines = history('web');
	my $end = $lines[1];
	is(@lines, 2, 'a line for each');
	is_deeply([@$end{qw(version event status words pid qemu presses trigger message)}],
		[1, 'end', 0, 'the guest powered itself off', $pid, '7.2.0', 1, 'TERM', 'odd'], 'how it ended');
	is($end->{from}, "pid $$ (" . slurp("/proc/$$/comm") =~ s/\n//r . ')', 'who sent it');
	is_deeply([map { "$_->{trigger} $_->{action}" } @{ $end->{rungs} }], ['TERM powerdown'], 'each rung');
	ok(seconds_add_up($end), 'with its seconds');
	ok(!exists $end->{deadline} && !exists $end->{listened}, 'and nothing that was not so');
	is((stat "$state/web/history.jsonl")[2] & 07777, 0600, 'for its owner alone');
};

subtest 'more of a stop' => sub {
	my $s = running(fake_vm('hard', 'ignore=system_powerdown', 'en=0', 'say=qemu: odd'),
		options => ['--ready', 'listening', '--press-interval', '50ms', '-o', 'TERM=powerdown 20s, kill', '-o', 'QUIT=quit 5s, kill']);
	$s->fake(set => { en => '0x0120' });
	$s->wait_log(qr/the guest listens/);
	$s->signal('TERM');
	$s->wait_log(qr/pressed again, 4 times/);
	$s->deadline(10);
	$s->signal('QUIT');
	is($s->end, 80, 'a guest that does not obey');
	my $end = last_end('hard');
	is_deeply([map { "$_->{trigger} $_->{action}" } @{ $end->{rungs} }], ['TERM powerdown', 'QUIT quit'], 'all triggers');
	is($end->{trigger}, 'TERM', 'of which the first began it');
	cmp_ok($end->{presses}, '>=', 4, 'all presses');
	cmp_ok($end->{listened}, '>', 0, 'when the guest began to listen');
	ok($end->{deadline} && seconds_add_up($end), 'and that it had a deadline');
};

subtest 'a supervisor that is lost in between' => sub {
	my $s = running(fake_vm('lost', 'ignore=system_powerdown'), options => ['--press-interval', '50ms', '-o', 'TERM=powerdown 20s, kill']);
	$s->signal('TERM');
	$s->wait_log(qr/pressed again/);
	my $next = $s->taken_over;
	$next->wait_log(qr/QEMU runs/);
	$next->signal('USR2');
	$next->wait_log(qr/reexec: done/);
	$next->fake(shutdown => 'guest-shutdown');
	is($next->end, 0, 'the next one sees the end');
	my @lines = history('lost');
	is(join(' ', map { $_->{event} } @lines), 'start end', 'one start');
	is_deeply([@{ $lines[1] }{qw(trigger qemu status)}], ['TERM', '7.2.0', 0], 'who began it is still known');
	cmp_ok($lines[1]{presses}, '>=', 2, 'and what was done');
};

subtest 'why it ended, unasked' => sub {
	my $s = running(fake_vm('died', 'say=qemu: fatal'));
	kill('SEGV', $s->qemu);
	is($s->end, 83, 'QEMU dies');
	my $end = last_end('died');
	like($end->{words}, qr/^QEMU died of SIGSEGV/, 'the words');
	ok(!grep({ exists $end->{$_} } qw(trigger from rungs presses)), 'and nobody asked for it');
	T::define('never', { emulator => '/bin/false' });
	is(supervise(vm => 'never')->end, 69, 'a start that fails');
	is(join(' ', map { "$_->{event} $_->{status}" } history('never')), 'end 69', 'is an end without a start');
};

subtest 'vmconf history' => sub {
	my $all = printed();
	my @at = map { /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)  / ? $1 : () } split /\n/, $all;
	is_deeply(\@at, [sort @at], 'all VMs, newest last');
	is(@at, 9, 'each line of each');
	like($all, qr/^[-\d]+ [:\d]+  web    started, QEMU 7\.2\.0$/m, 'with their names');
	like(printed('web'), qr/^[-\d]+ [:\d]+  started, QEMU 7\.2\.0\n[-\d]+ [:\d]+  TERM from pid $$ \([^)]*\): the\s+guest\s+powered\s+itself\s+off\s+\(status\s+0\);/m,
		'one VM: why comes first');
	like(printed('hard') =~ s/\s+/ /gr, qr/\(status 80\), with a deadline; powerdown [\d.]+s, QUIT: quit [\d.]+s, \d+ presses; up \d+m\d\ds; listened after [\d.]+s; QEMU said: odd /,
		'then how, and what QEMU said');
	unlike(printed('web') =~ s/\s+/ /gr, qr/QEMU said/, 'which nobody needs of a guest that powered itself off');
	is(printed('-n', '1', 'died') =~ tr/S//, printed('died', '--lines', '1') =~ tr/S//, '-n is --lines');
	is(() = printed('-n', '3') =~ /^\d{4}-/mg, 3, 'the last lines');
	my $json = JSON::PP::decode_json(vmconf_does('history', '--json', '-n', '1', 'web'));
	my ($line) = (history('web'))[-1];
	delete $line->{version};
	is_deeply($json, { version => 1, history => [{ %$line, name => 'web' }] }, 'as JSON');
	vmconf_fails(64, qr/--lines 0: not a number from 1 to 1000/, 'history', '-n', '0');
	vmconf_fails(1, qr/there is no VM nowhere/, 'history', 'nowhere');
	vmconf_does('create', 'new', '--nic', 'none');
	is(vmconf_does('history', 'new'), '', 'one that never ran has none');
};

# Killed between that line and state.json: it is neither written twice nor taken from another start.
subtest 'a start that is told already' => sub {
	my $s = running(fake_vm('twice'), options => ['-o', 'TERM=quit 10s, kill']);
	my ($start) = @{ wait_until('its line', sub { my @all = history('twice'); @all && \@all }) };
	my $path = "$state/twice/history.jsonl";
	my $helper = { event => 'helper-died', name => 'share.x', died => time };
	for (
		['another pid', [{ %$start, pid => 1 }], 1], ['another time', [{ %$start, started => $start->{started} - 100 }], 1],
		['an end', [{ %$start, event => 'end' }], 1], ['the same', [$start, $helper], 0]
	) {
		my ($what, $lines, $more) = @$_;
		wait_until('state.json', sub { $s->state->{supervisor} == $s->{pid} && $s->state->{history}{begun} });
		$s->lost;
		my $now = $s->state;
		$now->{history}{begun} = JSON::PP::false();
		spew($s->dir . '/state.json', JSON::PP::encode_json($now));
		spew($path, join('', map { JSON::PP::encode_json($_) . "\n" } @$lines));
		$s = $s->successor;
		wait_until('it has begun', sub { $s->state->{supervisor} == $s->{pid} && $s->state->{history}{begun} });
		is(scalar(history('twice')), @$lines + $more, "$what: " . ($more ? 'a line more' : 'no line more'));
	}
	$s->signal('TERM');
	is($s->end, 80, 'twice');
};

subtest 'what 0.1.0 has recorded' => sub {
	T::define('old', { emulator => '/bin/false' });
	mkdir("$state/old", 0700);
	spew("$state/old/last-end.json", '{"version": 1, "status": 82, "words": "the guest panicked", "ended": 1700000000, "flush-ms": 7}');
	is(state_of('old')->{state}, 'crashed', 'counts');
	like(printed('old'), qr/^2023-11-1\d [:\d]+  the guest panicked \(status 82\)$/, 'and is shown');
	is(supervise(vm => 'old')->end, 69, 'a start');
	is_deeply((history('old'))[0], { version => 1, event => 'end', time => '2023-11-14T22:13:20Z', status => 82,
		words => 'the guest panicked', ended => 1700000000, 'flush-ms' => 7 }, 'makes it the first line');
	is((history('old'))[1]{status}, 69, 'before its own');
	ok(!-e "$state/old/last-end.json", 'and removes it');
};

subtest 'lines that are torn' => sub {
	my $path = "$state/never/history.jsonl";
	truncate($path, (-s $path) - 20);
	is(vmconf_does('history', 'never'), '', 'are not shown');
	is(supervise(vm => 'never')->end, 69, 'the next line');
	is(() = printed('never') =~ /^\d{4}/mg, 1, 'is whole');
	is(slurp($path) =~ tr/\n//, 2, 'on a line of its own');
	spew($path, "\0\0\0\0{\"event\": \"end\"}\n[]\n\n" . slurp($path));
	is(() = printed('never') =~ /^\d{4}/mg, 1, 'nor is anything else');
};

subtest 'an end that nobody saw' => sub {
	my $start = '{"version": 1, "event": "start", "time": "2026-01-01T00:00:00.000000Z", "started": 1, "qemu"';
	vmconf_does('create', 'unseen', '--nic', 'none');
	mkdir("$state/unseen");
	spew("$state/unseen/history.jsonl", join('', map { qq($start: "$_.0"}\n) } 1, 2));
	my @lines = map { s/^[-\d]+ [:\d]+  //r } split /\n/, printed('unseen');
	is_deeply(\@lines, ['started, QEMU 1.0', 'started after an end that nobody saw, QEMU 2.0'], 'is told at the next start');
};

subtest 'a history that cannot be written' => sub {
	my $s = running(fake_vm('full'));
	unlink("$state/full/history.jsonl");
	mkdir("$state/full/history.jsonl");
	$s->signal('TERM');
	is($s->end, 0, 'hinders no stop');
	like($s->log, qr/cannot write history\.jsonl in the state directory: Is a directory/, 'and is logged');
	vmconf_fails(1, qr/cannot read the history of full/, 'history', 'full');
};

# A file that is cut off while it is read is whole all the same: it is replaced.
subtest '1,000 ends, with kills in between' => sub {
	T::define('often', { emulator => '/bin/false' });
	my ($ends, $kills, $torn, $turn) = (0, 0, 0, 0);
	my @command = ($ENV{T_SUPERVISE} || "$top/qemu-supervise", 'often');
	while ($ends < 1000) {
		my @pids;
		for (1 .. 2) {
			my $pid = fork // die "fork: $!";
			if ($pid == 0) {
				open($_, '>', '/dev/null') for *STDOUT, *STDERR;
				exec { $command[0] } @command;
			}
			push @pids, $pid;
		}
		if (++$turn % 8 == 0) {
			select(undef, undef, undef, rand(0.03));
			kill('KILL', $pids[0]);
		}
		for (@pids) {
			waitpid($_, 0);
			$kills++ if $? == 9;
			$ends++ if $? >> 8 == 69;
		}
		next if $turn % 50;
		$torn++ for grep { !eval { JSON::PP::decode_json($_) } } slurp("$state/often/history.jsonl") =~ /^(.*)$/mg;
	}
	cmp_ok($kills, '>', 10, "$kills kills");
	my @lines = slurp("$state/often/history.jsonl") =~ /([^\n]*\n?)/g;
	pop @lines;
	is($torn + grep({ !/\n\z/ || !eval { JSON::PP::decode_json($_) } } @lines), 0, 'no line is torn');
	cmp_ok(scalar @lines, '>=', $ends, 'and none is lost');
	spew("$state/often/history.jsonl", join('', @lines, @lines));
	is(supervise(vm => 'often')->end, 69, 'another end');
	my @kept = history('often');
	is(@kept, 1001, 'older lines go');
	is_deeply($kept[0], JSON::PP::decode_json($lines[-1000]), 'and no newer ones');
	is(@{ JSON::PP::decode_json(vmconf_does('history', 'often', '--json'))->{history} }, 1000, '1,000 are shown');
	ok(!-e "$state/often/history.jsonl.new", 'nothing else is left');
};

subtest 'it belongs to its VM' => sub {
	my $before = slurp("$state/web/history.jsonl");
	vmconf_does('rename', 'web', 'site');
	is(slurp("$state/site/history.jsonl"), $before, 'rename: it goes along');
	vmconf_does('clone', 'site', 'copy');
	ok(!-e "$state/copy/history.jsonl", 'clone: it does not');
	vmconf_does('delete', 'site');
	ok(!-e "$state/site", 'delete: it goes');
};

done_testing;
