#!/usr/bin/perl
# vmconf rpc: what its answers are, what is no request, ids, several at once, and its end.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP ();
use T;
use Rpc;

need(qw(qemu-img qemu-system-x86_64));

my ($config, $state) = @ENV{qw(QEMU_SUPERVISE_CONFIG_DIR QEMU_SUPERVISE_STATE_DIR)};
my $true = JSON::PP::true;
my $false = JSON::PP::false;

sub success { return { 'execution-info' => { status => 'success' }, response => {@_} } }

sub status_of { return ($_[0]{'execution-info'} || {})->{status} || '' }

sub is_error {
	my ($answer, $reason, $what) = @_;
	is(status_of($answer), 'error', "$what: an error");
	like($answer->{'execution-info'}{reason}, $reason, "$what: says why");
}

# Of a VM that has them all.
my $all_ports = qq({"description": "@{[20000 .. 32767]}"});

# ---- answers ----

subtest 'a VM from its creation to its end' => sub {
	my ($allocating, $starting, @more) = rpc_answers(request('create-vm', quick_vm()));
	my $vm = $allocating->{response}{'vm-id'};
	like($vm, qr/^[a-z]{8}$/, 'a name of 8 letters');
	is_deeply($allocating, success('vm-id' => $vm, status => 'allocating'), 'allocating');
	is_deeply($starting, success('vm-id' => $vm, status => 'starting'), 'starting');
	is(scalar @more, 0, 'and no more');
	my ($started) = rpc_answers(request('start-vm', { 'vm-id' => $vm }));
	is($started->{response}{status}, 'running', 'start-vm waits until it is ready');
	($started) = rpc_answers(request('start-vm', { 'vm-id' => $vm, within => 60 }));
	like($started->{response}{hint}, qr/^it was running already/, 'it was so already');
	my ($list) = rpc_answers(request('list-vms'));
	my ($listed) = @{ $list->{response}{vms} };
	is_deeply([@$listed{qw(vm-id status ip-addresses memory)}], [$vm, 'running', [], 64], 'list-vms');
	ok(!(grep { exists $listed->{$_} } qw(name state addresses)), 'each key has one name');
	my ($info) = rpc_answers(request('vm-info', { 'vm-id' => $vm }));
	is_deeply([@{ $info->{response} }{qw(vm-id status run-state ip-addresses)}], [$vm, 'running', 'prelaunch', []], 'vm-info');
	ok(!(grep { exists $info->{response}{$_} } qw(name state addresses version)), 'the same names there');
	my ($restarted) = rpc_answers(request('restart-vm', { 'vm-id' => $vm, within => '30s', kill => $true }));
	is_deeply($restarted, success('vm-id' => $vm, status => 'running'), 'restart-vm');
	my ($refused) = rpc_answers(request('delete-vm', { 'vm-id' => $vm }));
	is_error($refused, qr/^$vm is running/, 'delete-vm of one that runs');
	is_deeply($refused->{response}, { 'vm-id' => $vm, status => 'running' }, 'and what it is');
	my ($stopped) = rpc_answers(request('stop-vm', { 'vm-id' => $vm, kill => $true }));
	my $down = $stopped->{response}{status};
	like($down, qr/^(?:cut-off|stopped)$/, 'stop-vm: no guest ever ran');
	is_deeply($stopped, success('vm-id' => $vm, status => $down), 'and it says no more');
	($stopped) = rpc_answers(request('stop-vm', { 'vm-id' => $vm }));
	is_deeply($stopped, success('vm-id' => $vm, status => $down, hint => 'it was not running'), 'it was so already');
	my ($deleted) = rpc_answers(request('delete-vm', { 'vm-id' => $vm }));
	is_deeply($deleted, success('vm-id' => $vm, status => 'deleted'), 'delete-vm');
	ok(!-e "$config/$vm.json", 'it is gone');
	my ($none) = rpc_answers(request('stop-vm', { 'vm-id' => $vm, kill => $true }));
	is_error($none, qr/^there is no VM $vm/, 'no such VM');
	is_deeply([sort keys %$none], ['execution-info'], 'and nothing else is said');
};

subtest 'create-vm' => sub {
	mkdir("$state/images");
	run_command('qemu-img', 'create', '-q', '-f', 'qcow2', "$state/images/base.qcow2", '3G');
	my @answers = rpc_answers(
		request('create-vm', { 'vm-id' => 'all', image => 'base', 'image-format' => 'qcow2', 'trust-image' => $true, disk => '5G', memory => 96, cpus => 2,
			nics => ['user', { type => 'bridge', br => 'br7' }], forwards => ['2222:22', '8080:80'],
			set => { description => '7', order => 3, 'on.TERM' => 'kill' }, start => $false, enable => $false }));
	is_deeply([map { $_->{response}{status} } @answers], ['allocating', 'stopped'], 'not started');
	my $vm = definition('all');
	is_deeply([@$vm{qw(memory cpus description order)}, $vm->{on}{TERM}], [96, 2, '7', 3, 'kill'], 'keys, as they were given');
	is_deeply([map { $_->{type} } @{ $vm->{nics} }], ['user', 'bridge'], 'nics');
	is_deeply($vm->{forwards}, ['2222:22', '8080:80'], 'forwards');
	is($vm->{disks}[0]{format}, 'qcow2', 'a disk');
	rpc_answers(request('create-vm', { 'vm-id' => 'shut', nics => ['user'], forwards => [], start => $false }));
	is_deeply(definition('shut')->{forwards}, [], 'no forwards');
	my ($exists, @more) = rpc_answers(request('create-vm', { 'vm-id' => 'all' }));
	is_error($exists, qr/^a VM all already exists; all was not created$/, 'a name that is taken');
	is_deeply([$exists->{response}, scalar @more], [{ 'vm-id' => 'all', status => 'stopped' }, 0], 'the VM of that name is as before');
	my ($no_image) = rpc_answers(request('create-vm', { image => 'nosuch' }));
	is_error($no_image, qr/nosuch/, 'no such image');
	ok(!exists $no_image->{response}, 'no VM');
	# The adapter "none" cannot: the VM is there all the same.
	my ($allocating, $failed) = rpc_answers(request('create-vm', quick_vm('vm-id' => 'boots', enable => $true)));
	is_error($failed, qr/cannot be started at boot.*; boots: the init adapter could not enable it/, 'what the adapter says');
	is_deeply($failed->{response}, { 'vm-id' => 'boots', status => 'stopped' }, 'and what there is');
	my ($disabled) = rpc_answers(request('disable-vm', { 'vm-id' => 'boots' }));
	is_deeply($disabled, success('vm-id' => 'boots', status => 'stopped', hint => 'it was not enabled'), 'disable-vm');
	my ($broken) = (rpc_answers(request('create-vm', quick_vm('vm-id' => 'fails', set => { args => ['-nonsense'] }))))[1];
	is_error($broken, qr/^cannot start fails: /, 'QEMU does not start');
	spew("$config/ports.json", $all_ports);
	chmod(0600, "$config/ports.json");
	my @without = rpc_answers(request('create-vm', { 'vm-id' => 'without', nics => ['user'], start => $false }));
	is($without[-1]{response}{status}, 'stopped', 'a success, of which there is something to say');
	is(slurp("$work/rpc.err"),
		"vmconf: create-vm: no port from 20000 to 32767 is free: none is forwarded to port 22 of the guest\n", 'is in the log');
	unlink("$work/rpc.err");
	rpc_answers(map { request('delete-vm', { 'vm-id' => $_ }) } qw(all shut boots fails without ports));
	is_deeply([glob "$config/*.json"], [], 'all deleted');
};

subtest 'no value is an option' => sub {
	my @nasty = ('--start', '-h', '--', '--set=cpus=3', '-', "a\nb", '$(reboot)', "';");
	for my $nasty (@nasty) {
		my ($answer) = rpc_answers(request('create-vm', quick_vm(image => $nasty)));
		is_error($answer, qr/image|cannot/, 'image ' . $nasty =~ s/\n/?/r);
		($answer) = rpc_answers(request('stop-vm', { 'vm-id' => $nasty }));
		is_error($answer, qr/cannot be the name of a VM/, 'a name');
		my @made = rpc_answers(request('create-vm', quick_vm('vm-id' => 'nasty', start => $false, set => { description => $nasty })));
		is($made[-1]{response}{status}, 'stopped', 'a description');
		is(definition('nasty')->{description}, $nasty, 'is what it was');
		rpc_answers(request('delete-vm', { 'vm-id' => 'nasty' }));
	}
	is_deeply([glob "$config/*.json"], [], 'nothing else was made');
};

# ---- what is no request ----

my @bad = (
	['nonsense', qr/^not JSON/],
	['{"command": "list-vms"', qr/^not JSON/],
	['"list-vms"', qr/^not JSON|JSON object/],
	['[]', qr/^a request is a JSON object/],
	['{}', qr/^command: expected a string/],
	['{"command": 5}', qr/^command: expected a string/],
	['{"command": "list-vm"}', qr/^there is no command "list-vm"; did you mean "list-vms"\?/],
	['{"command": "list-vms", "optoins": {}}', qr/^a request has no key "optoins"; did you mean "options"\?/],
	['{"command": "list-vms", "options": []}', qr/^options: expected an object/],
	['{"command": "list-vms", "options": {"all": true}}', qr/^list-vms has no option "all"/],
	['{"command": "stop-vm"}', qr/^stop-vm needs the option "vm-id"/],
	['{"command": "stop-vm", "options": {"vm-id": "a", "kill": "yes"}}', qr/^stop-vm: kill: expected true or false/],
	['{"command": "stop-vm", "options": {"vm-id": "a", "kil": true}}', qr/^stop-vm has no option "kil"; did you mean "kill"\?/],
	['{"command": "stop-vm", "options": {"vm-id": "../a"}}', qr/^"\.\.\/a" cannot be the name of a VM/],
	['{"command": "stop-vm", "options": {"vm-id": "a", "vm-id": "b"}}', qr/^not JSON: duplicate object key/],
	['{"command": "list-vms", "command": "list-vms"}', qr/^not JSON: duplicate object key/],
	['{"command": "create-vm", "options": {"cpus": 99999999999999999999999}}', qr/^not JSON: too big integer/],
	['{"command": "create-vm", "options": {"cpus": 1e999}}', qr/^not JSON: real number overflow/],
	['{"command": "create-vm", "options": {"cpus": 0}}', qr/^create-vm: cpus: expected a number from 1 to 4096/],
	['{"command": "list-vms", "id": 1.5}', qr/^id: expected/],
	['{"command": "list-vms", "id": ""}', qr/^id: expected/],
	['{"command": "list-vms", "id": "' . 'x' x 81 . '"}', qr/^id: expected/],
	["{\"command\": \"list-vms\", \"id\": \"\xff\"}", qr/^not JSON/],
	["{\"command\": \"\xc3\x28\"}", qr/^not JSON/],
	["{\"command\": \"list-vms\0\"}", qr/^not JSON/],
	['{"command": "list-vms\u0000"}', qr/^not JSON/],
	["\0\0\0", qr/^not JSON/],
	["\e[2J\xc2\x9b31m", qr/^not JSON/],
	['[' x 100000, qr/^not JSON/],
	['{"a":' x 3000 . '1' . '}' x 3000, qr/^not JSON/],
	['{"command": "' . 'x' x 100000 . '"}', qr/^there is no command "x{64}"/],
	[' ' x 1048577 . '{"command": "list-vms"}', qr/^a request is longer than 1048576 bytes/],
);

subtest 'what is no request' => sub {
	my $r = rpc_start();
	$r->ask('list-vms');
	is(status_of($r->next_answer), 'success', 'it runs');
	for my $bad (@bad) {
		my ($line, $reason) = @$bad;
		$r->send("$line\n");
		my $answer = $r->next_answer;
		is_error($answer, $reason, length $line > 60 ? substr($line, 0, 60) =~ s/\s+/ /gr . '...' : $line =~ s/[^ -~]/?/gr);
		is_deeply([sort keys %$answer], ['execution-info'], 'an error, and nothing else');
	}
	$r->send("\n \t\r\n{\"command\": \"lsit-vms\", \"id\": \"here\"}\r\n");
	is($r->next_answer->{id}, 'here', 'the id comes back with an error, too');
	$r->ask('list-vms');
	is_deeply($r->next_answer, success(vms => []), 'and it goes on');
	is(($r->finish)[0], 0, 'until the end');
	unlike(slurp("$work/rpc.err"), qr/./, 'it says nothing else');
};

sub memory_of {
	my ($pid) = @_;
	return slurp("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m ? $1 : 0;
}

subtest 'a line of 100 MB' => sub {
	my $r = rpc_start();
	$r->ask('list-vms');
	$r->next_answer;
	my $before = memory_of($r->pid);
	my $piece = 'x' x (1 << 20);
	$r->send('{"command": "');
	$r->send($piece) for 1 .. 100;
	$r->send("\"}\n");
	is_error($r->next_answer, qr/^a request is longer than/, 'over one line');
	cmp_ok(memory_of($r->pid) - $before, '<', 16384, 'it takes little memory');
	$r->ask('list-vms');
	is(status_of($r->next_answer), 'success', 'and it goes on');
	is(($r->finish)[0], 0, 'until the end');
	my @answers = rpc_answers("{\"command\":\n", ("\"x\",\n") x 1000000, "{\"command\": \"list-vms\"}\n", "x\n");
	is(scalar @answers, 3, 'over many lines') or diag(scalar @answers);
	is_error($answers[0], qr/^a request is longer than/, 'the first');
	is(status_of($answers[-1]), 'success', 'and what comes after it') or diag($answers[-1]{'execution-info'}{reason});
};

subtest 'over several lines' => sub {
	my @pretty = ("{\n", "  \"command\": \"stop-vm\",\n", "\n", "  \"options\": {\n", "    \"vm-id\": \"no}such\\\"{\"\n", "  }\n", '}');
	my ($answer, @more) = rpc_answers(@pretty);
	is_error($answer, qr/"no\}such"\{" cannot be the name of a VM/, 'it is one request');
	is(scalar @more, 0, 'and no more');
	my @answers = rpc_answers(@pretty, "\n", request('list-vms'), request('list-vms'));
	is(scalar @answers, 3, 'others after it');
	@answers = rpc_answers("{\n  \"command\": \"stop-vm\",\n", request('list-vms'), "{\n", request('list-vms'));
	is(scalar(grep { status_of($_) eq 'error' } @answers), 2, 'one that is cut off is an error') or diag(explain(\@answers));
	is(scalar(grep { status_of($_) eq 'success' } @answers), 2, 'and does not take others with it');
	($answer, @more) = rpc_answers("{\n  \"command\": \"list-vms\"");
	is_error($answer, qr/^not JSON/, 'cut off by the end');
	is(scalar @more, 0, 'and no more');
};

# ---- ids ----

subtest 'ids' => sub {
	my @ids = ('m-1', 'a b/../%00"\\', "\x{e9}\x{20ac}", 'x' x 80, '.', '..', 'lock', 7, -7, '7');
	my %made;
	for my $id (@ids) {
		my @first = rpc_answers(request('create-vm', { nics => [], start => $false }, id => $id));
		is_deeply([map { $_->{id} } @first], [$id, $id], 'its id comes back in each answer');
		my @again = rpc_answers(request('create-vm', { nics => [], start => $false }, id => $id));
		is_deeply(\@again, \@first, 'it is answered again');
		$made{ $first[0]{response}{'vm-id'} } = 1;
	}
	is(scalar(keys %made), scalar @ids, 'each id is one of its own');
	is(scalar(my @there = glob "$config/*.json"), scalar @ids, 'and made one VM');
	my ($vm) = sort keys %made;
	my ($other) = rpc_answers(request('delete-vm', { 'vm-id' => $vm }, id => 'm-1'));
	is_error($other, qr/^this id is that of another request/, 'an id that is in use');
	ok(-e "$config/$vm.json", 'which is not done');
	my @twice = rpc_answers(request('delete-vm', { 'vm-id' => $vm }, id => 'd'), request('delete-vm', { 'vm-id' => $vm }, id => 'd'));
	is_deeply($twice[1], $twice[0], 'twice at once: answered twice');
	is($twice[0]{response}{status}, 'deleted', 'and done once');
	my ($failed) = rpc_answers(request('stop-vm', { 'vm-id' => $vm }, id => 'e'));
	is_error($failed, qr/^there is no VM/, 'an error');
	is_deeply([rpc_answers(request('stop-vm', { 'vm-id' => $vm }, id => 'e'))], [$failed], 'is answered again, too');
	my $before = join ' ', glob "$state/.rpc/*";
	rpc_answers(request('list-vms', undef, id => 'l'), request('vm-info', { 'vm-id' => (sort keys %made)[1] }, id => 'i'));
	is(join(' ', glob "$state/.rpc/*"), $before, 'what changes nothing is not kept');
	rpc_answers(request('delete-vm', { 'vm-id' => $_ })) for grep { $_ ne $vm } keys %made;
};

sub old {
	my ($hours, @files) = @_;
	utime(time - 3600 * $hours, time - 3600 * $hours, @files);
}

subtest 'ids are forgotten after a day' => sub {
	rpc_answers(map { request('stop-vm', { 'vm-id' => 'none' }, id => $_) } qw(old older young));
	my %file = map { $_ => "$state/.rpc/s$_.json" } qw(old older young);
	spew("$state/.rpc/.sleft.json", '');
	old(25, $file{old}, $file{older}, "$state/.rpc/.sleft.json");
	old(23, $file{young});
	rpc_answers(request('list-vms'));
	ok(-e $file{old}, 'not each time');
	old(2, "$state/.rpc/pruned");
	rpc_answers(request('list-vms'));
	ok(!-e $file{old} && !-e $file{older}, 'old ones are gone');
	ok(-e $file{young}, 'a young one is not');
	ok(!-e "$state/.rpc/.sleft.json", 'nor what a killed one was writing');
};

subtest 'ids that cannot be kept' => sub {
	chmod(0777, "$state/.rpc");
	my ($answer) = rpc_answers(request('create-vm', { nics => [], start => $false }, id => 'unsafe'));
	is_error($answer, qr/others may write there/, 'a directory of others');
	chmod(0700, "$state/.rpc");
	spew("$state/.rpc/sbroken.json", '{');
	($answer) = rpc_answers(request('create-vm', { nics => [], start => $false }, id => 'broken'));
	is_error($answer, qr/^cannot read what is known of this id/, 'a record that cannot be read');
	symlink('/dev/null', "$state/.rpc/slink.json");
	($answer) = rpc_answers(request('create-vm', { nics => [], start => $false }, id => 'link'));
	is_error($answer, qr/^cannot read what is known of this id/, 'a link');
	is_deeply([glob "$config/*.json"], [], 'nothing was made');
};

# ---- several at once ----

# An init adapter whose start waits for a file, and leaves a line for each.
my $adapter = spew("$work/adapter", <<'SH');
#!/bin/sh
if [ "$1" = start ]; then
	echo "$2" >>"$WORK/starts"
	while [ ! -e "$WORK/go" ]; do sleep 0.02; done
fi
exec "$TOP/init/none" "$@"
SH
chmod(0755, $adapter);
@ENV{qw(WORK TOP)} = ($work, $top);

sub starts { return scalar(() = slurp("$work/starts") =~ /\n/g) }

subtest 'several at once' => sub {
	local $ENV{QEMU_SUPERVISE_INIT} = $adapter;
	rpc_answers(map { request('create-vm', quick_vm('vm-id' => $_, start => $false)) } qw(one two));
	my $r = rpc_start();
	my $other = rpc_start();
	$r->ask('start-vm', { 'vm-id' => 'one' }, id => 'same');
	wait_until('a start', sub { starts() });
	$r->ask('start-vm', { 'vm-id' => 'one' }, id => 'same');
	$other->ask('start-vm', { 'vm-id' => 'one' }, id => 'same');
	$r->ask('list-vms');
	is(scalar @{ $r->next_answer->{response}{vms} }, 2, 'a list meanwhile');
	$other->ask('list-vms');
	is(scalar @{ $other->next_answer->{response}{vms} }, 2, 'by the other one, too');
	ok(!$r->has_answer && !$other->has_answer, 'the same id waits');
	spew("$work/go", '');
	my $first = $r->next_answer;
	is($first->{response}{status}, 'running', 'it has started');
	is_deeply([$r->next_answer, $other->next_answer], [$first, $first], 'all three are answered the same');
	is(starts(), 1, 'it was done once');
	is(($_->finish)[0], 0, 'the end') for $r, $other;
	unlink("$work/go", "$work/starts");

	$r = rpc_start('--parallel', 1);
	$r->ask('start-vm', { 'vm-id' => 'two' });
	wait_until('a start', sub { starts() });
	$r->ask('list-vms');
	$r->ask('nonsense');
	is_error($r->next_answer, qr/no command/, 'what is wrong is said at once');
	ok(!$r->has_answer, 'of one at a time, the next waits');
	spew("$work/go", '');
	is_deeply([map { $_->{response}{status} // 'list' } $r->next_answer, $r->next_answer], ['running', 'list'], 'in their order then');
	$r->finish;
	unlink("$work/go", "$work/starts");
	rpc_answers(map { request('stop-vm', { 'vm-id' => $_, kill => $true }) } qw(one two));
};

subtest 'watch' => sub {
	rpc_answers(request('create-vm', quick_vm('vm-id' => $_, start => $false))) for qw(web other);
	my $r = rpc_start('--parallel', 2);
	my $next = sub {	# of the watch, with that status
		my ($status) = @_;
		while (my $answer = $r->next_answer) {
			return $answer if ($answer->{id} // '') eq 'w' && $answer->{response}{status} =~ /^$status\z/;
		}
	};
	$r->ask('watch', { 'vm-id' => 'web' }, id => 'w');
	my $first = $next->('stopped');
	is_deeply([@{ $first->{response} }{qw(vm-id event)}], ['web', 'present'], 'what there is');
	ok(!(grep { exists $first->{response}{$_} } qw(name state version)), 'each key has one name');
	$r->ask('start-vm', { 'vm-id' => $_ }) for qw(other web);
	is($next->('running')->{response}{'vm-id'}, 'web', 'what changes, while others are done');
	$r->ask('watch');
	$r->ask('watch', undef, id => 'third');
	my $answer;
	do { $answer = $r->next_answer } until ($answer->{id} // '') eq 'third';
	is_error($answer, qr/as many watches as there may be/, 'one too many');
	$r->ask('stop-vm', { 'vm-id' => 'web', kill => $true });
	is($next->('(?:cut-off|stopped)')->{response}{'vm-id'}, 'web', 'until it is down');
	my ($status, @left) = $r->finish;
	is($status, 0, 'and ends with the input');
	rpc_answers(map { request('delete-vm', { 'vm-id' => $_, kill => $true }) } qw(web other));
};

# ---- the end ----

subtest 'its end' => sub {
	local $ENV{QEMU_SUPERVISE_INIT} = $adapter;
	for my $signal (qw(TERM INT HUP)) {
		my $r = rpc_start('--parallel', 1);
		$r->ask('start-vm', { 'vm-id' => 'one' });
		wait_until('a start', sub { starts() });
		$r->ask('start-vm', { 'vm-id' => 'two' }, id => "after $signal");
		$r->ask('nonsense');
		$r->next_answer;
		kill($signal, $r->pid);
		my $refused = $r->next_answer;
		is_error($refused, qr/^not begun/, "$signal: what has not begun is refused");
		is($refused->{id}, "after $signal", 'with its id');
		spew("$work/go", '');
		my ($status, @left) = $r->ended;
		is($status, 0, 'status 0');
		is_deeply([map { $_->{response}{status} } @left], ['running'], 'what has begun is answered');
		unlink("$work/go", "$work/starts");
		rpc_answers(request('stop-vm', { 'vm-id' => 'one', kill => $true }));
	}
	# Nobody reads.
	my $r = rpc_start();
	$r->ask('start-vm', { 'vm-id' => 'one' }, id => 'unread');
	wait_until('a start', sub { starts() });
	close($r->{from});
	spew("$work/go", '');
	waitpid($r->pid, 0);
	is($?, 0, 'EPIPE: a quiet end');
	my ($answer) = rpc_answers(request('start-vm', { 'vm-id' => 'one' }, id => 'unread'));
	is_deeply($answer, { id => 'unread', %{ success('vm-id' => 'one', status => 'running') } }, 'what was done is known');
	is(starts(), 1, 'and not done again');
	unlink("$work/go");
	rpc_answers(map { request('delete-vm', { 'vm-id' => $_, kill => $true }) } qw(one two));
	is(slurp("$work/rpc.err"), '', 'nothing was said elsewhere') or diag(slurp("$work/rpc.err"));
};

subtest 'an answer that nobody reads does not grow' => sub {
	my $r = rpc_start();
	my $writer = fork // die "fork: $!";
	if ($writer == 0) {
		$r->send("x\n" x 500000) for 1 .. 20;
		POSIX::_exit(0);
	}
	close($r->{to});
	wait_until('it reads no more', sub {
		my $was = slurp('/proc/' . $r->pid . '/io');
		select(undef, undef, undef, 0.3);
		$was eq slurp('/proc/' . $r->pid . '/io');
	});
	cmp_ok(memory_of($r->pid), '<', 131072, 'memory is bounded');	# half of it is a sanitizer's
	kill('TERM', $r->pid);
	waitpid($r->pid, 0);
	is($?, 0, 'TERM ends it nevertheless');
	close($r->{from});
	waitpid($writer, 0);
};

# ---- files instead of pipes ----

subtest 'files' => sub {
	spew("$work/in", request('list-vms') . "x\n");
	my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";
	is(system("$vmconf rpc <$work/in >$work/out"), 0, 'from a file to a file');
	is(scalar(() = slurp("$work/out") =~ /\n/g), 2, 'both are answered');
	is(system("$vmconf rpc </dev/null >$work/out"), 0, 'nothing');
	is(slurp("$work/out"), '', 'is not answered');
	is(system("$vmconf rpc <&- >$work/out"), 0, 'no input');
};

subtest 'examples/rpc' => sub {
	mkdir("$work/bin");
	my $vmconf = $ENV{T_VMCONF} || "$top/vmconf";
	spew("$work/bin/ssh", "#!/bin/sh\nshift 5\n[ \"\$*\" = 'vmconf rpc' ] && exec $vmconf rpc\n");
	chmod(0755, "$work/bin/ssh");
	local $ENV{PATH} = "$work/bin:$ENV{PATH}";
	my ($status, $out, $err) = run_command("$top/examples/rpc/on-hosts", '{"command": "list-vms"}', 'host1', 'host2');
	is("$status$err", '0', 'on-hosts');
	is(join('', sort split /^/, $out), join('', map { "$_ {\"execution-info\": {\"status\": \"success\"}, \"response\": {\"vms\": []}}\n" } qw(host1 host2)),
		'what both answer');
};

# ---- all that was answered ----

SKIP: {
	skip('python3 has no jsonschema', 1) if (run_command('python3', '-c', 'import jsonschema'))[0] != 0;
	spew("$work/answers", join '', map { "$_\n" } @seen);
	my ($status, $out, $err) = run_command('python3', '-c', <<'PYTHON', "$top/rpc.schema.json", "$work/answers");
import json, sys
from jsonschema import Draft202012Validator as Validator
schema = json.load(open(sys.argv[1]))
schema["$ref"] = "#/$defs/answer"
for line in open(sys.argv[2], encoding="utf-8"):
	for error in Validator(schema).iter_errors(json.loads(line)):
		print(line, error.message)
PYTHON
	is("$status$out$err", '0', scalar(@seen) . ' answers are as the schema says');
}

done_testing;
